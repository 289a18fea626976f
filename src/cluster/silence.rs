//! Silence is not death (CLUSTER.md section 5): how long the shooting of a silent member waits.
//!
//! Invariants: only the shooting waits, never membership or quorum; every wait is bounded; a debt ends by evidence or by an
//! era that contains the member, within a grace or not.

use alloc::collections::BTreeMap;
use core::time::Duration;

use base::{Instant, NodeId};
use policy::revision::Timings;

use crate::{
    Verdict,
    faulty::{Rule, broken},
};

/// An unanswered probe stops counting: three tries of 100 ms on all links, and as much again for a loaded machine.
const PROBE_BOUND: Duration = Duration::from_millis(600);
/// Nodes that are remembered.
const SILENT_MAX: usize = 64;

/// What is known of members that are not heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Silence {
    silent: BTreeMap<NodeId, Lost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lost {
    since: Instant,
    verdict: Option<Verdict>,
}

impl Silence {
    /// The member is not heard. Says whether a probe is to be sent.
    pub(crate) fn lost(&mut self, now: Instant, node: NodeId) -> bool {
        if self.silent.contains_key(&node) || self.silent.len() >= SILENT_MAX {
            return false;
        }
        self.silent.insert(node, Lost { since: now, verdict: None });
        true
    }

    pub(crate) fn probed(&mut self, node: NodeId, verdict: Verdict) {
        if let Some(lost) = self.silent.get_mut(&node) {
            lost.verdict = Some(verdict);
        }
    }

    /// Forgets those that are heard again.
    pub(crate) fn heard(&mut self, members: &[NodeId]) {
        self.silent.retain(|node, _| !members.contains(node));
    }

    /// Since when it is silent.
    pub(crate) fn since(&self, node: NodeId) -> Option<Instant> {
        self.silent.get(&node).map(|l| l.since)
    }

    /// When it may be fenced. `None`: it was never lost by this member.
    pub(crate) fn fence_at(
        &self,
        node: NodeId,
        detached: Option<Duration>,
        timings: &Timings,
    ) -> Option<Instant> {
        let lost = self.silent.get(&node)?;
        if broken(Rule::SilenceIsDeath) {
            return Some(lost.since);
        }
        if let Some(detached) = detached {
            return Some(lost.since + detached);
        }
        Some(match lost.verdict {
            Some(Verdict::Silent) => lost.since,
            Some(Verdict::PortClosed) => lost.since + timings.agent_restart_grace,
            Some(Verdict::PortOpen) => lost.since + timings.stall_tolerance,
            None => lost.since + PROBE_BOUND,
        })
    }
}
