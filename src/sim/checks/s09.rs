//! S9: only the coordinator of the installed configuration orders; executors begin exactly what its epoch says, and
//! without quorum nothing but stops and demotions.

use std::collections::BTreeMap;

use base::{ConfigurationKind, Incarnation, RingId};

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S09 {
    coordinators: BTreeMap<RingId, Incarnation>,
    sizes: BTreeMap<RingId, usize>,
}

impl Check for S09 {
    const ID: &'static str = "S9";

    //= SAFETY.md#S9
    fn observe(&mut self, _at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Epoch { node, epoch, quorate: true } => {
                let coordinator = *self.coordinators.entry(epoch.ring).or_insert(epoch.coordinator);
                if coordinator != epoch.coordinator {
                    return Err(format!("{node} takes {epoch}, others {coordinator}"));
                }
                // an executor that lags behind may take an epoch that is over: it cannot act on it
                let count = self.sizes.get(&epoch.ring).copied().unwrap_or(0);
                if !truth.setup.is_majority(count) {
                    return Err(format!("{node} takes {epoch} as quorate with {count} members"));
                }
            }
            Fact::Installed { kind: ConfigurationKind::Regular, ring, members, .. } => {
                self.sizes.insert(*ring, members.len());
            }
            Fact::Began { node, resource, operation, order: Some((epoch, _)), .. } => {
                let installed = truth.node(*node).epoch;
                let Some((installed, quorate, _)) = installed else {
                    return Err(format!("{operation:?} of {resource} on {node} without an epoch"));
                };
                if installed != *epoch {
                    return Err(format!(
                        "{operation:?} of {resource} on {node} under {epoch}, installed is {installed}"
                    ));
                }
                if !quorate && !operation.is_release() {
                    return Err(format!("{operation:?} of {resource} on {node} without quorum"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
