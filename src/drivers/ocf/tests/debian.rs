//! Debian's own agents.

use core::time::Duration;
use std::{collections::BTreeSet, fs, process::Command};

use lifecycle::{Operation, Outcome};

use super::{
    super::{AgentName, Agents, AgentsConfig, ROOT, Request, check},
    given, meta,
};

/// `heartbeat/Dummy=/tmp/x`: a name as the folders say it.
fn installed() -> Vec<AgentName> {
    let mut all = Vec::new();
    for provider in ["heartbeat", "pacemaker"] {
        let folder = format!("{ROOT}/resource.d/{provider}");
        let entries = fs::read_dir(&folder).expect("resource-agents is installed");
        for entry in entries {
            let file = entry.expect("read").file_name().into_string().expect("UTF-8");
            all.extend(format!("{provider}/{file}").parse::<AgentName>());
        }
    }
    all.sort();
    all
}

fn machine() -> Agents {
    Agents::new(AgentsConfig {
        root: ROOT.into(),
        allowed: installed().into_iter().collect(),
        launch: None,
    })
}

async fn walk(agent: &str, parameters: &[(&str, &str)], steps: &[(Operation, Outcome)]) {
    let (agents, name) = (machine(), agent.parse().expect("valid"));
    let (parameters, meta) = (given(parameters), meta(Duration::from_secs(30)));
    let resource = "ocftest".parse().expect("valid");
    let request = Request {
        agent: &name,
        resource: &resource,
        parameters: &parameters,
        hidden: &BTreeSet::new(),
        started: false,
        meta: &meta,
    };
    for (operation, seen) in steps {
        assert_eq!(agents.act(request, *operation).await, *seen, "{agent} {operation:?}");
    }
}

const UP_AND_DOWN: [(Operation, Outcome); 7] = [
    (Operation::Probe, Outcome::NotRunning),
    (Operation::Start, Outcome::Ok),
    (Operation::Start, Outcome::Ok),
    (Operation::Monitor, Outcome::Ok),
    (Operation::Stop, Outcome::Ok),
    (Operation::Stop, Outcome::Ok),
    (Operation::Probe, Outcome::NotRunning),
];

#[tokio::test]
#[ignore = "needs Debian's resource-agents; cargo test -p drivers --lib ocf::tests::debian -- --ignored"]
async fn dummy_goes_up_and_down() {
    let folder = tempfile::tempdir().expect("folder");
    let state = folder.path().join("state");
    walk("heartbeat/Dummy", &[("state", state.to_str().expect("UTF-8"))], &UP_AND_DOWN).await;
}

#[tokio::test]
#[ignore = "needs pacemaker-resource-agents; cargo test -p drivers --lib ocf::tests::debian -- --ignored"]
async fn stateful_is_promoted_and_demoted() {
    let folder = tempfile::tempdir().expect("folder");
    let state = folder.path().join("state");
    let steps = [
        (Operation::Probe, Outcome::NotRunning),
        (Operation::Start, Outcome::Ok),
        (Operation::Monitor, Outcome::Ok),
        (Operation::Promote, Outcome::Ok),
        (Operation::Monitor, Outcome::RunningPromoted),
        (Operation::Probe, Outcome::RunningPromoted),
        (Operation::Demote, Outcome::Ok),
        (Operation::Monitor, Outcome::Ok),
        (Operation::Stop, Outcome::Ok),
        (Operation::Probe, Outcome::NotRunning),
    ];
    walk("pacemaker/Stateful", &[("state", state.to_str().expect("UTF-8"))], &steps).await;
}

/// Runs itself again in a network namespace of its own, so that no address of this machine is touched.
#[tokio::test]
#[ignore = "needs root and Debian's resource-agents; cargo test -p drivers --lib ocf::tests::debian -- --ignored"]
async fn an_address_goes_up_and_down() {
    const INSIDE: &str = "PALISADE_TEST_OCF_NAMESPACE";
    if std::env::var_os(INSIDE).is_none() {
        let this = std::env::current_exe().expect("known");
        let name = "ocf::tests::debian::an_address_goes_up_and_down";
        let status = Command::new("unshare")
            .arg("--net")
            .arg(this)
            .args(["--exact", name, "--ignored", "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("unshare");
        assert!(status.success());
        return;
    }
    let ip = |words: &str| {
        let out = Command::new("ip").args(words.split(' ')).output().expect("ip");
        assert!(out.status.success(), "ip {words}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("UTF-8")
    };
    assert!(!ip("-o link").contains("2: "), "a namespace of our own has lo and nothing else");
    ip("link add ocf0 type veth peer name ocf1");
    ip("link set ocf0 up");
    ip("link set ocf1 up");
    let parameters = [("ip", "192.0.2.77"), ("cidr_netmask", "24"), ("nic", "ocf0")];
    walk("heartbeat/IPaddr2", &parameters, &UP_AND_DOWN[..4]).await;
    assert!(ip("-o addr show dev ocf0").contains("192.0.2.77/24"));
    walk("heartbeat/IPaddr2", &parameters, &UP_AND_DOWN[4..]).await;
    assert!(!ip("-o addr show dev ocf0").contains("192.0.2.77"));
}

#[tokio::test]
#[ignore = "needs Debian's resource-agents; cargo test -p drivers --lib ocf::tests::debian -- --ignored"]
async fn metadata_of_all_that_is_installed_is_read() {
    let agents = machine();
    let galera = agents.metadata(&"heartbeat/galera".parse().expect("valid")).await.expect("read");
    assert!(galera.promotable() && galera.parameters["wsrep_cluster_address"].required);
    let refused = check(&galera, &given(&[("two_node_mode", "perhaps"), ("data_dir", "/x")]));
    let paths: Vec<&str> = refused.iter().map(|refused| refused.path.as_str()).collect();
    assert_eq!(
        paths,
        ["parameters.data_dir", "parameters.two_node_mode", "parameters.wsrep_cluster_address"]
    );
    let (mut read, mut not) = (0, Vec::new());
    for name in installed() {
        match agents.metadata(&name).await {
            Ok(_) => read += 1,
            Err(error) => not.push(error.to_string()),
        }
    }
    assert!(read > 80, "{read} read; not: {not:#?}");
}
