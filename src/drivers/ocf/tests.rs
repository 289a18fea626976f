//! Small agents written by the test into a folder of its own; Debian's own in `debian.rs`.

mod debian;
mod driver;
mod hostile;
mod promotion;

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use base::ResourceId;
use lifecycle::{Operation, Outcome};

use super::{
    AgentError, AgentName, Agents, AgentsConfig, Clone, Meta, Notify, NotifyLists, Request, check,
    environment, outcome, parse,
};

pub(super) const METADATA: &str = r#"<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="Fake" version="1.0"><version>1.0</version>
<parameters>
<parameter name="ip" unique="1" required="1"><shortdesc lang="en">The address</shortdesc><content type="string"/></parameter>
<parameter name="count"><content type="integer" default="5"/></parameter>
<parameter name="log_all"><content type="boolean" default="false"/></parameter>
<parameter name="mode"><content type="select"><option value="fast"/><option value="safe"/></content></parameter>
<parameter name="db_passwd"><content type="string"/></parameter>
</parameters>
<actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s"/>
<action name="promote" timeout="20s"/><action name="demote" timeout="20s"/></actions></resource-agent>"#;

pub(super) fn meta(timeout: Duration) -> Meta {
    Meta {
        timeout,
        interval: Duration::from_secs(10),
        clone: None,
        notify: None,
        node: Some("m1".into()),
        check_level: 0,
        tools: None,
    }
}

pub(super) fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// One agent, `test/Fake`.
pub(super) struct Fake {
    folder: tempfile::TempDir,
    pub(super) agents: Agents,
    pub(super) name: AgentName,
    resource: ResourceId,
}

impl Fake {
    /// `body` is what it does for anything but `meta-data`.
    pub(super) fn new(body: &str) -> Self {
        Self::raw(&format!(
            "#!/bin/sh\nif [ \"$1\" = meta-data ]; then cat <<'X'\n{METADATA}\nX\nexit 0; fi\n{body}\n"
        ))
    }

    pub(super) fn raw(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let name: AgentName = "test/Fake".parse().expect("valid");
        let config = AgentsConfig {
            root: folder.path().to_owned(),
            allowed: [name.clone()].into(),
            launch: None,
        };
        let fake = Self {
            agents: Agents::new(config),
            name,
            resource: "db:0".parse().expect("valid"),
            folder,
        };
        fs::create_dir_all(fake.path("resource.d/test")).expect("created");
        for above in ["resource.d", "resource.d/test"] {
            fake.mode(above, 0o755);
        }
        fs::write(fake.file(), script).expect("written");
        fake.mode("resource.d/test/Fake", 0o755);
        fake
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("resource.d/test/Fake")
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("set");
    }

    pub(super) async fn act(
        &self,
        operation: Operation,
        parameters: &[(&str, &str)],
        timeout: Duration,
    ) -> Outcome {
        let (parameters, meta) = (given(parameters), meta(timeout));
        let request = Request {
            agent: &self.name,
            resource: &self.resource,
            parameters: &parameters,
            hidden: &BTreeSet::new(),
            started: false,
            meta: &meta,
        };
        self.agents.act(request, operation).await
    }

    pub(super) async fn quick(&self, operation: Operation) -> Outcome {
        self.act(operation, &[("ip", "192.0.2.1")], Duration::from_secs(20)).await
    }
}

#[test]
fn a_name_holds_no_path() {
    for wrong in [
        "", "a", "/", "a/", "/a", "../x", "a/..", "a/b/c", "a/b.c", "a/ b", "a/b\n", "a//b",
        "a/b\0",
    ] {
        assert!(wrong.parse::<AgentName>().is_err(), "{wrong:?}");
    }
    assert!(format!("{}/b", "a".repeat(65)).parse::<AgentName>().is_err());
    let name: AgentName = "heart-beat/IP_addr2".parse().expect("valid");
    assert_eq!((name.provider(), name.kind()), ("heart-beat", "IP_addr2"));
}

#[test]
fn every_exit_code_has_one_meaning_for_each_operation() {
    use Operation::{Demote, Monitor, Probe, Promote, Start, Stop};
    // What is not in this table is a failure.
    let table = [
        (Probe, "0 run, 7 not, 8 pro, 190 deg, 191 prodeg"),
        (Monitor, "0 run, 7 not, 8 pro, 190 deg, 191 prodeg"),
        (Start, "0 run, 190 deg"),
        (Promote, "0 run, 8 pro, 190 prodeg, 191 prodeg"),
        (Demote, "0 run, 7 not, 190 deg"),
        (Stop, "0 run, 7 not"),
    ];
    for (operation, rows) in table {
        for code in 0..=255u8 {
            let row = rows.split(", ").find_map(|row| row.strip_prefix(&format!("{code} ")));
            let seen = outcome(operation, code, "why");
            let word = match &seen {
                Outcome::Ok => Some("run"),
                Outcome::NotRunning => Some("not"),
                Outcome::RunningPromoted => Some("pro"),
                Outcome::Degraded { promoted: false, .. } => Some("deg"),
                Outcome::Degraded { promoted: true, .. } => Some("prodeg"),
                Outcome::Failed { code: said, reason } => {
                    let known = code < 10 || (189..=193).contains(&code);
                    assert_eq!(*said, if known { code } else { 1 }, "{operation:?}");
                    assert!(reason.contains("why") && *said != 0, "{reason}");
                    None
                }
                Outcome::TimedOut => Some("late"),
            };
            assert_eq!(word, row, "{operation:?} {code}");
        }
    }
}

