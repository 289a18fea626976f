//! Objects against the real API server: what it refuses and with which words, and a controller that comes to rest.
//!
//! Needs root; `cargo lab test objects` runs it.

use e2e::clock::wait_until;
use e2e::kubebox::{KubeBox, Parts};
use e2e::lab::{Lab, LabSpec};
use e2e::observer::audit::Cursor;
use e2e::product::{TREE, cargo};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

struct Fresh {
    lab: Lab,
    api: KubeBox,
}

impl Fresh {
    fn up(name: &str) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_e2e"));
        let lab = Lab::create(&Lab::default_dir(name), LabSpec::three(name), program);
        let lab = lab.expect("a lab");
        let api = KubeBox::start(&lab, Parts { controllers: true, scheduler: false });
        let fresh = Self { api: api.expect("an API server"), lab };
        let tree = |path: &str| format!("{TREE}/{path}");
        fresh.kubectl(&["create", "namespace", "palisade"]).expect("created");
        let crds = ["apply", "--server-side", "-f", &tree("crds")];
        fresh.kubectl(&crds).expect("the definitions are taken");
        let wait = ["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"];
        fresh.kubectl(&wait).expect("established");
        fresh
    }

    fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.api.kubectl(args).map_err(|e| format!("{e:#}"))
    }

    /// A file of the lab with this object.
    fn file(&self, object: &Value) -> String {
        let path = self.lab.dir().join("object.json");
        std::fs::write(&path, object.to_string()).expect("written");
        path.display().to_string()
    }

    fn get(&self, what: &str) -> Value {
        let text = self.kubectl(&["-n", "palisade", "get", what, "-o", "json"]).expect(what);
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.lab.down().expect("down");
        self.lab.purge().expect("purge");
    }
}

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

