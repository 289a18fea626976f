//! Wrong specs that only agents can judge (rows 19, 25 and 28 of SPEC-ERRORS.md): said in a condition by those who see it, and
//! gone when it is put right, while what runs goes on. The rows are `alone_specs.yaml`; what came out stands in
//! `docs/wrong-specs.md` (`PALISADE_WRITE_SPECS=1` writes it).

use std::{fmt::Write as _, path::Path, time::Duration};

use axum::http::Request;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::boxed::{Running, address, alone, palisade, served_by, until_within};

#[derive(Deserialize)]
struct Row {
    row: String,
    what: String,
    on: String,
    #[serde(default)]
    spec: Option<Value>,
    #[serde(default)]
    secret: Option<Value>,
    #[serde(default)]
    delete: bool,
    at: String,
    condition: String,
    status: String,
    reason: String,
    says: String,
}

/// Keys are looked at once a minute, Secrets of BMCs twice, and a silent BMC takes its time three times.
const SAID_MAX: Duration = Duration::from_secs(120);
const MARK: &str = "\n## What only agents see\n";

struct Api {
    client: kube::Client,
    runtime: tokio::runtime::Runtime,
    /// Names of the device and Secret with each driver.
    ipmi: String,
    redfish: String,
}

impl Api {
    fn open(dir: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let config = dir.join("kubeconfig");
        let client = runtime.block_on(api::client::connect(Some(&config))).expect("a client");
        let mut this = Self { client, runtime, ipmi: String::new(), redfish: String::new() };
        let all =
            this.ask("GET", "/apis/palisade.dev/v1alpha1/namespaces/palisade/fencedevices", None);
        let named = |driver: &str| {
            let all = all["items"].as_array().expect("devices");
            let found = all.iter().find(|d| d["spec"]["driver"] == driver).expect(driver);
            found["metadata"]["name"].as_str().expect("a name").to_owned()
        };
        (this.ipmi, this.redfish) = (named("Ipmi"), named("Redfish"));
        this
    }

    fn ask(&self, verb: &str, path: &str, body: Option<&Value>) -> Value {
        let request = Request::builder().method(verb).uri(path);
        let form =
            if verb == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = request.header("content-type", form);
        let bytes = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(bytes).expect("a request");
        let text = self.runtime.block_on(self.client.request_text(request));
        let text = text.unwrap_or_else(|error| panic!("{verb} {path}: {error}"));
        serde_json::from_str(&text).expect("JSON")
    }

    fn path(&self, object: &str) -> String {
        let (kind, name) = object.split_once('/').expect("kind and name");
        let name = match name {
            "ipmi" => &self.ipmi,
            "redfish" => &self.redfish,
            other => other,
        };
        match kind {
            "Secret" => format!("/api/v1/namespaces/palisade/secrets/{name}"),
            "FenceDevice" => {
                format!("/apis/palisade.dev/v1alpha1/namespaces/palisade/fencedevices/{name}")
            }
            "HACluster" => {
                format!("/apis/palisade.dev/v1alpha1/namespaces/palisade/haclusters/{name}")
            }
            other => panic!("{other}"),
        }
    }

    fn condition(&self, object: &str, kind: &str) -> Value {
        let found = self.ask("GET", &self.path(object), None);
        let all = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|c| c["type"] == kind).unwrap_or_default()
    }
}

