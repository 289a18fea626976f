//! What lets a debt be paid, and what is a fact (CLUSTER.md sections 2 and 6).
//!
//! Invariants: evidence names (node, incident), a clean leave (node, incarnation); anything else is ignored. A clean stop
//! is no evidence: a start that the vanished member carried out last may be unknown to all others.

use alloc::string::String;

use base::{BootId, Incarnation, NodeId};
use fencing::Incident;
use serde::{Deserialize, Serialize};

use crate::state::{Debt, State};

/// Something that pays a debt once it is durable on a majority of the voters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) node: NodeId,
    pub(crate) kind: Kind,
}

/// The kinds of CLUSTER.md section 6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The last message of that incarnation.
    CleanLeave { incarnation: Incarnation },
    /// Read as off in a session opened after the command was answered and closed. `commanded` is false if it was off
    /// already: such a machine is not powered on by us.
    VerifiedOff { incident: Incident, commanded: bool },
    /// The machine runs with another boot id than the newest promise names.
    ChangedBoot { incident: Incident, boot: BootId },
    /// T_assume has passed and the watchdog was proven armed.
    SelfFencingBound { incident: Incident },
    /// A person, once.
    Confirmation { incident: Incident, who: String },
}

/// A fact is kept by whoever received it and proposed again (CLUSTER.md section 2). Nothing else is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Fact {
    /// A member left for good.
    Left { node: NodeId, incarnation: Incarnation },
    /// A power state was read as off.
    Off { incident: Incident, commanded: bool },
}

impl Fact {
    pub(crate) const fn node(&self) -> NodeId {
        match self {
            Self::Left { node, .. } => *node,
            Self::Off { incident, .. } => incident.node,
        }
    }

    /// The evidence to propose for it.
    pub(crate) const fn evidence(&self) -> Evidence {
        let kind = match *self {
            Self::Left { incarnation, .. } => Kind::CleanLeave { incarnation },
            Self::Off { incident, commanded } => Kind::VerifiedOff { incident, commanded },
        };
        Evidence { node: self.node(), kind }
    }
}

impl Kind {
    /// Short name for records and metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::CleanLeave { .. } => "CleanLeave",
            Self::VerifiedOff { .. } => "VerifiedOff",
            Self::ChangedBoot { .. } => "ChangedBootId",
            Self::SelfFencingBound { .. } => "SelfFencingBound",
            Self::Confirmation { .. } => "Confirmation",
        }
    }
}

impl State {
    /// Whether the evidence names the open debt of its node.
    pub(crate) fn matches_debt(&self, evidence: &Evidence) -> bool {
        let Some(voter) = self.voters.get(&evidence.node) else { return false };
        let Debt::Owed { incident, incarnation, boot } = voter.debt else { return false };
        let same = |i: &Incident| i.node == evidence.node && i.ring == incident;
        match &evidence.kind {
            Kind::CleanLeave { incarnation: left } => incarnation == Some(*left),
            Kind::ChangedBoot { incident, boot: now } => {
                same(incident) && boot.is_some_and(|boot| boot != *now)
            }
            Kind::SelfFencingBound { incident } => {
                same(incident) && voter.watchdog.is_some() && self.self_fencing_counts()
            }
            Kind::VerifiedOff { incident, .. } | Kind::Confirmation { incident, .. } => {
                same(incident)
            }
        }
    }
}
