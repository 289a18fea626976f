//! What helm renders, without a server: fresh, checked, refused with its place, and the static pod as the DaemonSets are.

use super::{NS, tools, tree};
use e2e::command::{attempt, said};
use serde_json::{Value, json};
use std::process::Command;

#[test]
#[ignore = "needs helm, promtool, Lua: cargo lab test chart"]
fn what_is_rendered_is_fresh_and_the_rules_and_scripts_pass_their_tests() {
    let tools = tools();
    let render = Command::new(tree("charts/render"))
        .arg("--check")
        .env("PATH", tools.path().expect("a path"))
        .output()
        .expect("run");
    assert!(
        render.status.success(),
        "{}{}",
        String::from_utf8_lossy(&render.stdout),
        said(&render)
    );
    tools
        .helm(&["lint", &tree("charts/palisade"), "--strict", "--kube-version=1.31.0"])
        .expect("lint");

    let promtool = tools.promtool.display().to_string();
    for verb in ["check", "test"] {
        let what = if verb == "check" { "rules.yaml" } else { "rules.test.yaml" };
        let file = tree(&format!("charts/palisade/files/{what}"));
        let done = attempt(&promtool, &[verb, "rules", &file]).expect("run");
        assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), said(&done));
    }

    // The dashboard's queries, as rules that nobody keeps.
    let text = std::fs::read_to_string(tree("charts/palisade/files/dashboard.json")).expect("read");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let queries = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let rules: Vec<Value> = queries
        .enumerate()
        .map(|(i, target)| {
            let query = target["expr"].as_str().expect("a query").replace("$namespace", ".*");
            json!({"record": format!("asked_{i}"), "expr": query})
        })
        .collect();
    assert!(rules.len() > 20, "{}", rules.len());
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let file = std::env::temp_dir().join(format!("palisade-queries-{}.yaml", std::process::id()));
    std::fs::write(&file, groups.to_string()).expect("written");
    let done = attempt(&promtool, &["check", "rules", &file.display().to_string()]).expect("run");
    std::fs::remove_file(&file).expect("removed");
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), said(&done));

    let text =
        std::fs::read_to_string(tree("manifests/gitops/argocd/argocd-cm.yaml")).expect("read");
    let map: Value = serde_yaml::from_str(&text).expect("YAML");
    let scripts: Vec<&Value> = map["data"]
        .as_object()
        .expect("entries")
        .iter()
        .filter(|(key, _)| key.contains(".health."))
        .map(|(_, script)| script)
        .collect();
    // which kinds those are is asked by `cargo test -p api --test gitops`
    assert!(scripts.len() > 6 && scripts.iter().all(|s| *s == scripts[0]), "one for all kinds");
    let file = std::env::temp_dir().join(format!("palisade-health-{}.lua", std::process::id()));
    std::fs::write(&file, scripts[0].as_str().expect("text")).expect("written");
    let test = tree("manifests/gitops/argocd/health_test.lua");
    let lua = tools.lua.display().to_string();
    let done = attempt(&lua, &[&test, &file.display().to_string()]).expect("run");
    std::fs::remove_file(&file).expect("removed");
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), said(&done));
}

#[test]
#[ignore = "needs helm: cargo lab test chart"]
fn a_wrong_value_is_refused_with_its_place() {
    let tools = tools();
    for (wrong, place) in [
        ("agent.watchdgo.enabled=true", "watchdgo"),
        ("secrets.bmc=bmc-n1", "/secrets/bmc"),
        ("agent.nodeSelector=null", "nodeSelector"),
        ("agent.stateDir=../x", "/agent/stateDir"),
        ("controller.replicas=0", "/controller/replicas"),
        ("agent.processes.runtime=docker", "/agent/processes/runtime"),
        ("image.digest=latest", "/image/digest"),
        ("agent.updateStrategy.type=Recreate", "/agent/updateStrategy/type"),
        ("agent.containers.namespace=k8s.io", "/agent/containers/namespace"),
        ("agent.containers.enabled=true", "set agent.processes.enabled too"),
        ("agent.staticPod.render=true", "a machine has one agent"),
        ("agent.staticPod.credentials.ring=ring", "/agent/staticPod/credentials/ring"),
    ] {
        let chart = tree("charts/palisade");
        let args = ["template", "x", &chart, "--kube-version=1.31.0", "--set", wrong];
        let refused = tools.helm(&args).map(drop).expect_err(wrong);
        assert!(format!("{refused:#}").contains(place), "{wrong}: {refused:#}");
    }
}

/// A kind that was rendered, by its name.
fn rendered<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let its = |o: &&Value| o["kind"] == kind && o["metadata"]["name"] == name;
    all.iter().find(its).unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// What a container has, without how it says who it is: a static pod may have no account.
