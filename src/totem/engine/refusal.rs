//! Who forms a ring with this member and who does not, because the admission says so (CLUSTER.md section 6, Admission).
//!
//! A refusal is no fact about a link, and nobody is accused of it: the lists of a gathering stay as they are, and at
//! consensus each member computes out of the same standings who its company is. The others form rings of their own.
//! Rings that stand apart go on telling each other their standings, and come together when these have changed the answer.
//!
//! Invariants: equal standings give all members one partition into companies; an operational ring is not broken for a
//! node that the admission would not let in by what was said last.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use base::{Instant, Member, NodeId};

use super::{
    Digest, Phase, Ring,
    gather::Gather,
    shun::{Cause, LEVEL_ADMISSION},
};
use crate::{STANDING_BYTES_MAX, wire::Known};

/// The last word of a node outside counts for this many times `merge`, at which pace it is repeated.
const WORD_MERGES: u32 = 10;

/// What each has said of itself.
pub(super) type Standings = BTreeMap<NodeId, Arc<[u8]>>;

impl Ring {
    /// Those with whom this member may form a ring. Those that are refused may form one of their own, and so may the
    /// rest; if all are refused, each stays alone.
    pub(super) fn company(&self, standings: &Standings) -> BTreeSet<NodeId> {
        let me = self.me.node;
        let mut ours: BTreeMap<NodeId, Vec<u8>> =
            standings.iter().map(|(node, standing)| (*node, standing.to_vec())).collect();
        // each round takes somebody away
        while ours.len() > 1 {
            let mut refused = self.admission.refused(&ours);
            refused.retain(|node| ours.contains_key(node));
            if refused.is_empty() {
                break;
            }
            let all = refused.len() == ours.len();
            let i_am = refused.contains(&me);
            ours.retain(|node, _| *node == me || !all && refused.contains(node) == i_am);
        }
        ours.into_keys().collect()
    }

    /// The standings of all that are wanted in the ring and were heard in this gathering.
    pub(super) fn standings_in(&self, gather: &Gather) -> Standings {
        let heard = gather.live().filter_map(|entry| {
            let node = entry.member.node;
            Some((node, Arc::clone(self.standing_in(gather, node)?)))
        });
        heard.collect()
    }

    fn standing_in<'a>(&'a self, gather: &'a Gather, node: NodeId) -> Option<&'a Arc<[u8]>> {
        if node == self.me.node {
            return Some(&self.standing);
        }
        gather.heard.get(&node).map(|heard| &heard.join.standing)
    }

    /// Digest of the standings of those that are wanted in the ring, were heard and count.
    pub(super) fn view_of(&self, gather: &Gather, counts: impl Fn(&NodeId) -> bool) -> u64 {
        let mut digest = Digest::new();
        for entry in gather.live().filter(|entry| counts(&entry.member.node)) {
            let Some(standing) = self.standing_in(gather, entry.member.node) else { continue };
            debug_assert!(standing.len() <= STANDING_BYTES_MAX);
            digest.add(&entry.member.node.as_u16().to_le_bytes());
            digest.add(&entry.member.incarnation.random.to_le_bytes());
            digest.add(&(standing.len() as u32).to_le_bytes());
            digest.add(standing);
        }
        digest.0
    }

    /// The ring is agreed upon: leaves those who are not of it alone from here on. What remains of the lists, for a
    /// formation that may fail.
    pub(super) fn part(&mut self) -> Vec<Known> {
        let Phase::Gather(gather) = &self.phase else { return Vec::new() };
        let judged = self.standings_in(gather);
        let ours = self.company(&judged);
        let kept = gather.known.values().filter(|e| e.failed || ours.contains(&e.member.node));
        let lists = kept.map(|e| Known { member: e.member, failed: e.failed }).collect();
        let judged = Arc::new(judged);
        for node in judged.keys().filter(|node| !ours.contains(node)) {
            self.stay_apart(*node, &judged);
        }
        lists
    }

    pub(super) fn stay_apart(&mut self, node: NodeId, judged: &Arc<Standings>) {
        self.shun(node, Cause::Apart(Arc::clone(judged)), LEVEL_ADMISSION);
    }

    /// A join or a merge detect says where its sender stands.
    pub(super) fn note_standing(&mut self, from: Member, standing: &Arc<[u8]>) {
        if let Some(life) = self.lives.get_mut(&from.node) {
            life.standing = Some((Arc::clone(standing), self.now));
        }
    }

    /// Whether this ring and `node` may come together, alone or with whoever else was heard outside of late: a refusal may
    /// lapse only where all come together. What the admission has decided is not asked again while nothing has changed.
    pub(super) fn door_is_open(&self, node: NodeId) -> bool {
        let Some(standing) = self.last_word(&node) else { return true };
        let mut ring = Standings::from([(self.me.node, Arc::clone(&self.standing))]);
        for member in self.order.iter().flat_map(|order| &order.members) {
            if let Some(life) = self.lives.get(&member.node)
                && life.incarnation == member.incarnation
                && let Some((standing, _)) = &life.standing
            {
                ring.insert(member.node, Arc::clone(standing));
            }
        }
        ring.insert(node, Arc::clone(standing));
        // who is left alone for its links, or because it does not answer, would not come
        let comes = |other: &NodeId| !self.is_shunned(*other) && !self.is_left_alone(*other);
        let outsiders = self.lives.keys().filter(|n| !ring.contains_key(n) && comes(n));
        let mut all = ring.clone();
        all.extend(outsiders.filter_map(|n| Some((*n, Arc::clone(self.last_word(n)?)))));
        let decided =
            self.shunned.get(&node).filter(|shun| self.now < shun.until).is_some_and(|shun| {
                match &shun.cause {
                    // who was not in that gathering and has said nothing since was no part of the answer, and would be
                    // none of the next one either: rings of one would be formed without end
                    Cause::Apart(judged) => all.iter().all(|(n, said)| {
                        judged.get(n) == Some(said)
                            || !ring.contains_key(n) && !self.spoke(n, shun.since)
                    }),
                    _ => false,
                }
            });
        !decided && (self.company(&ring).contains(&node) || self.company(&all).contains(&node))
    }

    /// Whether a node said where it stands after that instant.
    fn spoke(&self, node: &NodeId, since: Instant) -> bool {
        let standing = self.lives.get(node).and_then(|life| life.standing.as_ref());
        standing.is_some_and(|(_, at)| *at > since)
    }

    /// Where a node outside stood when it last said so, if that is not long ago.
    fn last_word(&self, node: &NodeId) -> Option<&Arc<[u8]>> {
        let (standing, at) = self.lives.get(node)?.standing.as_ref()?;
        (self.now.since(*at) <= self.config.merge * WORD_MERGES).then_some(standing)
    }
}
