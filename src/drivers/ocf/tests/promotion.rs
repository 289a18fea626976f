//! An agent's own promotion score: said with Pacemaker's tools, kept with the record of its start, gone with it.

use core::time::Duration;
use std::{fs, path::PathBuf};

use base::{
    OcfAgent, ResourceId, ResourceKind,
    ocf::{OcfParameter, OcfValue},
};
use lifecycle::{Call, CallId, Operation, Outcome, Wish};

use super::{
    super::{AgentName, AgentsConfig, OcfConfig, OcfDriver, ROOT, Tools},
    Fake,
};
use crate::resource::carry_out;

/// Says what the file of its action has, as a shell would, and keeps what it was told.
const TALKING: &str = r#"here=$OCF_ROOT/state
[ ! -e $OCF_ROOT/says.$1 ] || . $OCF_ROOT/says.$1
echo "$1 $OCF_RESKEY_CRM_meta_interval" >> $OCF_ROOT/done
case $1 in
start) touch $here;;
stop) rm -f $here;;
monitor) [ -e $here ] || exit 7;;
esac"#;

/// The program of the tools; beside this one.
fn program() -> PathBuf {
    let exe = std::env::current_exe().expect("known");
    let program =
        exe.parent().and_then(std::path::Path::parent).expect("target").join("examples/shim");
    assert!(program.exists(), "{} is built by `cargo test -p drivers`", program.display());
    program
}

struct Machine {
    folder: PathBuf,
    config: OcfConfig,
    kind: ResourceKind,
}

impl Machine {
    fn new(folder: PathBuf, root: PathBuf, name: &AgentName, parameters: &[(&str, &str)]) -> Self {
        let tools = Tools { folder: folder.join("tools"), program: program() };
        let config = OcfConfig {
            agents: AgentsConfig { root, allowed: [name.clone()].into(), launch: None },
            secrets: folder.join("secrets"),
            records: folder.join("records"),
            node: "ctl-1".parse().expect("valid"),
            tools: Some(tools),
        };
        let parameter = |(name, value): &(&str, &str)| OcfParameter {
            name: name.parse().expect("valid"),
            value: OcfValue::Text((*value).into()),
        };
        let parameters = parameters.iter().map(parameter).collect();
        let kind =
            ResourceKind::Ocf(Box::new(OcfAgent { name: name.clone(), parameters, copies: None }));
        Self { folder, config, kind }
    }

    fn fake(fake: &Fake) -> Self {
        Self::new(fake.path(""), fake.path(""), &fake.name, &[("ip", "192.0.2.1")])
    }

    /// Another life of the executor.
    fn driver(&self) -> OcfDriver {
        OcfDriver::new(self.config.clone())
    }

