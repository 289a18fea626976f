//! The revision in the words of executors and fencers: devices and times.
//!
//! Invariants: sums stay at the largest duration, because a revision and a watchdog's time come over the wire
//! (SAFETY.md#S29); a device is used for the targets that it names and no others (SAFETY.md#S8); a bound is computed from
//! configured maxima, never from adapted timers (CLUSTER.md section 5).

use alloc::vec::Vec;
use core::time::Duration;

use base::{FenceDevice, NodeId};
use lifecycle::{NoQuorumPolicy, Settings};
use policy::revision::{self as rev, Revision, Timings};

use crate::{member::Member, state::State};

/// Stop of the slowest exclusive resource where none is configured.
const STOP_DEFAULT: Duration = Duration::from_secs(20);
/// Joining, reading clocks, waking up: added to bounds that must hold.
const MARGIN: Duration = Duration::from_secs(2);

/// How long after its bound an answer of an executor or fencer may still arrive over the ring.
pub(crate) const ANSWER_MARGIN: Duration = Duration::from_secs(5);
/// A node whose join was heard within this time is not off (SAFETY.md#S33).
pub(crate) const HEARD_FOR: Duration = Duration::from_secs(10);

/// Levels of power devices of a node, in the order in which they are tried. A device of one machine is enrolled by what
/// the object says, else by what the cluster object pins, else by what the machine itself reported when it was a member.
pub(crate) fn levels(state: &State, revision: &Revision, node: NodeId) -> Vec<Vec<FenceDevice>> {
    fencing::levels(devices(state, revision), node)
}

/// Every device, enrolled as far as it can be.
fn devices(state: &State, revision: &Revision) -> impl Iterator<Item = FenceDevice> {
    revision.devices.iter().map(|d| {
        let mut device = d.device.clone();
        if let [node] = device.targets[..] {
            let pinned = revision.voter(node).and_then(|v| v.system_uuid);
            let reported = state.voters.get(&node).and_then(|v| v.uuid);
            device.identity = device.identity.or(pinned).or(reported);
        }
        device
    })
}

impl Member {
    /// The devices of the accepted revision as they would be used: so a fencer looks at them before it has to. Without a
    /// state nobody is enrolled, and nobody is fenced.
    pub fn devices(&self) -> Vec<FenceDevice> {
        self.state.as_ref().map(|s| devices(s, self.revision()).collect()).unwrap_or_default()
    }
}

/// How long a command with the devices of one level may take, delays included.
pub(crate) fn command_deadline(revision: &Revision, level: &[FenceDevice]) -> Duration {
    level
        .iter()
        .filter_map(|d| revision.devices.iter().find(|r| r.device.name == d.name))
        .map(|d| d.device.delay.saturating_add(d.timeout))
        .fold(Duration::ZERO, Duration::saturating_add)
        .max(Duration::from_secs(1))
}

/// From silence to a new membership (SAFETY.md, *Times*).
pub(crate) fn t_mem(timings: &Timings) -> Duration {
    let agreed = timings.consensus.max(timings.token.saturating_mul(6) / 5);
    agreed.saturating_add(timings.token).saturating_add(Duration::from_millis(500))
}

/// The longest stop of what runs on a member.
pub(crate) fn t_stop(revision: &Revision) -> Duration {
    revision.primitives().map(|(_, p)| p.timeouts.stop).max().unwrap_or(STOP_DEFAULT)
}

/// T_assume: after that long a machine with an armed watchdog has released everything or is down. Membership, the grace
/// of its executor, the coordinator's time to stop and its own, the watchdog, and a margin.
pub(crate) fn t_assume(revision: &Revision, watchdog: Duration) -> Duration {
    let timings = &revision.timings;
    let stops = t_stop(revision).saturating_mul(2);
    let terms = [timings.agent_restart_grace, stops, watchdog, MARGIN];
    terms.into_iter().fold(t_mem(timings), Duration::saturating_add)
}

/// The times that executors live by.
pub(crate) fn settings(revision: &Revision) -> Settings {
    Settings {
        token: revision.timings.token,
        agent_restart_grace: revision.timings.agent_restart_grace,
        t_mem: t_mem(&revision.timings),
        t_stop: t_stop(revision),
        no_quorum: match revision.no_quorum_policy {
            rev::NoQuorumPolicy::Freeze => NoQuorumPolicy::Freeze,
            // The others ask for more than stopping; stopping what is exclusive is the least of it, and safe.
            _ => NoQuorumPolicy::Stop,
        },
    }
}
