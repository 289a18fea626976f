//! Nobody is promoted but by its own word of the same era: what a member said before, or what another one says of it, or of
//! what has left, is used for nothing. That one at most is promoted is S2's, and that nobody is while somebody owes is S3's:
//! the promoted role is a thing of its own for them.

use std::collections::BTreeSet;

use base::{NodeId, RingId};
use lifecycle::Operation;

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

/// Members and eras in which they said that they want to be promoted. A word that was taken back since does not count
/// here: the order may have been on its way.
#[derive(Debug, Default)]
pub(super) struct Promotion {
    wished: BTreeSet<(RingId, NodeId)>,
}

impl Check for Promotion {
    const ID: &'static str = "promotion";

    fn observe(&mut self, _at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Wished { node, ring, score: Some(1..) } => {
                self.wished.insert((*ring, *node));
            }
            Fact::Began {
                node, operation: Operation::Promote, order: Some((epoch, _)), ..
            } if !self.wished.contains(&(epoch.ring, *node)) => {
                return Err(format!(
                    "{node} is promoted in {} and did not say there that it wants to",
                    epoch.ring
                ));
            }
            _ => {}
        }
        Ok(())
    }
}