#[test]
fn parameters_are_checked_with_path_value_rule_and_remedy() {
    let metadata = parse(METADATA.as_bytes()).expect("read");
    assert!(metadata.promotable());
    let refused = |pairs: &[(&str, &str)]| -> Vec<String> {
        check(&metadata, &given(pairs)).iter().map(ToString::to_string).collect()
    };
    let right = [("ip", "x"), ("count", "-3"), ("log_all", "Yes"), ("mode", "safe")];
    assert_eq!(refused(&right), [""; 0]);
    assert_eq!(refused(&[]), ["parameters.ip: absent: required; add it (The address)"]);
    assert_eq!(refused(&[("ip", "")]), ["parameters.ip: \"\": required; give it a value"]);
    let wrong = [
        ("ip", "x"),
        ("count", "many"),
        ("log_all", "perhaps"),
        ("mode", "slow"),
        ("Log-All", "1"),
        ("x", "1"),
        ("my_password", "hunter2"),
    ];
    assert_eq!(
        refused(&wrong),
        [
            "parameters.Log-All: \"1\": the agent has no such parameter; did you mean log_all? Otherwise remove it",
            "parameters.count: \"many\": a whole number; write a number, as in \"5\"",
            "parameters.log_all: \"perhaps\": true or false; write \"true\" or \"false\"",
            "parameters.mode: \"slow\": one of fast, safe; write \"fast\"",
            "parameters.my_password: (not shown): the agent has no such parameter; remove it; the agent's meta-data lists what it takes",
            "parameters.x: \"1\": the agent has no such parameter; remove it; the agent's meta-data lists what it takes",
        ]
    );
    assert_eq!(refused(&[("ip", &"x".repeat(4097))]).len(), 1);
    assert_eq!(refused(&[("ip", "a\0b")]).len(), 1);
}

#[test]
fn the_environment_is_what_the_standard_says() {
    let agent = "heartbeat/galera".parse().expect("valid");
    let resource = "galera:1".parse().expect("valid");
    let mut meta = meta(Duration::from_secs(20));
    meta.clone = Some(Clone { number: 1, max: 3, node_max: 1, promoted_max: 2, unique: false });
    let of = NotifyLists {
        resources: vec!["galera:0".into(), "galera:1".into()],
        machines: vec!["m1".into(), "m2".into()],
    };
    meta.notify = Some(Notify {
        when: "post".into(),
        operation: "promote".into(),
        lists: [("promoted", of)].into(),
    });
    let parameters = given(&[("datadir", "/x"), ("CRM_meta_interval", "7"), ("a=b", "c")]);
    let of = |operation| {
        environment("/usr/lib/ocf".as_ref(), &agent, &resource, operation, &parameters, &meta)
    };
    let probe = of(Operation::Probe);
    for (name, value) in [
        ("OCF_ROOT", "/usr/lib/ocf"),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RA_VERSION_MINOR", "1"),
        ("OCF_RESOURCE_INSTANCE", "galera:1"),
        ("OCF_RESOURCE_PROVIDER", "heartbeat"),
        ("OCF_RESOURCE_TYPE", "galera"),
        ("OCF_RESKEY_datadir", "/x"),
        ("OCF_RESKEY_CRM_meta_interval", "0"),
        ("OCF_RESKEY_CRM_meta_timeout", "20000"),
        ("OCF_RESKEY_CRM_meta_name", "monitor"),
        ("OCF_RESKEY_CRM_meta_clone", "1"),
        ("OCF_RESKEY_CRM_meta_clone_max", "3"),
        ("OCF_RESKEY_CRM_meta_master_max", "2"),
        ("OCF_RESKEY_CRM_meta_promoted_max", "2"),
        ("OCF_RESKEY_CRM_meta_notify_type", "post"),
        ("OCF_RESKEY_CRM_meta_notify_promoted_uname", "m1 m2"),
        ("OCF_RESKEY_CRM_meta_notify_master_resource", "galera:0 galera:1"),
        ("OCF_CHECK_LEVEL", "0"),
    ] {
        assert_eq!(probe.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!probe.contains_key("OCF_RESKEY_a=b"));
    assert_eq!(of(Operation::Monitor)["OCF_RESKEY_CRM_meta_interval"], "10000");
    meta_of_a_monitor_is_never_a_probes(&agent, &resource);
}

fn meta_of_a_monitor_is_never_a_probes(agent: &AgentName, resource: &ResourceId) {
    let mut meta = meta(Duration::from_secs(1));
    meta.interval = Duration::ZERO;
    let none = BTreeMap::new();
    let all = environment("/x".as_ref(), agent, resource, Operation::Monitor, &none, &meta);
    assert_eq!(all["OCF_RESKEY_CRM_meta_interval"], "1");
}

#[tokio::test]
async fn an_agent_starts_runs_and_stops_and_inherits_nothing() {
    let fake = Fake::new(
        r#"here=$OCF_ROOT/state
case $1 in
start) env > $OCF_ROOT/env; echo Unpromoted > $here;;
promote) echo Promoted > $here;;
demote) echo Unpromoted > $here;;
stop) rm -f $here;;
monitor) case $(cat $here 2>/dev/null) in Promoted) exit 8;; Unpromoted) exit 0;; *) exit 7;; esac;;
*) exit 3;;
esac"#,
    );
    for (operation, seen) in [
        (Operation::Probe, Outcome::NotRunning),
        (Operation::Start, Outcome::Ok),
        (Operation::Monitor, Outcome::Ok),
        (Operation::Promote, Outcome::Ok),
        (Operation::Monitor, Outcome::RunningPromoted),
        (Operation::Demote, Outcome::Ok),
        (Operation::Monitor, Outcome::Ok),
        (Operation::Stop, Outcome::Ok),
        (Operation::Probe, Outcome::NotRunning),
    ] {
        assert_eq!(fake.quick(operation).await, seen, "{operation:?}");
    }
    let seen = fs::read_to_string(fake.path("env")).expect("written");
    assert!(seen.contains("OCF_RESKEY_ip=192.0.2.1\n"), "{seen}");
    let ours = |line: &&str| {
        let made = ["OCF_", "PATH=", "LC_ALL=", "PWD=", "OLDPWD=", "SHLVL=", "_="];
        !made.iter().any(|name| line.starts_with(name))
    };
    assert_eq!(seen.lines().find(ours), None, "inherited");
}

