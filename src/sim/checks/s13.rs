//! S13: extended virtual synchrony. Members that go together from one configuration to the next deliver the same
//! messages in between, in the same order; all members of a configuration agree on the order; what was delivered as
//! safe before the transitional configuration is delivered by every member that goes on.

use std::collections::BTreeMap;

use base::{ConfigurationKind, Guarantee, NodeId, RingId};

use super::Check;
use crate::{
    fact::{Fact, Part},
    queue::Time,
    truth::Truth,
};

/// Rings that are remembered; older ones cannot be installed any more.
const RINGS_MAX: usize = 48;

/// What one member has delivered in the ring that it has installed.
#[derive(Clone, Debug, Default)]
struct Open {
    ring: Option<RingId>,
    /// Messages, and where the transitional configuration came.
    log: Vec<u64>,
    transitional_at: Option<usize>,
}

/// What is known of one ring.
#[derive(Debug, Default)]
struct Ring {
    /// The order, as far as anybody delivered it before a transitional configuration.
    order: Vec<u64>,
    /// How much of it was delivered as safe by somebody, and by whom first.
    safe: Option<(usize, NodeId)>,
    /// Logs of members that went on, by the ring that they went to.
    closed: BTreeMap<RingId, (NodeId, Vec<u64>, Option<usize>)>,
    /// The shortest log of a member that went on.
    shortest: Option<(usize, NodeId)>,
}

#[derive(Debug, Default)]
pub(super) struct S13 {
    open: BTreeMap<NodeId, Open>,
    rings: BTreeMap<RingId, Ring>,
}

impl Check for S13 {
    const ID: &'static str = "S13";

    //= SAFETY.md#S13
    fn observe(&mut self, _at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Ends { node, part: Part::Ring } | Fact::PowerOff { node, .. } => {
                self.open.remove(node);
                Ok(())
            }
            Fact::Installed { node, kind: ConfigurationKind::Transitional, .. } => {
                let open = self.open.entry(*node).or_default();
                if open.transitional_at.replace(open.log.len()).is_some() {
                    return Err(format!("{node} delivers two transitional configurations"));
                }
                Ok(())
            }
            Fact::Installed { node, kind: ConfigurationKind::Regular, ring, .. } => {
                self.install(*node, *ring)
            }
            Fact::Delivered { node, sender, guarantee, digest } => {
                // two senders may say the same words
                let message = digest ^ (u64::from(sender.as_u16()) << 48);
                self.deliver(*node, message, *guarantee)
            }
            _ => Ok(()),
        }
    }
}

impl S13 {
    fn deliver(&mut self, node: NodeId, message: u64, kind: Guarantee) -> Result<(), String> {
        let open = self.open.entry(node).or_default();
        let Some(id) = open.ring else {
            return Err(format!("{node} delivers a message before any configuration"));
        };
        let at = open.log.len();
        open.log.push(message);
        if open.transitional_at.is_some() {
            return Ok(());
        }
        let ring = self.rings.entry(id).or_default();
        match ring.order.get(at) {
            None => ring.order.push(message),
            Some(known) if *known == message => {}
            Some(_) => return Err(format!("{node} delivers another message {at} of {id}")),
        }
        if kind == Guarantee::Safe {
            let count = at + 1;
            if ring.safe.is_none_or(|(known, _)| known < count) {
                ring.safe = Some((count, node));
            }
            if let Some((length, other)) = ring.shortest.filter(|(length, _)| *length < count) {
                return Err(format!(
                    "{node} delivers message {count} of {id} as safe, {other} went on with {length}"
                ));
            }
        }
        Ok(())
    }

    fn install(&mut self, node: NodeId, next: RingId) -> Result<(), String> {
        let fresh = Open { ring: Some(next), ..Open::default() };
        let old = self.open.insert(node, fresh).unwrap_or_default();
        self.rings.entry(next).or_default();
        while self.rings.len() > RINGS_MAX {
            self.rings.pop_first();
        }
        let Some(id) = old.ring else { return Ok(()) };
        let Some(ring) = self.rings.get_mut(&id) else { return Ok(()) };
        // messages of the order come first; those of the transitional configuration may leave gaps
        let length = old.log.len();
        if let Some((count, by)) = ring.safe
            && (length < count || ring.order[..count] != old.log[..count])
        {
            return Err(format!(
                "{node} leaves {id} without message {count}, which {by} delivered as safe"
            ));
        }
        if ring.shortest.is_none_or(|(known, _)| length < known) {
            ring.shortest = Some((length, node));
        }
        let (other, log, at) =
            ring.closed.entry(next).or_insert_with(|| (node, old.log.clone(), old.transitional_at));
        if *log != old.log || *at != old.transitional_at {
            return Err(format!(
                "{node} and {other} go from {id} to {next}: {} and {} messages, transitional at {:?} and {at:?}",
                old.log.len(),
                log.len(),
                old.transitional_at,
            ));
        }
        Ok(())
    }
}