    fn says(&self, action: &str, words: &str) {
        fs::write(self.folder.join(format!("says.{action}")), words).expect("written");
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    async fn act(&self, driver: &OcfDriver, operation: Operation) -> (Outcome, Wish) {
        let interval = (operation == Operation::Monitor).then_some(Duration::from_secs(17));
        let timeout = Duration::from_secs(20);
        let call = Call {
            id: CallId(1),
            resource: resource(),
            kind: self.kind.clone(),
            operation,
            interval,
            timeout,
            lifetime: Duration::ZERO,
            order: None,
        };
        let answer = carry_out(&driver.within(timeout, interval), &call).await;
        (answer.outcome, answer.wish)
    }
}

fn resource() -> ResourceId {
    "db".parse().expect("valid")
}

#[tokio::test]
async fn what_an_agent_says_in_its_call_is_its_wish_until_it_is_down() {
    let fake = Fake::new(TALKING);
    let machine = Machine::fake(&fake);
    let driver = machine.driver();
    machine.says(
        "start",
        "crm_master -v 5 -l reboot || exit 1; $HA_SBIN_DIR/crm_master -G -q > $OCF_ROOT/told",
    );
    assert_eq!(machine.act(&driver, Operation::Probe).await, (Outcome::NotRunning, Wish::None));
    assert_eq!(machine.act(&driver, Operation::Start).await, (Outcome::Ok, Wish::Score(5)));
    assert_eq!(machine.text("told"), "5\n");
    assert_eq!(machine.act(&driver, Operation::Monitor).await, (Outcome::Ok, Wish::Score(5)));
    machine.says("monitor", "$HA_SBIN_DIR/crm_attribute --promotion -v 10");
    assert_eq!(machine.act(&driver, Operation::Monitor).await, (Outcome::Ok, Wish::Score(10)));

    // the next life of the executor has it from the record, before the agent says anything
    machine.says("monitor", "");
    let next = machine.driver();
    assert_eq!(machine.act(&next, Operation::Probe).await, (Outcome::Ok, Wish::Score(10)));
    machine.says("monitor", "crm_master -D");
    assert_eq!(machine.act(&next, Operation::Monitor).await, (Outcome::Ok, Wish::None));
    machine.says("monitor", "crm_master -v 3");
    assert_eq!(machine.act(&next, Operation::Monitor).await, (Outcome::Ok, Wish::Score(3)));
    machine.says("stop", "crm_master -v 100");
    assert_eq!(machine.act(&next, Operation::Stop).await, (Outcome::Ok, Wish::None));
    assert!(!machine.folder.join("records/db").exists());
    assert_eq!(
        machine.text("done"),
        "monitor 0\nstart 0\nmonitor 17000\nmonitor 17000\nmonitor 0\nmonitor 17000\nmonitor 17000\nstop 0\n",
        "a probe has no interval, a check its own"
    );
    let left: Vec<_> = fs::read_dir(machine.folder.join("tools")).expect("read").collect();
    assert_eq!(left.len(), 1, "no socket outlives its call: {left:?}");
}

#[tokio::test]
async fn nobody_speaks_for_another_instance_another_machine_or_after_its_call() {
    let fake = Fake::new(TALKING);
    let machine = Machine::fake(&fake);
    let driver = machine.driver();
    machine.says(
        "start",
        "crm_master -v 5 -N ctl-2 2>$OCF_ROOT/told; echo $? >> $OCF_ROOT/told
         crm_attribute -p web -v 5 2>>$OCF_ROOT/told; echo $? >> $OCF_ROOT/told
         crm_mon -1X 2>>$OCF_ROOT/told; echo $? >> $OCF_ROOT/told
         env > $OCF_ROOT/env",
    );
    assert_eq!(machine.act(&driver, Operation::Start).await, (Outcome::Ok, Wish::None));
    assert_eq!(
        machine.text("told"),
        "crm_master: an agent may only speak of the machine that it runs on, not of ctl-2\n69\n\
         crm_attribute: an agent may only speak of its own instance db, not of web\n69\n\
         crm_mon: crm_mon is not heard by Palisade: docs/ocf.md lists what is\n69\n"
    );
    let env = machine.text("env");
    let socket = env.lines().find_map(|line| line.strip_prefix("PALISADE_OCF_CALL="));
    let socket = socket.expect("its call has one");
    let late = |socket: Option<&str>| {
        let mut tool = std::process::Command::new(machine.folder.join("tools/bin/crm_master"));
        tool.args(["-v", "9"]).env_remove("PALISADE_OCF_CALL");
        if let Some(socket) = socket {
            tool.env("PALISADE_OCF_CALL", socket);
        }
        tool.output().expect("it runs")
    };
    for (socket, words) in
        [(Some(socket), "not heard"), (None, "only agents that Palisade has called")]
    {
        let output = late(socket);
        assert_eq!(output.status.code(), Some(69));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(machine.act(&driver, Operation::Monitor).await, (Outcome::Ok, Wish::None));
}

#[tokio::test]
async fn one_that_is_broken_off_has_said_nothing() {
    let fake = Fake::new(TALKING);
    let machine = Machine::fake(&fake);
    let driver = machine.driver();
    machine.says("start", "crm_master -v 5");
    assert_eq!(machine.act(&driver, Operation::Start).await, (Outcome::Ok, Wish::Score(5)));
    machine.says("monitor", "crm_master -v 50; sleep 100");
    let call = driver.within(Duration::from_millis(500), None);
    let instance =
        crate::resource::Instance { resource: &resource(), kind: &machine.kind, lifetime: None };
    use crate::resource::ResourceDriver as _;
    assert_eq!(call.monitor(instance).await, Outcome::TimedOut);
    assert_eq!(call.wish(instance).await, Wish::Score(5));
}

#[tokio::test]
#[ignore = "needs pacemaker-resource-agents; cargo test -p drivers ocf::tests::promotion -- --ignored"]
async fn debians_stateful_says_its_scores() {
    let folder = tempfile::tempdir().expect("folder");
    let state = folder.path().join("state");
    let name: AgentName = "pacemaker/Stateful".parse().expect("valid");
    let parameters = [("state", state.to_str().expect("UTF-8"))];
    let machine = Machine::new(folder.path().to_owned(), ROOT.into(), &name, &parameters);
    let driver = machine.driver();
    for (operation, outcome, wish) in [
        (Operation::Probe, Outcome::NotRunning, Wish::None),
        (Operation::Start, Outcome::Ok, Wish::Score(5)),
        (Operation::Monitor, Outcome::Ok, Wish::Score(5)),
        (Operation::Promote, Outcome::Ok, Wish::Score(10)),
        (Operation::Monitor, Outcome::RunningPromoted, Wish::Score(10)),
        (Operation::Demote, Outcome::Ok, Wish::Score(5)),
        (Operation::Stop, Outcome::Ok, Wish::None),
        (Operation::Probe, Outcome::NotRunning, Wish::None),
    ] {
        assert_eq!(machine.act(&driver, operation).await, (outcome, wish), "{operation:?}");
    }
}
