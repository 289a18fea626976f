//! Suspended is suspended (CLUSTER.md section 5): from the answer to whoever asked until an era in which all voters have
//! reported, or until a person ends it, no address expires, nothing is started or promoted, and no power command leaves
//! any machine.

use std::collections::{BTreeMap, BTreeSet};

use base::{NodeId, RingId};
use fencing::DeviceAction;
use lifecycle::Operation;

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

/// Eras whose reports are remembered.
const ERAS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Suspend {
    /// Newest ring that was installed anywhere when it was answered.
    since: Option<RingId>,
    newest: Option<RingId>,
    reported: BTreeMap<RingId, BTreeSet<NodeId>>,
}

impl Check for Suspend {
    const ID: &'static str = "suspend";

    //= CLUSTER.md#5
    fn observe(&mut self, _: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Installed { ring, .. } => self.newest = self.newest.max(Some(*ring)),
            Fact::AllSuspended => self.since = self.newest,
            Fact::Resumed => self.since = None,
            Fact::Reported { node, epoch, .. } => {
                let era = self.reported.entry(epoch.ring).or_default();
                era.insert(*node);
                let later = self.since.is_some_and(|since| since < epoch.ring);
                if later && truth.setup.voters.iter().all(|voter| era.contains(voter)) {
                    self.since = None;
                }
                while self.reported.len() > ERAS_MAX {
                    self.reported.pop_first();
                }
            }
            _ => {}
        }
        if self.since.is_none() {
            return Ok(());
        }
        match fact {
            Fact::Drops { node, resource, why: "expired" } => {
                Err(format!("{resource} has expired on {node} while all are suspended"))
            }
            Fact::Began {
                node,
                resource,
                operation: Operation::Start | Operation::Promote,
                ..
            } => Err(format!("{resource} is started on {node} while all are suspended")),
            Fact::FenceSent { by, target, action, .. } if *action != DeviceAction::Read => {
                Err(format!("{by} sends {action:?} to {target} while all are suspended"))
            }
            _ => Ok(()),
        }
    }
}
