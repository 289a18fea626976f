//! The table of wrong specs against a server: each row as create, as update of a good object, then reverted
//! (SPEC-ERRORS.md rule 7), beside what the local check says. What came out is `docs/wrong-specs.md`.
//!
//! By default the server is devapi; `PALISADE_SPECS_KUBECONFIG=FILE` takes a real one (`cargo lab test objects` does).
//! `PALISADE_WRITE_SPECS=1` writes the page anew.

mod house;

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use futures::StreamExt as _;
use house::{API, Api, Replica, key, key_of, spoil, status_of};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Row {
    row: String,
    base: String,
    set: Vec<(String, Value)>,
    path: String,
    says: String,
    #[serde(default)]
    update_only: bool,
}

#[derive(Deserialize)]
struct Table {
    good: BTreeMap<String, Value>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Judged {
    rows: Vec<JudgedRow>,
}

#[derive(Deserialize)]
struct JudgedRow {
    row: String,
    what: String,
    on: String,
    at: Option<String>,
    set: Vec<(String, Value)>,
    #[serde(default)]
    also: Vec<Also>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    nodes: Vec<String>,
    condition: String,
    status: String,
    reason: String,
    says: String,
    /// An admission policy of the chart says it as well.
    #[serde(default)]
    warns: bool,
}

/// An object of the world beside the quickstart.
#[derive(Deserialize)]
struct Also {
    kind: String,
    name: String,
    spec: Value,
}

/// One line of the page.
struct Line {
    row: String,
    kind: String,
    what: String,
    layer: &'static str,
    says: String,
    create: String,
    update: String,
    revert: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_spec_is_refused_or_judged_on_create_and_on_update_and_the_revert_recovers() {
    let server = Api::start().await;
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    let mut said = Vec::new();
    let mut unfit = Vec::new();
    tokio::join!(refused(&server, &mut lines, &mut wrong), judged(&server, &mut said, &mut unfit));
    lines.extend(said);
    wrong.extend(unfit);
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    if !server.real {
        compare(&page(&lines));
    }
    server.stop().await;
}

/// Rows that one object contradicts by itself.
async fn refused(server: &Api, lines: &mut Vec<Line>, wrong: &mut Vec<String>) {
    let text = include_str!("../../api/tests/wrong_specs.yaml");
    let table: Table = serde_yaml::from_str(text).expect("the table can be read");
    let mut ours = 0;
    // good objects in one namespace, nothing in the other
    for namespace in ["specs-good", "specs-empty"] {
        server.namespace(namespace).await;
    }
    let mut good = table.good;
    for object in good.values_mut() {
        object["metadata"]["namespace"] = "specs-good".into();
        let made = server.create("specs-good", object, false).await;
        assert!(made.taken() || made.code == 409, "{made:?}");
    }
    for row in &table.rows {
        let base = &good[&row.base];
        let bad = spoil(base, &row.set);
        let kind = base["kind"].as_str().expect("a kind");
        let local = api::check::faults(&bad);
        let served = bad["kind"] == base["kind"] && bad["apiVersion"] == API;
        let renamed = bad["metadata"]["name"] != base["metadata"]["name"];
        let structural = !row.update_only && is_structural(&row.says);
        let judge = |how: &str,
                     answer: &house::Answer,
                     wrong: &mut Vec<String>,
                     ours: &mut usize|
         -> String {
            let said = answer.message();
            if answer.taken() {
                wrong.push(format!("row {} on {how}: taken", row.row));
                return "taken".into();
            }
            if said.contains(&row.says) {
                *ours += 1;
                return "refused".into();
            }
            let field = row.path.rsplit('.').next().unwrap_or_default();
            let field = field.split('[').next().unwrap_or_default();
            if !structural || !said.contains(field) {
                wrong.push(format!("row {} on {how}: {said}", row.row));
            }
            "refused".into()
        };
        let create = if !served {
            "refused by the client".into()
        } else {
            let mut object = bad.clone();
            object["metadata"]["namespace"] = "specs-empty".into();
            let answer = server.create("specs-empty", &object, true).await;
            if row.update_only {
                if !answer.taken() {
                    wrong.push(format!("row {} on create: {}", row.row, answer.message()));
                }
                "taken".into()
            } else {
                judge("create", &answer, wrong, &mut ours)
            }
        };
        let (mut update, mut revert) = ("a new object".to_owned(), "-".to_owned());
        if served && !renamed {
            let name = base["metadata"]["name"].as_str().expect("a name");
            let before = server.get(kind, "specs-good", name).await;
            let mut object = bad.clone();
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            update =
                judge("update", &server.replace("specs-good", &object).await, wrong, &mut ours);
            let after = server.get(kind, "specs-good", name).await;
            if after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"] {
                wrong.push(format!("row {}: a refused update changed the object", row.row));
            }
            let mut object = base.clone();
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            let back = server.replace("specs-good", &object).await;
            revert = if back.taken() && back.body["spec"] == before["spec"] {
                "as before".into()
            } else {
                wrong.push(format!("row {}: reverted: {back:?}", row.row));
                "not taken".into()
            };
        }
        if !row.update_only && !local.iter().any(|f| f.path == row.path && f.message == row.says) {
            wrong.push(format!("row {}: the local check says {local:?}", row.row));
        }
        let says = if row.says.starts_with(&row.path) || row.path.is_empty() || row.path == "spec" {
            row.says.clone()
        } else {
            format!("{}: {}", row.path, row.says)
        };
        let layer = match (row.update_only, structural) {
            (true, _) => "UPD",
            (false, true) => "SCH",
            (false, false) => "CEL",
        };
        lines.push(Line {
            row: row.row.clone(),
            kind: kind.into(),
            what: what(&row.set),
            layer,
            says,
            create,
            update,
            revert,
        });
    }
    assert!(ours > 60, "only {ours} refusals in our own words");
}

/// Worded by the server where it is a real one (SPEC-ERRORS.md rule 8).
fn is_structural(says: &str) -> bool {
    ["unknown field", "expected ", "unsupported value", "unknown kind"]
        .iter()
        .any(|w| says.starts_with(w))
        || says.contains("is not served")
        || ["is required", "at least 1 ", " items, at most", " characters, at most"]
            .iter()
            .any(|w| says.contains(w) && !says.contains(": "))
        || (says.contains(" is out of range: ") && !says.contains('"') && !says.starts_with("spec"))
}

/// Rows that the controller judges; it turns by hand, over the server.
async fn judged(server: &Api, lines: &mut Vec<Line>, wrong: &mut Vec<String>) {
    let text = include_str!("judged_specs.yaml");
    let table: Judged = serde_yaml::from_str(text).expect("the table can be read");
    // Nodes have no namespace: rows with some come alone, and first
    let (alone, rest): (Vec<_>, Vec<_>) =
        table.rows.iter().enumerate().partition(|(_, row)| !row.nodes.is_empty());
    for (some, beside) in [(alone, 1), (rest, 4)] {
        let all = some.into_iter().map(|(i, row)| judge(server, i, row));
        let mut all = futures::stream::iter(all).buffered(beside);
        while let Some((line, unfit)) = all.next().await {
            lines.push(line);
            wrong.extend(unfit);
        }
    }
}

async fn judge(server: &Api, i: usize, row: &JudgedRow) -> (Line, Vec<String>) {
    let mut wrong = Vec::new();
    let namespace = format!("judged-{i}");
    server.namespace(&namespace).await;
    let quiet = Duration::from_millis(if server.real { 60 } else { 15 });
    let mut replica = Replica::start(&server.client, &namespace, "table", quiet);
    let good = world(row);
    let bad: Vec<Value> = good
        .iter()
        .filter(|o| !row.without.contains(&key_of(o)))
        .map(|o| if key_of(o) == row.on { spoil(o, &row.set) } else { o.clone() })
        .collect();
    let at = key(row.at.as_deref().unwrap_or(&row.on));
    let found = |status: &Value| {
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|c| c["type"] == row.condition).unwrap_or_default()
    };
    let as_wanted = |status: &Value| {
        let c = found(status);
        c["status"] == row.status && c["reason"] == row.reason && c["message"] == row.says
    };
    let mut warned = Vec::new();
    // as create: the wrong world is there from the start
    warned.extend(put(server, &namespace, &bad).await);
    nodes(server, &row.nodes, true).await;
    let created = replica.until(|p| as_wanted(&status_of(p, at))).await;
    if !created {
        let c = found(&status_of(&replica.picture(), at));
        wrong.push(format!("row {} on create: {c}", row.row));
    }
    // put right
    nodes(server, &row.nodes, false).await;
    put(server, &namespace, &good).await;
    let righted = replica
        .until(|p| {
            let c = found(&status_of(p, at));
            c["status"] == "True" && !as_wanted(&status_of(p, at))
        })
        .await;
    let before = replica.picture();
    // the same as an update of what is good and in force
    warned.extend(put(server, &namespace, &bad).await);
    for gone in &row.without {
        let (kind, name) = key(gone);
        assert!(server.delete(kind, &namespace, name).await.taken(), "{gone}");
    }
    nodes(server, &row.nodes, true).await;
    let updated = replica.until(|p| as_wanted(&status_of(p, at))).await;
    let after = replica.picture();
    if !updated {
        wrong.push(format!("row {} on update: {}", row.row, found(&status_of(&after, at))));
    }
    for (name, placement) in &before.placements {
        let same = after.placements.get(name).is_some_and(|p| p.spec == placement.spec);
        if !same && row.on != format!("ResourcePlacement/{name}") {
            wrong.push(format!("row {}: placement {name} was changed", row.row));
        }
    }
    // reverted
    nodes(server, &row.nodes, false).await;
    put(server, &namespace, &good).await;
    let then = found(&status_of(&before, at));
    let same = |c: &Value| ["status", "reason", "message"].iter().all(|k| c[k] == then[k]);
    let reverted = replica.until(|p| same(&found(&status_of(p, at)))).await;
    if !righted || !reverted {
        let c = found(&status_of(&replica.picture(), at));
        wrong.push(format!("row {}: reverted ({righted}): {c}", row.row));
    }
    if server.real && row.warns {
        let said = warned.iter().filter(|w| w.contains(&row.says)).count();
        if said != 2 {
            wrong.push(format!("row {}: {said} warnings, not 2: {warned:?}", row.row));
        }
    }
    let shown = format!("{}={} ({})", row.condition, row.status, row.reason);
    let line = Line {
        row: row.row.clone(),
        kind: key(&row.on).0.into(),
        what: row.what.clone(),
        layer: if row.warns { "ST+WARN" } else { "ST" },
        says: row.says.clone(),
        create: if created { shown.clone() } else { "-".into() },
        update: if updated { shown } else { "-".into() },
        revert: if reverted { "as before".into() } else { "-".into() },
    };
    (line, wrong)
}

