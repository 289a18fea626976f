//! Rights and rest: the lab's controller and agents run with exactly the chart's roles; each verb that is granted is used,
//! none is refused (SAFETY.md P8), and a settled cluster writes nothing but its Lease (SAFETY.md#S17).
//!
//! Needs root and a quarter of an hour: `cargo test -p e2e --test rights -- --ignored`. `PALISADE_QUIET_S` is how long nothing
//! may be written, 600 s by default; `PALISADE_PROGRAM` takes another program.

use e2e::clock::wait_until;
use e2e::lab::Lab;
use e2e::observer::audit::Cursor;
use e2e::product::{TREE, cargo};
use e2e::scenario::stack::{CLUSTER, NAMESPACE, Options, Stack};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SLOW: Duration = Duration::from_secs(90);

/// Who: `controller` or `agent`, which the fencer is a part of here. Then `group/resource verb`.
type Right = (String, String);

#[test]
#[ignore = "needs root and 15 minutes: cargo test -p e2e --test rights -- --ignored"]
fn every_right_is_used_none_is_refused_and_a_settled_cluster_writes_nothing() {
    let options = options("krights");
    let stack = Stack::up(&options).expect("a cluster");
    let log = stack.api().audit_log().expect("our own server");
    // everything is tried and said at the end: a run is a quarter of an hour
    let mut wrong = work(&stack);

    let text = std::fs::read_to_string(&log).expect("the audit log");
    let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let user = entry["user"]["username"].as_str().unwrap_or_default();
        let Some(who) = user.strip_prefix("palisade:") else { continue };
        let who = who.split(':').next().unwrap_or_default().to_owned();
        let object = &entry["objectRef"];
        let word = |key: &str| object[key].as_str().unwrap_or_default();
        let sub = if word("subresource").is_empty() {
            String::new()
        } else {
            format!("/{}", word("subresource"))
        };
        let verb = entry["verb"].as_str().unwrap_or_default();
        let right = |verb: &str| format!("{}/{}{sub} {verb}", word("apiGroup"), word("resource"));
        // an apply that makes its object needs `create` as well, and is logged as what it came as
        if verb == "patch" && entry["responseStatus"]["code"] == 201 {
            used.insert((who.clone(), right("create")));
        }
        let right = right(verb);
        if entry["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            refused.insert((who, right));
        } else {
            used.insert((who, right));
        }
    }
    let granted = granted();
    assert!(granted.len() > 40, "the roles were read: {granted:?}");
    let unused: Vec<&Right> = granted.difference(&used).collect();
    eprintln!("{} rights granted, {} used, refused: {refused:?}", granted.len(), used.len());
    if !unused.is_empty() {
        wrong.push(format!("granted and never used: {unused:#?}"));
    }
    if !refused.is_empty() {
        wrong.push(format!("asked for and refused: {refused:#?}"));
    }
    eprintln!("so far: {wrong:#?}");

    let seconds = std::env::var("PALISADE_QUIET_S").ok().and_then(|s| s.parse().ok());
    let seconds = seconds.unwrap_or(600);
    // what was asked for above is done, and the watches have told it
    std::thread::sleep(Duration::from_secs(20));
    let cursor = Cursor::at_end(&log).expect("a place");
    std::thread::sleep(Duration::from_secs(seconds));
    let mut writes = Vec::new();
    for group in ["palisade.dev", "", "coordination.k8s.io", "events.k8s.io"] {
        let found = cursor.writes(group).expect("counted");
        writes.extend(found.into_iter().filter(|(what, _)| what.starts_with("palisade:")));
    }
    eprintln!("in {seconds} s: {writes:?}");
    let lease = "palisade:controller update leases";
    let others: Vec<_> = writes.iter().filter(|(what, _)| what != lease).collect();
    if !others.is_empty() {
        wrong.push(format!("in {seconds} s at rest: {others:?}"));
    }
    assert!(writes.iter().any(|(what, _)| what == lease), "the log tells of the Lease: {writes:?}");
    let verdict = stack.verdict().expect("a verdict");
    assert!(verdict.overlap_ms() <= 0.0, "{} ms of overlap", verdict.overlap_ms());
    stack.end(&std::env::temp_dir(), true, &options).expect("down");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn options(name: &str) -> Options {
    let e2e = Path::new(env!("CARGO_BIN_EXE_e2e"));
    let given = std::env::var_os("PALISADE_PROGRAM").map(PathBuf::from);
    let palisade = given.unwrap_or_else(|| {
        cargo(&["build", "--quiet", "--package", "cli", "--bin", "palisade"]).expect("built");
        e2e.with_file_name("palisade")
    });
    Options {
        dir: Lab::default_dir(name),
        name: name.into(),
        palisade,
        observer: env!("CARGO_BIN_EXE_observer").into(),
        e2e: e2e.into(),
        boot_delay_ms: 500,
        keep: false,
        without_objects: false,
        watchdog: false,
        sabotage: None,
    }
}

/// Of the chart's roles, as the lab applies them.
fn granted() -> BTreeSet<Right> {
    let text =
        std::fs::read_to_string(format!("{TREE}/e2e/manifests/rights/roles.yaml")).expect("read");
    let mut all = BTreeSet::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let role = Value::deserialize(document).expect("YAML");
        if !["Role", "ClusterRole"].iter().any(|kind| role["kind"] == *kind) {
            continue;
        }
        let who = match role["metadata"]["name"].as_str().unwrap_or_default() {
            "palisade-controller" | "palisade.palisade.controller" => "controller",
            "palisade-agent" | "palisade-fencer" => "agent",
            // rights of people
            _ => continue,
        };
        let list = |rule: &Value, key: &str| -> Vec<String> {
            let all = rule[key].as_array().cloned().unwrap_or_default();
            all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in list(rule, "apiGroups") {
                for resource in list(rule, "resources") {
                    for verb in list(rule, "verbs") {
                        all.insert((who.to_owned(), format!("{group}/{resource} {verb}")));
                    }
                }
            }
        }
    }
    all
}

