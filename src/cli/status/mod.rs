//! `palisade status`: the cluster as the local agent sees it, or as the API shows it.
//!
//! Exit code 1 with the reason on standard error when this component has no quorum or no open era (SAFETY.md#S10): a
//! script that asks is never told that all is well when nothing may start.

mod fold;
mod mirrored;
mod reach;
mod view;
mod watch;

use std::{
    fmt::{self, Display, Write as _},
    io::{IsTerminal as _, Write as _},
};

use agent::status::{IncidentStatus, NodeStatus, ResourceStatus, Status};
use anyhow::bail;
use clap::ValueEnum;

use self::reach::Source;
pub(crate) use self::{
    reach::{Reach, list as objects_of},
    view::{Tone, View},
};
use crate::local::Socket;

/// Options of `palisade status`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Draw it anew as it changes, with what happened last, until Ctrl-C.
    #[arg(long, conflicts_with = "output")]
    watch: bool,
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    reach: Reach,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For programs; fields are added, never renamed.
    Json,
    /// For people.
    Text,
}

/// Incidents that people are shown.
const INCIDENTS_SHOWN: usize = 5;

/// `plugin`: called as kubectl's.
pub(crate) fn run(args: &Args, plugin: bool) -> anyhow::Result<()> {
    let source = Source::choose(&args.socket, &args.reach, plugin);
    if args.watch {
        return watch::run(&source);
    }
    let status = source.status()?;
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => {
            serde_json::to_writer(&mut out, &status)?;
            writeln!(out)?;
        }
        // A program that reads lines gets whole ones.
        Output::Text if out.is_terminal() => {
            write!(out, "{}", fold::fold(&Text(&status).to_string()))?;
        }
        Output::Text => write!(out, "{}", Text(&status))?,
    }
    out.flush()?;
    match trouble(&status) {
        Some(reason) => bail!("{reason}"),
        None => Ok(()),
    }
}

/// Why nothing may start here now.
fn trouble(status: &Status) -> Option<String> {
    if status.ring.state == "waiting" {
        let why = status.conditions.first().map_or("", |c| c.message.as_str());
        return Some(format!("this member has not started yet: {why}"));
    }
    if !status.quorate {
        return Some("this component has no quorum: nothing starts here".into());
    }
    let open = status.era.as_ref().is_some_and(|era| era.open);
    (!open).then(|| "the era of this ring is not open yet: nothing starts here".into())
}

struct Text<'a>(&'a Status);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        write!(f, "Cluster {} as {} sees it at {}", s.cluster, s.node, clock_time(s.at_ms))?;
        match s.version.as_str() {
            "" => writeln!(f)?,
            version => writeln!(f, " (agent {version})")?,
        }
        let quorum = if s.quorate { "quorate" } else { "NO QUORUM" };
        let id = s.ring.id.as_deref().unwrap_or("none");
        writeln!(f, "  ring         {id} ({}), {quorum}: {}", s.ring.state, list(&s.ring.members))?;
        if let Some(era) = &s.era {
            let state = match (&era.waiting_for, era.open) {
                (_, true) => "open".into(),
                (Some(what), false) => format!("waiting for {what}"),
                (None, false) => "not open".to_owned(),
            };
            writeln!(f, "  era          {} {state}", era.id)?;
            if !era.unreported.is_empty() {
                writeln!(f, "  not reported {}", list(&era.unreported))?;
            }
        }
        writeln!(f, "  coordinator  {}", s.coordinator.as_deref().unwrap_or("none"))?;

        writeln!(f, "\nMachines:")?;
        for node in &s.nodes {
            write_node(f, node)?;
        }
        writeln!(f, "\nResources:")?;
        if s.resources.is_empty() {
            writeln!(f, "  none")?;
        }
        for resource in &s.resources {
            write_resource(f, resource)?;
        }
        if !s.debts.is_empty() {
            writeln!(f, "\nWho owes evidence (exclusive resources wait for it):")?;
            for debt in &s.debts {
                writeln!(f, "  {:14} incident {}: {}", debt.node, debt.incident, debt.reason)?;
                if !debt.blocks.is_empty() {
                    writeln!(f, "  {:14} blocks {}", "", list(&debt.blocks))?;
                }
            }
        }
        if !s.operations.is_empty() {
            writeln!(f, "\nFencing:")?;
            for operation in &s.operations {
                let by = operation.executor.as_deref().unwrap_or("nobody yet");
                writeln!(
                    f,
                    "  {:14} incident {}: {} (by {by}, {} tries)",
                    operation.node, operation.incident, operation.state, operation.attempts
                )?;
            }
        }
        if !s.conditions.is_empty() {
            writeln!(f, "\nConditions:")?;
            for condition in &s.conditions {
                writeln!(f, "  {} ({}): {}", condition.kind, condition.reason, condition.message)?;
            }
        }
        if !s.incidents.is_empty() {
            writeln!(f, "\nLast failures:")?;
            let skip = s.incidents.len().saturating_sub(INCIDENTS_SHOWN);
            for incident in &s.incidents[skip..] {
                write_incident(f, incident)?;
            }
        }
        Ok(())
    }
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &NodeStatus) -> fmt::Result {
    write!(f, "  {:14} {:4} {}", node.name, node.id, node.state.to_uppercase())?;
    match &node.reason {
        Some(reason) => writeln!(f, " ({reason})"),
        None => writeln!(f),
    }
}

