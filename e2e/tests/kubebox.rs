//! The real API server: it starts, it takes what we give it, it says who did what.
//!
//! Needs root; `cargo lab test kubebox` runs it.

use e2e::kubebox::{KubeBox, Parts};
use e2e::lab::{Lab, LabSpec};
use e2e::observer::audit::Cursor;
use std::path::Path;

const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

struct Fresh(Lab);

impl Fresh {
    fn up(name: &str) -> (Self, KubeBox) {
        let program = Path::new(env!("CARGO_BIN_EXE_e2e"));
        let lab = Lab::create(&Lab::default_dir(name), LabSpec::three(name), program);
        let fresh = Self(lab.expect("a lab"));
        let api = KubeBox::start(&fresh.0, Parts { controllers: true, scheduler: false });
        (fresh, api.expect("an API server"))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.0.down().expect("down");
        self.0.purge().expect("purge");
    }
}

#[test]
#[ignore = "needs root: cargo lab test kubebox"]
fn it_stops_starts_and_audits() {
    let (fresh, api) = Fresh::up("kaudit");
    let log = api.audit_log().expect("our own server has one");
    let cursor = Cursor::at_end(&log).expect("a place in the log");
    api.kubectl(&["create", "configmap", "one", "--from-literal=a=b"]).expect("created");
    let writes = cursor.writes("").expect("counted");
    assert_eq!(writes.get("admin create configmaps"), Some(&1), "{writes:?}");
    api.stop_api().expect("stopped");
    assert!(!api.is_ready());
    api.start_api().expect("started");
    api.kubectl(&["get", "configmap", "one"]).expect("etcd has kept it");
    // From the host, through loopback.
    let host = format!("--kubeconfig={}", api.kubeconfig("host").display());
    let kubectl = fresh.0.program("kubebox").display().to_string();
    e2e::command::run(&kubectl, &["kubectl", &host, "get", "configmap", "one"]).expect("relayed");
}

#[test]
#[ignore = "needs root: cargo lab test kubebox"]
fn it_takes_our_definitions_and_the_quickstart() {
    let (_fresh, api) = Fresh::up("kcrds");
    let tree = |path: &str| format!("{TREE}/{path}");
    api.kubectl(&["create", "namespace", "palisade"]).expect("created");
    api.kubectl(&["apply", "--server-side", "-f", &tree("crds")]).expect("the CRDs are taken");
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"];
    api.kubectl(&wait).expect("established");
    for file in ["rights", "rbac.yaml"] {
        let file = tree(&format!("e2e/manifests/{file}"));
        api.kubectl(&["apply", "-f", &file]).expect("the roles are taken");
    }
    api.kubectl(&["apply", "-f", &tree("manifests/quickstart")]).expect("the quickstart is taken");
    let shown = api.kubectl(&["-n", "palisade", "get", "palisade"]).expect("listed");
    for name in ["quickstart", "bmc-n1", "web", "public"] {
        assert!(shown.contains(name), "{shown}");
    }
}