/// Everything that the roles are for, once.
/// What did not come to pass is the answer.
fn work(stack: &Stack) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut hope = |what: &str, held: bool| {
        eprintln!("  {what}: {held}");
        if !held {
            wrong.push(what.to_owned());
        }
    };
    let kubectl = |args: &[&str]| {
        stack.api().kubectl(&[&["-n", NAMESPACE], args].concat()).map_err(|e| format!("{e:#}"))
    };
    let get = |what: &str| -> Value {
        let text = kubectl(&["get", what, "-o", "json"]).unwrap_or_else(|_| "null".into());
        serde_json::from_str(&text).expect("JSON")
    };
    let make = |object: &Value| {
        let file = stack.lab().dir().join("object.json");
        std::fs::write(&file, object.to_string()).expect("written");
        kubectl(&["create", "-f", &file.display().to_string()]).expect("created");
    };
    let object = |kind: &str, name: &str, spec: Value| {
        let mut object = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec});
        object["spec"]["clusterRef"] = json!({"name": CLUSTER});
        object
    };
    let patch = |what: &str, body: &Value| {
        kubectl(&["patch", what, "--type=merge", "-p", &body.to_string()]).expect(what);
    };
    let ready = |what: &str, reason: &str| {
        let status = get(what)["status"].clone();
        status["conditions"].as_array().into_iter().flatten().any(|c| c["reason"] == reason)
    };

    // a load balancer before a service on every machine; it stays, and is at rest like all else
    let balanced = format!("{TREE}/e2e/manifests/balanced.yaml");
    kubectl(&["apply", "-f", &balanced]).expect("applied");
    let nodes = || get("lb/front")["status"]["nodes"] == "n1,n2,n3";
    hope("the load balancer runs on all", wait_until(SLOW, nodes));

    // the controller deletes what nobody wants any more
    patch("vip/public", &json!({"spec": {"with": []}}));
    let gone = || get("plc/public.web.order").is_null();
    hope("the constraint of an address without companions", wait_until(SLOW, gone));
    patch("vip/public", &json!({"spec": {"with": [{"resource": "web"}]}}));
    hope("and made again", wait_until(SLOW, || !gone()));
    let mut stray = object("HANode", "n9", json!({"member": "n9"}));
    stray["metadata"]["labels"] =
        json!({"app.kubernetes.io/managed-by": "palisade", "palisade.dev/cluster": CLUSTER});
    stray["metadata"]["ownerReferences"] = json!([{"apiVersion": "palisade.dev/v1alpha1",
        "kind": "HACluster", "name": CLUSTER, "uid": get("hac/quickstart")["metadata"]["uid"]}]);
    make(&stray);
    hope("the object of a member that left", wait_until(SLOW, || get("han/n9").is_null()));
    // the same bad update twice: one event, counted
    for _ in 0..2 {
        patch("vip/public", &json!({"spec": {"network": "nowhere"}}));
        hope("refused", wait_until(SLOW, || ready("vip/public", "UnknownReference")));
        patch("vip/public", &json!({"spec": {"network": "public"}}));
        hope("taken again", wait_until(SLOW, || !ready("vip/public", "UnknownReference")));
    }
    // a bare placement of a person, judged
    make(&object(
        "PlacementConstraint",
        "likes",
        json!({"location": {"resources": ["web"],
        "nodes": [{"name": "n1", "score": 1}]}}),
    ));
    hope("judged", wait_until(SLOW, || ready("plc/likes", "AsSpecified")));

    // records beyond the last hundred of a member are forgotten
    for i in 0..102 {
        let name = format!("n2-1.{i:x}");
        make(&object(
            "FencingOperation",
            &name,
            json!({"node": "n2", "nodeId": 2, "incident": format!("1.{i:x}")}),
        ));
        let closed = json!({"status": {"phase": "Closed"}}).to_string();
        let patch = ["patch", "fo", &name, "--subresource=status", "--type=merge", "-p", &closed];
        kubectl(&patch).expect("closed");
    }
    let kept = || {
        let all = get("fo")["items"].clone();
        let of_n2 = |o: &&Value| o["spec"]["node"] == "n2";
        all.as_array().is_some_and(|all| all.iter().filter(of_n2).count() <= 101)
    };
    hope("the oldest records are deleted", wait_until(SLOW, kept));

    // asked for through the API: a power-off, and a confirmation for an incident that is not open
    let holder = stack.holder().expect("a holder");
    let target = stack.others(&holder).remove(0);
    make(&object("FencingRequest", "shoot", json!({"node": target.name(), "reason": "a test"})));
    make(&object(
        "FencingConfirmation",
        "off",
        json!({"node": target.name(), "incident": "1.2a",
        "confirmedBy": "test", "iHaveSeenThatItIsOff": true}),
    ));
    let said =
        |what: &str| get(what)["status"]["conditions"].as_array().is_some_and(|c| !c.is_empty());
    hope("a request is answered", wait_until(SLOW, || said("fr/shoot")));
    hope("a confirmation is answered", wait_until(SLOW, || said("fc/off")));
    std::thread::sleep(Duration::from_secs(5));
    hope("the machine that was shot comes back", stack.wait_whole(SLOW).is_ok());
    wrong
}
