//! S12: ring ids and incarnations never go backwards and are never used twice, over crashes, restarts and wiped disks.

use std::collections::{BTreeMap, BTreeSet};

use base::{ConfigurationKind, Incarnation, Member, NodeId, RingId};

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S12 {
    newest: BTreeMap<NodeId, RingId>,
    members: BTreeMap<RingId, Vec<Member>>,
    reserved: BTreeMap<NodeId, u64>,
    lives: BTreeSet<(NodeId, u64, u128)>,
}

impl Check for S12 {
    const ID: &'static str = "S12";

    //= SAFETY.md#S12
    fn observe(&mut self, _at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Life { node, incarnation: Incarnation { counter, random } } => {
                if !self.lives.insert((*node, *counter, *random)) {
                    return Err(format!("{node} lives twice under one incarnation"));
                }
                // what counts is what this life reads from its disk
                self.reserved.remove(node);
            }
            Fact::Reserved { node, up_to } => {
                // two writes may end in another order than they began; the newer one stays
                let reserved = self.reserved.entry(*node).or_default();
                *reserved = (*reserved).max(*up_to);
            }
            Fact::Installed { node, kind: ConfigurationKind::Regular, ring, members } => {
                if let Some(newest) = self.newest.insert(*node, *ring)
                    && newest >= *ring
                {
                    return Err(format!("{node} installs {ring} after {newest}"));
                }
                let known = self.members.entry(*ring).or_insert_with(|| members.clone());
                if known != members {
                    return Err(format!("{ring} names {known:?} and {members:?}"));
                }
                let reserved = self.reserved.get(&ring.rep).copied().unwrap_or(0);
                if ring.rep == *node && ring.seq > reserved {
                    return Err(format!("{node} uses {ring}, durable is {reserved}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