fn write_resource(f: &mut fmt::Formatter<'_>, resource: &ResourceStatus) -> fmt::Result {
    let retained = if resource.retained { ", retained without an object" } else { "" };
    write!(f, "  {:24} {:10}", resource.id, resource.kind)?;
    let active: Vec<_> = resource.instances.iter().filter(|i| i.role != "Stopped").collect();
    if active.is_empty() {
        write!(f, " Stopped")?;
    }
    for instance in active {
        write!(f, " {} on {}", instance.role, instance.node)?;
        if instance.stop_failed {
            write!(f, " (a stop failed)")?;
        }
        if let Some(failed) = &instance.failed {
            write!(f, " ({failed})")?;
        }
    }
    writeln!(f, "{retained}")?;
    for instance in resource.instances.iter().filter(|i| i.failures > 0) {
        let why = instance.reason.iter().map(|why| format!(": {why}")).collect::<String>();
        writeln!(f, "  {:24} {} failures on {}{why}", "", instance.failures, instance.node)?;
    }
    match &resource.reason {
        Some(reason) => writeln!(f, "  {:24} {reason}", ""),
        None => Ok(()),
    }
}

fn write_incident(f: &mut impl fmt::Write, incident: &IncidentStatus) -> fmt::Result {
    let mut line = String::new();
    for (name, ms) in incident.phases_ms.parts() {
        if let Some(ms) = ms {
            write!(line, " {name} {ms}")?;
        }
    }
    let total = incident.phases_ms.total_ms();
    writeln!(
        f,
        "  {} {} incident {}:{line}; {total} ms",
        clock_time(incident.at_ms),
        incident.node,
        incident.incident
    )
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nobody".into() } else { names.join(", ") }
}

/// `HH:MM:SS.mmm` in UTC.
pub(crate) fn clock_time(at_ms: u64) -> String {
    let (seconds, ms) = (at_ms / 1000 % 86_400, at_ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
pub(crate) fn specimen() -> Status {
    use agent::status::{DebtStatus, EraStatus, InstanceStatus, RingStatus};

    Status {
        version: "0.1.0".into(),
        cluster: "openstack/main".into(),
        node: "ctl-2".into(),
        at_ms: 1_700_000_000_123,
        ring: RingStatus {
            state: "operational".into(),
            id: Some("2.2a".into()),
            members: vec!["ctl-2".into(), "ctl-3".into()],
            configurations: 4,
            dropped: 0,
        },
        quorate: true,
        era: Some(EraStatus {
            id: "2.2a".into(),
            sequence: 42,
            open: true,
            waiting_for: None,
            unreported: Vec::new(),
        }),
        coordinator: Some("ctl-2".into()),
        nodes: vec![
            NodeStatus {
                name: "ctl-1".into(),
                id: 1,
                state: "unclean".into(),
                reason: Some("owes evidence for incident 2.2a".into()),
                incarnation: None,
            },
            NodeStatus {
                name: "ctl-2".into(),
                id: 2,
                state: "online".into(),
                reason: None,
                incarnation: Some("7-0a0b0c0d".into()),
            },
        ],
        resources: vec![ResourceStatus {
            id: "vip-public".into(),
            kind: "Address".into(),
            instances: vec![InstanceStatus {
                node: "ctl-2".into(),
                role: "Started".into(),
                failures: 1,
                stop_failed: false,
                failed: None,
                reason: Some("start failed: port 80 is in use".into()),
            }],
            reason: None,
            retained: false,
        }],
        debts: vec![DebtStatus {
            node: "ctl-1".into(),
            incident: "2.2a".into(),
            reason: "its BMC does not answer: power it off by hand, then `palisade node confirm-off ctl-1`".into(),
            blocks: vec!["db".into()],
        }],
        operations: Vec::new(),
        conditions: Vec::new(),
        incidents: vec![IncidentStatus {
            node: "ctl-1".into(),
            incident: "2.2a".into(),
            at_ms: 1_700_000_000_000,
            phases_ms: agent::status::Phases {
                detect: Some(500),
                agree: Some(40),
                ..Default::default()
            },
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_is_the_matter() {
        let expected = "\
Cluster openstack/main as ctl-2 sees it at 22:13:20.123Z (agent 0.1.0)
  ring         2.2a (operational), quorate: ctl-2, ctl-3
  era          2.2a open
  coordinator  ctl-2

Machines:
  ctl-1             1 UNCLEAN (owes evidence for incident 2.2a)
  ctl-2             2 ONLINE

Resources:
  vip-public               Address    Started on ctl-2
                           1 failures on ctl-2: start failed: port 80 is in use

Who owes evidence (exclusive resources wait for it):
  ctl-1          incident 2.2a: its BMC does not answer: power it off by hand, then `palisade node confirm-off ctl-1`
                 blocks db

Last failures:
  22:13:20.000Z ctl-1 incident 2.2a: detect 500 agree 40; 540 ms
";
        assert_eq!(Text(&specimen()).to_string(), expected);
    }

    #[test]
    fn a_component_without_quorum_is_never_said_to_be_well() {
        assert_eq!(trouble(&specimen()), None);
        let mut inquorate = specimen();
        inquorate.quorate = false;
        assert!(trouble(&inquorate).is_some_and(|why| why.contains("no quorum")));
        let mut closed = specimen();
        closed.era = None;
        assert!(trouble(&closed).is_some_and(|why| why.contains("not open")));
    }
}
