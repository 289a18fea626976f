//! What the executor has of it: records, tokens, secrets, machines without the agent.

use core::time::Duration;
use std::{fs, os::unix::fs::PermissionsExt as _};

use base::{
    OcfAgent, ResourceId, ResourceKind,
    ocf::{OcfCopies, OcfParameter, OcfValue},
};
use lifecycle::{Operation, Outcome};

use super::{
    super::{AgentsConfig, Launch, OcfConfig, OcfDriver},
    Fake,
};
use crate::{
    process::Cgroups,
    resource::{Instance, ResourceDriver as _},
};

/// Counts what it does, and keeps its environment.
const COUNTING: &str = r#"here=$OCF_ROOT/state
echo $1 >> $OCF_ROOT/done
env | sort > $OCF_ROOT/env.$1
case $1 in
start) echo Unpromoted > $here;;
promote) echo Promoted > $here;;
demote) echo Unpromoted > $here;;
stop) rm -f $here;;
monitor) case $(cat $here 2>/dev/null) in Promoted) exit 8;; Unpromoted) exit 0;; *) exit 7;; esac;;
esac"#;
/// Each of its signs has a meaning in a shell, in a log, or in a message.
const CANARY: &str = "Seč'r\"$(x)";

struct Machine {
    fake: Fake,
    resource: ResourceId,
    kind: ResourceKind,
}

impl Machine {
    fn new(body: &str) -> Self {
        let fake = Fake::new(body);
        fs::create_dir_all(fake.path("secrets")).expect("created");
        fake.mode("secrets", 0o700);
        let text = |name: &str, value: OcfValue| OcfParameter {
            name: name.parse().expect("valid"),
            value,
        };
        let kind = ResourceKind::Ocf(Box::new(OcfAgent {
            name: fake.name.clone(),
            parameters: vec![
                text("db_passwd", OcfValue::Secret("db".parse().expect("valid"))),
                text("ip", OcfValue::Text("192.0.2.1".into())),
            ],
            copies: Some(OcfCopies { max: 3, node_max: 1, promoted_max: 1, unique: true }),
        }));
        let machine = Self { fake, resource: "db:2".parse().expect("valid"), kind };
        machine.secret(&format!("{CANARY}\n"), 0o600);
        machine
    }

    fn secret(&self, text: &str, mode: u32) {
        fs::write(self.fake.path("secrets/db"), text).expect("written");
        self.fake.mode("secrets/db", mode);
    }

    /// Another executor each time; `allowed` is what its machine's configuration says.
    fn driver(&self, allowed: bool) -> OcfDriver {
        let allowed = allowed.then(|| self.fake.name.clone()).into_iter().collect();
        OcfDriver::new(OcfConfig {
            agents: AgentsConfig { root: self.fake.path(""), allowed, launch: None },
            secrets: self.fake.path("secrets"),
            records: self.fake.path("records"),
            node: "ctl-1".parse().expect("valid"),
            tools: None,
        })
    }

    async fn act(&self, driver: &OcfDriver, operation: Operation) -> (Outcome, Option<u64>) {
        let instance = Instance { resource: &self.resource, kind: &self.kind, lifetime: None };
        let timed = driver.within(Duration::from_secs(20), None);
        let outcome = match operation {
            Operation::Probe => timed.probe(instance).await,
            Operation::Start => timed.start(instance).await,
            Operation::Stop => timed.stop(instance).await,
            Operation::Monitor => timed.monitor(instance).await,
            Operation::Promote => timed.promote(instance).await,
            Operation::Demote => timed.demote(instance).await,
        };
        (outcome, timed.run(instance).await)
    }

    fn done(&self) -> String {
        fs::read_to_string(self.fake.path("done")).unwrap_or_default()
    }
}

#[tokio::test]
async fn the_next_executor_finds_what_was_started_and_the_same_run() {
    let machine = Machine::new(COUNTING);
    let first = machine.driver(true);
    assert_eq!(machine.act(&first, Operation::Probe).await, (Outcome::NotRunning, None));
    assert_eq!(first.survivors(), []);
    let (outcome, run) = machine.act(&first, Operation::Start).await;
    assert_eq!(outcome, Outcome::Ok);
    assert!(run.is_some());
    assert_eq!(machine.act(&first, Operation::Start).await, (Outcome::Ok, run));

    let second = machine.driver(true);
    let found = second.survivors();
    assert_eq!(
        (&found[0].resource, found[0].kind.as_ref()),
        (&machine.resource, Some(&machine.kind))
    );
    assert_eq!((found.len(), Some(found[0].run)), (1, run));
    assert_eq!(machine.act(&second, Operation::Promote).await, (Outcome::Ok, run));
    assert_eq!(machine.act(&second, Operation::Monitor).await, (Outcome::RunningPromoted, run));
    assert_eq!(machine.act(&second, Operation::Probe).await, (Outcome::RunningPromoted, run));
    assert_eq!(machine.act(&second, Operation::Demote).await, (Outcome::Ok, run));
    assert_eq!(machine.act(&second, Operation::Stop).await, (Outcome::Ok, None));
    assert_eq!(second.survivors(), []);
    let (_, again) = machine.act(&second, Operation::Start).await;
    assert!(again.is_some() && again != run, "another run: {again:?}");
    fs::remove_file(machine.fake.path("state")).expect("it died");
    assert_eq!(machine.act(&second, Operation::Monitor).await, (Outcome::NotRunning, None));
}