fn put_back(api: &Api, row: &Row, before: &Value) {
    let mut body = json!({"apiVersion": before["apiVersion"], "kind": before["kind"],
        "metadata": {"name": before["metadata"]["name"], "namespace": "palisade"}});
    for part in ["spec", "data", "type"] {
        if !before[part].is_null() {
            body[part] = before[part].clone();
        }
    }
    let path = api.path(&row.on);
    if row.delete {
        let all = path.rsplit_once('/').expect("a name").0;
        api.ask("POST", all, Some(&body));
    } else {
        let now = api.ask("GET", &path, None);
        body["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        api.ask("PUT", &path, Some(&body));
    }
}

#[test]
#[ignore = "five minutes: cargo test -p cli --test dev what_only_agents_see -- --ignored --nocapture"]
fn what_only_agents_see_is_said_where_people_look_and_gone_when_it_is_put_right() {
    let rows: Vec<Row> =
        serde_yaml::from_str(include_str!("alone_specs.yaml")).expect("the table can be read");
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let running = Running::start(&dir);
    running.wait_ready(&dir);
    let api = Api::open(&dir);
    let at = address(&dir);
    let holder = until_within("it is served", SAID_MAX, || served_by(at));
    for device in ["FenceDevice/ipmi", "FenceDevice/redfish"] {
        until_within("the good device is ready", SAID_MAX, || {
            (api.condition(device, "Ready")["status"] == "True").then_some(())
        });
    }
    let mut page = String::new();
    // a run of some of them says nothing of the page
    let from = std::env::var("PALISADE_ROWS_FROM").unwrap_or_default();
    for row in rows.iter().skip_while(|row| !row.row.starts_with(&from)) {
        let begun = std::time::Instant::now();
        let before = api.ask("GET", &api.path(&row.on), None);
        if row.delete {
            api.ask("DELETE", &api.path(&row.on), None);
        } else {
            let patch = match (&row.spec, &row.secret) {
                (Some(spec), _) => json!({"spec": spec}),
                (None, Some(data)) => entries(data),
                (None, None) => panic!("row {}: nothing is wrong", row.row),
            };
            api.ask("PATCH", &api.path(&row.on), Some(&patch));
        }
        let mut last = Value::Null;
        until_within(&format!("row {} is said", row.row), SAID_MAX, || {
            last = api.condition(&row.at, &row.condition);
            let message = last["message"].as_str().unwrap_or_default();
            let fits = last["status"] == row.status.as_str()
                && last["reason"] == row.reason.as_str()
                && message.contains(&row.says);
            if begun.elapsed() > SAID_MAX - Duration::from_secs(2) {
                eprintln!("row {}: {last}", row.row);
            }
            fits.then_some(())
        });
        assert!(last["message"].as_str().is_some_and(|m| m.len() < 700), "{last}");
        let said = begun.elapsed();
        assert_eq!(served_by(at).as_deref(), Some(holder.as_str()), "what runs goes on");
        put_back(&api, row, &before);
        until_within(&format!("row {} is over", row.row), SAID_MAX, || {
            let now = api.condition(&row.at, &row.condition);
            (now["status"] != row.status.as_str()).then_some(())
        });
        println!(
            "row {}: said after {said:?}, over after {:?}: {last}",
            row.row,
            begun.elapsed() - said
        );
        let kind = row.on.split('/').next().unwrap_or_default();
        let cell = |text: &str| text.replace('|', "\\|").replace('`', "'");
        let at = row.at.split('/').next().unwrap_or_default();
        writeln!(
            page,
            "| {} | {kind} | `{}` | {at} {}={} | {} | `{}` | as before |",
            row.row,
            cell(&row.what),
            row.condition,
            row.status,
            row.reason,
            cell(&row.says)
        )
        .expect("text");
    }
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    drop(running);
    if from.is_empty() {
        compare(&page);
    }
}

/// Entries of a Secret as text, and those that are taken away.
fn entries(data: &Value) -> Value {
    let all = data.as_object().expect("entries");
    let (gone, given): (Map<_, _>, Map<_, _>) =
        all.clone().into_iter().partition(|(_, value)| value.is_null());
    json!({"data": gone, "stringData": given})
}

fn compare(rows: &str) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wrong-specs.md");
    let text = std::fs::read_to_string(file).expect("there");
    let table = text.split(MARK).next().expect("a text");
    let page = format!(
        "{table}{MARK}\nAgents read keys and credentials, and reach BMCs; nobody else does. Written by\n\
         `PALISADE_WRITE_SPECS=1 cargo test -p cli --test dev what_only_agents_see -- --ignored` from what came out in a box, as update of a\n\
         good object and then reverted; as create it is the same look. The message is what the condition's text contains. Row 10 (links that\n\
         share a subnet or an interface) needs machines of their own: `agent::links`, and `Degraded`, reason `LinksNotRedundant`.\n\n\
         | row | kind | what | condition | reason | message | after revert |\n|---|---|---|---|---|---|---|\n{rows}"
    );
    if std::env::var_os("PALISADE_WRITE_SPECS").is_some() {
        std::fs::write(file, &page).expect("written");
    }
    let stands = std::fs::read_to_string(file).unwrap_or_default();
    assert!(stands == page, "docs/wrong-specs.md is old: run it with PALISADE_WRITE_SPECS=1");
}
