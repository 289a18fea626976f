//! S14: an order is carried out at most once, and none after the configuration that it was given in is gone, as far as
//! the executor can have heard of that (CLUSTER.md section 8: it begins nothing on a token older than token/2).

use std::collections::BTreeSet;

use base::{NodeId, RingId};

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S14 {
    begun: BTreeSet<(RingId, u64, NodeId)>,
}

impl Check for S14 {
    const ID: &'static str = "S14";

    //= SAFETY.md#S14
    fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        let Fact::Began { node, resource, operation, order: Some((epoch, id)), .. } = fact else {
            return Ok(());
        };
        if !self.begun.insert((epoch.ring, id.0, *node)) {
            return Err(format!("{node} begins order {} of {} twice", id.0, epoch.ring));
        }
        match &truth.node(*node).ring {
            Some((ring, _, since)) if *ring != epoch.ring && at - since > truth.setup.fresh_us => {
                Err(format!(
                    "{operation:?} of {resource} begins on {node} for {}, its ring part is in {ring}",
                    epoch.ring
                ))
            }
            _ => Ok(()),
        }
    }
}