#[tokio::test]
async fn a_machine_that_does_not_run_the_agent_has_nothing_running_and_starts_nothing() {
    let machine = Machine::new(COUNTING);
    let without = machine.driver(false);
    assert_eq!(machine.act(&without, Operation::Probe).await.0, Outcome::NotRunning);
    assert_eq!(machine.act(&without, Operation::Stop).await.0, Outcome::NotRunning);
    let (outcome, _) = machine.act(&without, Operation::Start).await;
    let Outcome::Failed { code: 5, reason } = outcome else { panic!("{outcome:?}") };
    assert!(
        reason.contains("test/Fake is not allowed on this machine: add it to ocf_agents"),
        "{reason}"
    );
    assert_eq!(machine.done(), "", "nothing was run");
}

/// Taken out of the list while it runs: it is still looked at and ended, and not begun again.
#[tokio::test]
async fn what_was_started_may_be_ended_whatever_is_allowed_now() {
    let machine = Machine::new(COUNTING);
    assert_eq!(machine.act(&machine.driver(true), Operation::Start).await.0, Outcome::Ok);
    let without = machine.driver(false);
    assert_eq!(machine.act(&without, Operation::Probe).await.0, Outcome::Ok);
    let promoted = machine.act(&without, Operation::Promote).await.0;
    assert!(matches!(promoted, Outcome::Failed { code: 5, .. }), "{promoted:?}");
    // What is not known to be down is no success: the program is gone, the record is not.
    let (from, to) = (machine.fake.file(), machine.fake.path("elsewhere"));
    fs::rename(&from, &to).expect("moved");
    let stopped = machine.act(&without, Operation::Stop).await.0;
    assert!(matches!(stopped, Outcome::Failed { code: 5, .. }), "{stopped:?}");
    fs::rename(&to, &from).expect("moved");
    assert_eq!(machine.act(&without, Operation::Stop).await, (Outcome::Ok, None));
    assert!(!machine.fake.path("state").exists());
}

#[tokio::test]
async fn an_agent_hears_how_many_there_are_and_where_it_is() {
    let machine = Machine::new(COUNTING);
    let driver = machine.driver(true);
    machine.act(&driver, Operation::Start).await;
    let env = fs::read_to_string(machine.fake.path("env.start")).expect("written");
    for line in [
        "OCF_RESOURCE_INSTANCE=db:2",
        "OCF_RESKEY_ip=192.0.2.1",
        "OCF_RESKEY_CRM_meta_clone=2",
        "OCF_RESKEY_CRM_meta_clone_max=3",
        "OCF_RESKEY_CRM_meta_globally_unique=true",
        "OCF_RESKEY_CRM_meta_promoted_max=1",
        "OCF_RESKEY_CRM_meta_on_node=ctl-1",
        "OCF_RESKEY_CRM_meta_timeout=20000",
    ] {
        assert!(env.lines().any(|have| have == line), "{line} in {env}");
    }
    assert!(env.contains(&format!("OCF_RESKEY_db_passwd={CANARY}\n")), "the value of the file");
}

#[tokio::test]
async fn a_secret_is_in_no_record_and_in_no_reason() {
    // It says everything that it knows, and fails.
    let machine = Machine::new(
        "echo \"$OCF_RESKEY_db_passwd\"; echo \"ocf-exit-reason:cannot log in as x with '$OCF_RESKEY_db_passwd'\" >&2; exit 1",
    );
    let driver = machine.driver(true);
    for operation in [Operation::Start, Operation::Monitor, Operation::Probe, Operation::Stop] {
        let (outcome, _) = machine.act(&driver, operation).await;
        let Outcome::Failed { code: 1, reason } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("with '(not shown)'"), "{reason}");
    }
    let record = fs::read_to_string(machine.fake.path("records/db:2/record.json")).expect("read");
    assert!(record.contains("db_passwd") && !record.contains("$(x)"), "{record}");
}