fn world(row: &JudgedRow) -> Vec<Value> {
    let mut all = house::quickstart();
    all.extend(row.also.iter().map(|also| {
        let mut object = json!({
            "apiVersion": API, "kind": also.kind, "metadata": {"name": also.name}, "spec": also.spec,
        });
        object["spec"]["clusterRef"] = json!({"name": "quickstart"});
        object
    }));
    all
}

/// Applies all; warnings that were said.
async fn put(server: &Api, namespace: &str, objects: &[Value]) -> Vec<String> {
    let mut warnings = Vec::new();
    for object in objects {
        let answer = server.apply(namespace, object).await;
        assert!(answer.taken(), "{}: {answer:?}", key_of(object));
        warnings.extend(answer.warnings);
    }
    warnings
}

async fn nodes(server: &Api, names: &[String], there: bool) {
    for name in names {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        if there {
            let made = server.ask("POST", "/api/v1/nodes", "application/json", &node).await;
            assert!(made.taken(), "{made:?}");
        } else {
            let gone = server.delete("Node", "", name).await;
            assert!(gone.taken(), "{gone:?}");
        }
    }
}

fn what(set: &[(String, Value)]) -> String {
    let all: Vec<String> = set
        .iter()
        .map(|(pointer, value)| {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            if value.is_null() { format!("no {field}") } else { format!("{field}: {value}") }
        })
        .collect();
    let text = all.join("; ");
    if text.chars().count() <= 90 {
        return text;
    }
    text.chars().take(87).chain("...".chars()).collect()
}

