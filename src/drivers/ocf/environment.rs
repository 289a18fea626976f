//! All that an agent gets to know: its environment is made, none of ours is inherited.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use base::{AgentName, ResourceId};
use lifecycle::Operation;

/// Where agents find the machine's tools.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Of a clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clone {
    /// Number of this instance.
    pub number: u32,
    /// Instances at most.
    pub max: u32,
    /// On one machine at most.
    pub node_max: u32,
    /// How many may be promoted; 0 where there is no such role.
    pub promoted_max: u32,
    /// Copies are not interchangeable.
    pub unique: bool,
}

/// Instances and the machines that they are on, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyLists {
    /// Instances.
    pub resources: Vec<String>,
    /// Machines.
    pub machines: Vec<String>,
}

/// What a promotable agent is told about its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// `pre` or `post`.
    pub when: String,
    /// `start`, `stop`, `promote`, `demote`.
    pub operation: String,
    /// By `start`, `stop`, `promote`, `demote`, `active`, `inactive`, `promoted`, `unpromoted`.
    pub lists: BTreeMap<&'static str, NotifyLists>,
}

/// What is known beside the parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// How long the operation may take.
    pub timeout: Duration,
    /// Between two monitors; zero for a probe.
    pub interval: Duration,
    /// Of a clone.
    pub clone: Option<Clone>,
    /// Of a clone that wants to know.
    pub notify: Option<Notify>,
    /// Name of this machine.
    pub node: Option<String>,
    /// How deeply a monitor looks (`OCF_CHECK_LEVEL`).
    pub check_level: u8,
    /// What stands in for Pacemaker's tools, and where they are heard.
    pub tools: Option<Heard>,
}

/// Where tools are, and the socket of this call; none: nobody hears them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// In front of PATH.
    pub bin: PathBuf,
    /// Of this call alone.
    pub socket: Option<PathBuf>,
}

/// The word on the agent's command line.
pub(super) const fn action(operation: Operation) -> &'static str {
    match operation {
        Operation::Probe | Operation::Monitor => "monitor",
        Operation::Start => "start",
        Operation::Stop => "stop",
        Operation::Promote => "promote",
        Operation::Demote => "demote",
    }
}

/// What `meta-data` gets.
pub(super) fn bare(root: &Path, agent: &AgentName) -> BTreeMap<String, String> {
    let pairs = [
        ("OCF_ROOT", root.display().to_string()),
        ("OCF_RA_VERSION_MAJOR", "1".into()),
        ("OCF_RA_VERSION_MINOR", "1".into()),
        // The standard's own name, and the one that agents older than 1.1 read.
        ("OCF_RESOURCE_PROVIDER", agent.provider().into()),
        ("OCF_RESOURCE_TYPE", agent.kind().into()),
        ("OCF_RESOURCE_INSTANCE", agent.kind().into()),
        ("OCF_EXIT_REASON_PREFIX", super::run::REASON.into()),
        ("PATH", PATH.into()),
        ("LC_ALL", "C".into()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The whole environment of one operation.
pub fn environment(
    root: &Path,
    agent: &AgentName,
    resource: &ResourceId,
    operation: Operation,
    parameters: &BTreeMap<String, String>,
    meta: &Meta,
) -> BTreeMap<String, String> {
    let mut all = bare(root, agent);
    all.insert("OCF_RESOURCE_INSTANCE".into(), resource.as_str().into());
    for (name, value) in parameters {
        // What would be no variable, or another one, is not passed: only checked names start anything.
        if super::name::plain(name) && !name.starts_with("CRM_meta_") && !value.contains('\0') {
            all.insert(format!("OCF_RESKEY_{name}"), value.clone());
        }
    }
    if let Some(tools) = &meta.tools {
        let bin = tools.bin.display();
        // agents call them by either
        all.insert("PATH".into(), format!("{bin}:{PATH}"));
        all.insert("HA_SBIN_DIR".into(), bin.to_string());
        if let Some(socket) = &tools.socket {
            all.insert(super::ear::VARIABLE.into(), socket.display().to_string());
        }
    }
    let mut tell = |name: &str, value: String| {
        all.insert(format!("OCF_RESKEY_CRM_meta_{name}"), value);
    };
    // Agents tell a probe from a recurring monitor by nothing else.
    let interval = match operation {
        Operation::Monitor => meta.interval.max(Duration::from_millis(1)),
        _ => Duration::ZERO,
    };
    tell("timeout", meta.timeout.as_millis().to_string());
    tell("interval", interval.as_millis().to_string());
    tell("name", action(operation).into());
    if let Some(node) = &meta.node {
        tell("on_node", node.clone());
    }
    if let Some(clone) = &meta.clone {
        tell("clone", clone.number.to_string());
        tell("clone_max", clone.max.to_string());
        tell("clone_node_max", clone.node_max.to_string());
        tell("globally_unique", clone.unique.to_string());
        tell("promotable", (clone.promoted_max > 0).to_string());
        tell("notify", meta.notify.is_some().to_string());
        if clone.promoted_max > 0 {
            for old_and_new in ["master", "promoted"] {
                tell(&format!("{old_and_new}_max"), clone.promoted_max.to_string());
                tell(&format!("{old_and_new}_node_max"), "1".into());
            }
        }
    }
    if let Some(notify) = &meta.notify {
        tell("notify_type", notify.when.clone());
        tell("notify_operation", notify.operation.clone());
        for (list, of) in &notify.lists {
            let names: &[&str] = match *list {
                "promoted" => &["promoted", "master"],
                "unpromoted" => &["unpromoted", "slave"],
                _ => &[list],
            };
            for name in names {
                tell(&format!("notify_{name}_resource"), of.resources.join(" "));
                tell(&format!("notify_{name}_uname"), of.machines.join(" "));
            }
        }
    }
    if matches!(operation, Operation::Probe | Operation::Monitor) {
        all.insert("OCF_CHECK_LEVEL".into(), meta.check_level.to_string());
    }
    all
}
