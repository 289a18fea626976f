//! One history (CLUSTER.md section 3.3): within an era positions are prefixes of one order, so members at the same place
//! hold the same hash. Anything else is two histories under one name.

use std::collections::BTreeMap;

use base::{NodeId, RingId};

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

/// Eras that are remembered.
const ERAS_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct History {
    /// Hash by place, and who was there first.
    eras: BTreeMap<RingId, BTreeMap<u64, (u128, NodeId)>>,
}

impl Check for History {
    const ID: &'static str = super::ONE_HISTORY;

    fn observe(&mut self, _at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        let Fact::Placed { node, era, index, hash } = fact else { return Ok(()) };
        let places = self.eras.entry(*era).or_default();
        let (known, first) = *places.entry(*index).or_insert((*hash, *node));
        if known != *hash {
            return Err(format!("{node} and {first} hold other things at place {index} of {era}"));
        }
        while self.eras.len() > ERAS_MAX {
            self.eras.pop_first();
        }
        Ok(())
    }
}