fn without_credentials(container: &Value) -> Value {
    let mut bare = container.clone();
    for (key, whose) in [("volumeMounts", "mountPath"), ("args", "")] {
        if let Some(all) = bare[key].as_array_mut() {
            all.retain(|it| {
                let text = it.get(whose).unwrap_or(it).as_str().unwrap_or_default();
                !text.starts_with("--kubeconfig=")
                    && !text.ends_with("/serviceaccount")
                    && !["/etc/palisade/ring", "/etc/palisade/fencer"].contains(&text)
            });
        }
    }
    bare
}

#[test]
#[ignore = "needs helm: cargo lab test chart"]
fn the_static_pod_has_the_parts_of_the_daemon_sets_and_nothing_that_only_the_api_can_give() {
    let tools = tools();
    let chart = tree("charts/palisade");
    let objects = |more: &[&str]| -> Vec<Value> {
        let common = ["template", "palisade", &chart, "-n", NS, "--kube-version=1.31.0"];
        let text = tools.helm(&[&common[..], more].concat()).expect("rendered");
        let documents = serde_yaml::Deserializer::from_str(&text);
        documents.map(|d| serde::Deserialize::deserialize(d).expect("YAML")).collect()
    };
    let pods_off =
        ["--set", "agent.enabled=false,fencer.enabled=false,agent.staticPod.render=true"];
    let shown = ["--show-only", "templates/static-pod.yaml"];
    for set in [
        "agent.processes.enabled=true,agent.processes.runtime=systemd",
        "agent.processes.enabled=true,agent.watchdog.enabled=true,agent.interfaces.public=eth1",
        "agent.processes.enabled=true,agent.processes.runtime=systemd,agent.containers.enabled=true",
        "agent.identity.bootIdFile=/etc/boot-id,agent.metrics.listen=127.0.0.1",
    ] {
        // The ring part of a static pod stays root, whatever the values say: its credentials are files of root's.
        let pods = objects(&["--set", &format!("{set},agent.ringUser=0")]);
        let alone = objects(&[&["--set", set], &pods_off[..], &shown].concat());
        let [alone] = alone.as_slice() else { panic!("{set}: one pod, no more: {alone:?}") };
        let agent = &rendered(&pods, "DaemonSet", "palisade-agent")["spec"]["template"]["spec"];
        let fencer = &rendered(&pods, "DaemonSet", "palisade-fencer")["spec"]["template"]["spec"];
        let spec = &alone["spec"];
        let parts = |spec: &Value, which: &str| -> Vec<Value> {
            spec[which].as_array().into_iter().flatten().map(without_credentials).collect()
        };
        assert_eq!(parts(spec, "initContainers"), parts(agent, "initContainers"), "{set}");
        let both = [parts(agent, "containers"), parts(fencer, "containers")].concat();
        assert_eq!(parts(spec, "containers"), both, "{set}");
        assert_eq!(both.len(), 2);
        for key in ["hostNetwork", "hostPID", "dnsPolicy", "securityContext", "priorityClassName"] {
            assert_eq!(spec[key], agent[key], "{set}: {key}");
        }
        // What a kubelet must ask the API for, and what the API refuses in the pod's mirror.
        for volume in spec["volumes"].as_array().expect("volumes") {
            let kinds = ["hostPath", "emptyDir", "downwardAPI"];
            assert!(kinds.iter().any(|kind| !volume[kind].is_null()), "{set}: {volume}");
        }
        for key in ["serviceAccountName", "imagePullSecrets", "nodeSelector"] {
            assert!(spec[key].is_null(), "{set}: {key}");
        }
        let config = rendered(&pods, "ConfigMap", "palisade-agent");
        let own = &alone["metadata"]["annotations"]["palisade.dev/agent.toml"];
        assert_eq!(*own, config["data"]["agent.toml"], "{set}");
        assert!(own.as_str().is_some_and(|toml| toml.contains("run_dir")), "{own}");
        // The executor speaks to no API, and each of the others by its own folder.
        let sees =
            |container: &Value, what: &str| container["volumeMounts"].to_string().contains(what);
        assert!(!sees(&spec["initContainers"][0], "credentials"));
        for (container, own, other) in [(0, "ring", "fencer-cred"), (1, "fencer", "ring-cred")] {
            let container = &spec["containers"][container];
            assert_eq!(container["name"], own);
            assert!(sees(container, &format!("{own}-credentials")) && !sees(container, other));
        }
    }
    // Accounts and policies are made for agents that are no pods of the release.
    let machines =
        objects(&["--set", "agent.enabled=false,fencer.enabled=false,agent.onMachines=true"]);
    for account in ["palisade-agent", "palisade-fencer"] {
        rendered(&machines, "ServiceAccount", account);
        rendered(&machines, "Role", account);
    }
    rendered(&machines, "ValidatingAdmissionPolicy", "palisade.palisade.agent-is-its-node");
    let an_agent = |o: &&Value| {
        o["kind"] == "DaemonSet" || o["kind"] == "Pod" && o["metadata"]["name"] == "palisade-agent"
    };
    assert_eq!(machines.iter().find(an_agent), None);
}