#[tokio::test]
async fn a_secret_of_two_lines_is_not_told_by_one_of_them() {
    let machine = Machine::new("echo \"no login with $OCF_RESKEY_db_passwd\" >&2; exit 1");
    machine.secret("first-half\nsecond-half\n", 0o600);
    let driver = machine.driver(true);
    let (outcome, _) = machine.act(&driver, Operation::Start).await;
    assert_eq!(outcome, Outcome::Failed { code: 1, reason: "failed: (not shown)".into() });
    let long = Machine::new("printf '%s' \"$OCF_RESKEY_db_passwd\" >&2; exit 1");
    long.secret(&"x".repeat(4096), 0o600);
    let (outcome, _) = long.act(&long.driver(true), Operation::Monitor).await;
    let Outcome::Failed { reason, .. } = outcome else { panic!("{outcome:?}") };
    assert!(!reason.contains('x'), "{reason}");
}

#[tokio::test]
async fn a_secret_that_others_can_read_or_that_is_absent_starts_nothing() {
    let machine = Machine::new(COUNTING);
    let driver = machine.driver(true);
    for (mode, words) in [(0o640, "is not root's alone"), (0o604, "is not root's alone")] {
        machine.secret(CANARY, mode);
        let (outcome, _) = machine.act(&driver, Operation::Start).await;
        let Outcome::Failed { code: 5, reason } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains(words) && !reason.contains("$(x)"), "{reason}");
    }
    fs::set_permissions(machine.fake.path("secrets"), fs::Permissions::from_mode(0o777))
        .expect("set");
    machine.secret(CANARY, 0o600);
    assert!(matches!(
        machine.act(&driver, Operation::Start).await.0,
        Outcome::Failed { code: 5, .. }
    ));
    machine.fake.mode("secrets", 0o700);
    fs::remove_file(machine.fake.path("secrets/db")).expect("removed");
    let (outcome, _) = machine.act(&driver, Operation::Start).await;
    let Outcome::Failed { code: 5, reason } = outcome else { panic!("{outcome:?}") };
    assert!(
        reason.contains("secrets/db cannot be read on this machine: put the value there"),
        "{reason}"
    );
    assert_eq!(machine.done(), "");
    assert_eq!(
        machine.act(&driver, Operation::Stop).await.0,
        Outcome::Ok,
        "an end needs no secret"
    );
}

/// Ends the one process that the test left behind.
struct Left(i32);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// An empty cgroup of the test, removed at its end.
struct Groups(String);

impl Drop for Groups {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
            if let Some(at) = line.split(' ').nth(4) {
                let _ = fs::remove_dir(std::path::Path::new(at).join(&self.0));
            }
        }
    }
}

/// What an agent starts is the machine's, not its agent's (CLUSTER.md section 8).
#[tokio::test]
async fn what_an_agent_leaves_behind_is_outside_of_our_cgroups() {
    let exe = std::env::current_exe().expect("known");
    let shim =
        exe.parent().and_then(std::path::Path::parent).expect("target").join("examples/shim");
    assert!(shim.exists(), "{} is built by `cargo test -p drivers`", shim.display());
    let root =
        rustix::process::geteuid().is_root() && std::path::Path::new("/sys/fs/cgroup").is_dir();
    let groups = Groups(format!("palisade-test-ocf-{}", std::process::id()));
    let cgroups = if root {
        Cgroups::Leave { to: format!("/{}", groups.0) }
    } else {
        println!("NOT RUN: leaving cgroups needs root and cgroups");
        Cgroups::Stay
    };
    let machine = Machine::new(
        "case $1 in start) sleep 1000 >/dev/null 2>&1 & echo $! > $OCF_ROOT/pid; env | sort > $OCF_ROOT/env.start;; esac",
    );
    let driver = OcfDriver::new(OcfConfig {
        agents: AgentsConfig {
            root: machine.fake.path(""),
            allowed: [machine.fake.name.clone()].into(),
            launch: Some(Launch { shim: vec![shim.into()], cgroups }),
        },
        secrets: machine.fake.path("secrets"),
        records: machine.fake.path("records"),
        node: "ctl-1".parse().expect("valid"),
        tools: None,
    });
    assert_eq!(machine.act(&driver, Operation::Start).await.0, Outcome::Ok);
    let pid = fs::read_to_string(machine.fake.path("pid")).expect("written");
    let left = Left(pid.trim().parse().expect("a pid"));
    let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", left.0)).expect("it lives");
    assert_eq!(of("oom_score_adj").trim(), "0");
    if root {
        for line in of("cgroup").lines() {
            assert!(line.ends_with(&format!(":/{}", groups.0)), "not left: {line}");
        }
    }
    let env = fs::read_to_string(machine.fake.path("env.start")).expect("written");
    assert!(env.contains("OCF_RESKEY_ip=192.0.2.1\n") && !env.contains("CARGO"), "{env}");
    drop(left);
}