#[tokio::test]
async fn wrong_parameters_start_nothing_and_hinder_no_stop() {
    let fake = Fake::new("echo $1 >> $OCF_ROOT/done; exit 0");
    let wrong = [("count", "many")];
    for operation in [Operation::Start, Operation::Promote] {
        let outcome = fake.act(operation, &wrong, Duration::from_secs(20)).await;
        let Outcome::Failed { code: 6, reason } = outcome else { panic!("{outcome:?}") };
        assert!(reason.starts_with("parameters.count: \"many\""), "{reason}");
    }
    assert!(!fake.path("done").exists());
    assert_eq!(fake.act(Operation::Stop, &wrong, Duration::from_secs(20)).await, Outcome::Ok);
    assert_eq!(fs::read_to_string(fake.path("done")).expect("written"), "stop\n");
}

#[tokio::test]
async fn only_allowed_agents_that_are_roots_alone_are_run() {
    let fake = Fake::new("exit 0");
    assert!(fake.agents.metadata(&fake.name).await.is_ok());
    let other = "test/Other".parse().expect("valid");
    let refused = fake.agents.metadata(&other).await.expect_err("refused");
    assert!(matches!(refused, AgentError::NotAllowed(_)), "{refused}");
    for (path, mode, back) in [
        ("resource.d/test/Fake", 0o775, 0o755),
        ("resource.d/test/Fake", 0o757, 0o755),
        ("resource.d/test", 0o777, 0o755),
        ("resource.d", 0o775, 0o755),
    ] {
        fake.mode(path, mode);
        let refused = fake.agents.metadata(&fake.name).await.expect_err("refused");
        assert!(matches!(refused, AgentError::Unsafe(_)), "{path} {mode:o}: {refused}");
        fake.mode(path, back);
    }
    fake.mode("resource.d/test/Fake", 0o644);
    let refused = fake.agents.metadata(&fake.name).await.expect_err("refused");
    assert!(matches!(refused, AgentError::NoProgram(_)), "{refused}");
    fs::rename(fake.file(), fake.path("elsewhere")).expect("moved");
    let refused = fake.agents.metadata(&fake.name).await.expect_err("refused");
    assert!(matches!(refused, AgentError::Absent { .. }), "{refused}");
    fs::create_dir_all(fake.path("bin")).expect("created");
    std::os::unix::fs::symlink("/bin/true", fake.file()).expect("linked");
    let refused = fake.agents.metadata(&fake.name).await.expect_err("refused");
    assert!(matches!(refused, AgentError::Unsafe(_)), "{refused}");
    assert!(matches!(fake.quick(Operation::Stop).await, Outcome::Failed { code: 4, .. }));
}