fn page(lines: &[Line]) -> String {
    let mut text = String::from(
        "# Wrong specs, and what they get\n\n\
         Written by `PALISADE_WRITE_SPECS=1 cargo test -p controller --test wrong_specs` from what came out; the test compares it. Each row\n\
         is tried as create, as update of a good object, and then reverted: by the check of `palisade` itself, by devapi (in CI), and by a\n\
         real API server (`cargo lab test objects`), which words the SCH rows in its own way. SCH: schema. CEL: rule of the definition. UPD: rule\n\
         between old and new. ST: taken, and judged by the controller in a condition; what runs stays as it is. WARN: said at `kubectl apply`\n\
         as well, by a policy of the chart. What only agents see (keys, credentials, BMCs) stands below.\n\n\
         | row | kind | what | layer | message | on create | on update | after revert |\n|---|---|---|---|---|---|---|---|\n",
    );
    let cell = |text: &str| text.replace('|', "\\|").replace('`', "'");
    for l in lines {
        let _ = writeln!(
            text,
            "| {} | {} | `{}` | {} | `{}` | {} | {} | {} |",
            cell(&l.row),
            l.kind,
            cell(&l.what),
            l.layer,
            cell(&l.says),
            l.create,
            l.update,
            l.revert
        );
    }
    text
}

/// Begins the part of the page that `src/cli/tests/dev/alone.rs` writes.
const AGENTS: &str = "\n## What only agents see\n";

fn compare(page: &str) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wrong-specs.md");
    // what stands after it is written by a test of the agents
    let stands = std::fs::read_to_string(file).unwrap_or_default();
    let rest = stands.split_once(AGENTS).map(|(_, rest)| format!("{AGENTS}{rest}"));
    let page = &format!("{page}{}", rest.unwrap_or_default());
    if std::env::var_os("PALISADE_WRITE_SPECS").is_some() {
        std::fs::write(file, page).expect("written");
    }
    let stands = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        stands == *page,
        "docs/wrong-specs.md is old: run PALISADE_WRITE_SPECS=1 cargo test -p controller --test wrong_specs"
    );
}