/// The table that the local check is tested with: the server has to refuse the same, and, where the rule is ours, in
/// the same words (SPEC-ERRORS.md rules 7 to 9).
#[test]
#[ignore = "needs root: cargo lab test objects"]
fn the_server_refuses_what_the_local_check_refuses() {
    let text = include_str!("../../src/api/tests/wrong_specs.yaml");
    let table: Table = serde_yaml::from_str(text).expect("the table can be read");
    let fresh = Fresh::up("kspecs");
    let mut good = table.good;
    for object in good.values_mut() {
        object["metadata"]["namespace"] = "palisade".into();
        let file = fresh.file(object);
        fresh.kubectl(&["create", "-f", &file]).expect("a good object is taken");
    }
    let (mut wrong, mut ours) = (Vec::new(), 0);
    for row in table.rows.iter().filter(|r| !r.path.starts_with("kind") && r.path != "apiVersion") {
        let bad = spoil(&good[&row.base], &row.set);
        let renamed = bad["metadata"]["name"] != good[&row.base]["metadata"]["name"];
        let mut tries = Vec::new();
        if !row.update_only {
            // a create of an object that exists is refused for that; under another name it is judged, unless the name
            // itself is the fault
            let mut created = bad.clone();
            let named = renamed || row.path.is_empty() || row.base == "node";
            if !named {
                created["metadata"]["name"] = "another".into();
            }
            if !named || renamed {
                tries.push(("create", created));
            }
        }
        if !renamed {
            tries.push(("replace", bad));
        }
        for (verb, object) in tries {
            let file = fresh.file(&object);
            match fresh.kubectl(&[verb, "--dry-run=server", "-f", &file]) {
                Ok(_) => wrong.push(format!("row {} on {verb}: taken", row.row)),
                Err(said) if said.contains(&row.says) => ours += 1,
                Err(said) => {
                    let field = row.path.rsplit('.').next().unwrap_or_default();
                    let field = field.split('[').next().unwrap_or_default();
                    let structural = ["unknown field", "expected ", "unsupported value"]
                        .iter()
                        .chain(&["is required", "at least", "at most", " is out of range: "])
                        .any(|words| row.says.contains(words));
                    if !structural || !said.contains(field) {
                        wrong.push(format!("row {} on {verb}: {said}", row.row));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(ours > 60, "only {ours} refusals in our own words");
}

#[test]
#[ignore = "needs root: cargo lab test objects"]
fn the_controller_makes_what_addresses_and_members_stand_for_and_then_is_silent() {
    cargo(&["build", "--quiet", "--package", "cli", "--bin", "palisade"]).expect("built");
    let exe = std::env::current_exe().expect("known");
    let palisade = exe.parent().and_then(Path::parent).expect("target").join("palisade");
    let fresh = Fresh::up("kctl");
    let tree = |path: &str| format!("{TREE}/{path}");
    // the role that people get from us, and nothing beyond it
    fresh
        .kubectl(&["apply", "-f", &tree("manifests/install/palisade.yaml")])
        .expect("the roles are taken");
    let binding = ["-n", "palisade", "create", "rolebinding", "lab", "--role=palisade-controller"];
    let user = ["--user=palisade:controller"];
    fresh.kubectl(&[&binding[..], &user[..]].concat()).expect("bound");
    fresh.lab.adopt_program(&palisade, "palisade").expect("copied");
    let program = fresh.lab.program("palisade").display().to_string();
    let config = fresh.api.kubeconfig("controller").display().to_string();
    let namespace = fresh.lab.namespaces().api();
    for (name, identity) in [("ctl-a", "a"), ("ctl-b", "b")] {
        let argv = [
            &program,
            "controller",
            "--kubeconfig",
            &config,
            "--namespace",
            "palisade",
            "--identity",
            identity,
            "--lease-seconds",
            "4",
        ];
        fresh.lab.start_service(name, Some(&namespace), &argv).expect("started");
    }
    fresh
        .kubectl(&["apply", "-f", &tree("manifests/quickstart")])
        .expect("the quickstart is taken");
    let accepted = |what: &str| {
        let wait = ["-n", "palisade", "wait", "--for=condition=Accepted", "--timeout=30s", what];
        fresh.kubectl(&wait).unwrap_or_else(|e| panic!("{what}: {e}"));
    };
    for what in ["hac/quickstart", "vip/public", "rp/web", "fd/bmc-n1", "fd/bmc-n2", "fd/bmc-n3"] {
        accepted(what);
    }
    let made =
        || fresh.kubectl(&["-n", "palisade", "get", "han,rp,plc", "-o", "name"]).expect("listed");
    let all =
        ["hanode.palisade.dev/n1", "resourceplacement.palisade.dev/public", "public.web.order"];
    assert!(
        wait_until(Duration::from_secs(20), || all.iter().all(|w| made().contains(w))),
        "{}",
        made()
    );
    for what in ["rp/public", "han/n1", "plc/public.web.together"] {
        accepted(what);
    }
    let conditions = fresh.get("hac/quickstart")["status"]["conditions"].clone();
    let fencing = conditions.as_array().into_iter().flatten().find(|c| c["type"] == "FencingReady");
    assert_eq!(fencing.map(|c| &c["status"]), Some(&json!("True")), "{conditions}");

    // settled: nothing but the Lease (SAFETY.md#S17)
    std::thread::sleep(Duration::from_secs(3));
    let cursor = Cursor::at_end(&fresh.api.audit_log().expect("our own server")).expect("a place");
    std::thread::sleep(Duration::from_secs(15));
    let writes = cursor.writes("palisade.dev").expect("counted");
    assert!(writes.is_empty(), "{writes:?}");

    // a bad update: said, and nothing that runs changes; a person's field stays (SPEC-ERRORS.md rule 5)
    let before = fresh.get("rp/public")["spec"].clone();
    let patch = |what: &str, body: &str| {
        fresh.kubectl(&["-n", "palisade", "patch", what, "--type=merge", "-p", body]).expect(what)
    };
    patch("han/n2", r#"{"spec":{"standby":true}}"#);
    patch("vip/public", r#"{"spec":{"network":"nowhere"}}"#);
    let refused = || {
        let status = fresh.get("vip/public")["status"].clone();
        status["conditions"].as_array().into_iter().flatten().any(|c| {
            c["type"] == "Accepted" && c["status"] == "False" && c["reason"] == "UnknownReference"
        })
    };
    assert!(wait_until(Duration::from_secs(10), refused), "{}", fresh.get("vip/public")["status"]);
    assert_eq!(fresh.get("rp/public")["spec"], before);
    let events = fresh.kubectl(&["-n", "palisade", "get", "events.events.k8s.io", "-o", "json"]);
    assert!(events.expect("listed").contains("\"Refused\""));

    // the holder of the Lease dies: the other goes on with the same
    let holder = || {
        let lease = fresh.get("lease/palisade-controller");
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let first = holder();
    fresh.lab.end_service(&format!("ctl-{first}")).expect("ended");
    patch("vip/public", r#"{"spec":{"network":"public"}}"#);
    let taken = || holder() != first && !refused();
    assert!(wait_until(Duration::from_secs(20), taken), "{} after {first}", holder());
    assert_eq!(fresh.get("han/n2")["spec"]["standby"], true);
}

#[test]
#[ignore = "needs root: cargo lab test objects"]
fn a_status_of_an_older_era_is_refused_by_the_server() {
    let fresh = Fresh::up("kera");
    let quickstart = format!("{TREE}/manifests/quickstart");
    fresh.kubectl(&["apply", "-f", &quickstart]).expect("the quickstart is taken");
    let apply = |manager: &str, status: Value| {
        let body = json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "HACluster",
            "metadata": {"name": "quickstart", "namespace": "palisade"}, "status": status,
        });
        let file = fresh.file(&body);
        let manager = format!("--field-manager={manager}");
        fresh.kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--subresource=status",
            &manager,
            "-f",
            &file,
        ])
    };
    let condition = |kind: &str| {
        json!([{"type": kind, "status": "True", "reason": "R", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    };
    let coordinator = json!({"observedEra": 7, "era": "1.7", "conditions": condition("Quorate")});
    apply("palisade-coordinator", coordinator).expect("taken");
    let controller = json!({"observedGeneration": 1, "conditions": condition("Accepted")});
    apply("palisade-controller-status", controller).expect("two writers, a section each");
    let types: Vec<Value> = fresh.get("hac/quickstart")["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .map(|c| c["type"].clone())
        .collect();
    assert_eq!(types, ["Quorate", "Accepted"], "neither takes the other's away");
    let older = apply("palisade-coordinator", json!({"observedEra": 6, "era": "1.6"}));
    let said = older.expect_err("the past is refused");
    assert!(said.contains("status.observedEra cannot go back from 7"), "{said}");
    apply("palisade-coordinator", json!({"observedEra": 8, "era": "1.8"}))
        .expect("the future is taken");
}

fn spoil(good: &Value, set: &[(String, Value)]) -> Value {
    let mut bad = good.clone();
    for (pointer, value) in set {
        let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
        let mut at = &mut bad;
        for step in parent.split('/').skip(1) {
            at = match at {
                Value::Array(items) => &mut items[step.parse::<usize>().expect("an index")],
                other => &mut other[step],
            };
            if at.is_null() {
                *at = json!({});
            }
        }
        match at {
            Value::Array(items) => {
                let i: usize = last.parse().expect("an index");
                if i == items.len() { items.push(value.clone()) } else { items[i] = value.clone() }
            }
            Value::Object(fields) if value.is_null() => drop(fields.remove(last)),
            other => other[last] = value.clone(),
        }
    }
    bad
}
