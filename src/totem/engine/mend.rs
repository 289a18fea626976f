//! Links that were broken and are seen whole again (TOTEM.md section 19.3, asymmetric connectivity).
//!
//! Whoever was given up, lost a conflict or did not answer is left alone for a time that doubles. While configured nodes
//! are missing, each member says every `merge` to whom it listens: whom it hears without a break. Two nodes that name each
//! other have a link that works both ways, and when all of two rings name each other, nothing is left of what kept them
//! apart: they come together at once, whatever time is left. Both sides hear the same words and come to the same answer.
//!
//! Invariant: one direction alone ends no time, and nobody is asked in while somebody of its or the own ring would not
//! listen. Who fails again after it was let in must be heard twice as long each time, from the third time on, and its time
//! does not end by itself: a link that comes and goes is left alone.

use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

use base::{Instant, Member, NodeId};

use super::{
    Ring,
    shun::{Cause, Shun},
};
use crate::{Config, wire::MergeDetect};

/// A gap of more than this many halves of `merge` is a break: one lost word is none.
const GAP_HALF_MERGES: u32 = 5;
/// Who is heard without a break for this many times `merge` is listened to.
const STEADY_MERGES: u32 = 2;
/// Times that somebody may fail again before it must be heard for longer.
pub(super) const FREE_RELAPSES: u8 = 2;
/// Keeps shifts in range; `backoff_max` bounds the time.
const RELAPSES_MAX: u8 = 12;

/// What a merge detect said.
#[derive(Debug)]
pub(super) struct Word {
    at: Instant,
    /// Members of its ring.
    with: Vec<NodeId>,
    hears: BTreeSet<NodeId>,
}

impl Ring {
    /// Silence that breaks a steady hearing.
    pub(super) fn gap(&self) -> Duration {
        self.config.merge * GAP_HALF_MERGES / 2
    }

    /// Whether it is heard for long enough to be listened to.
    fn hears(&self, node: NodeId) -> bool {
        let Some(life) = self.lives.get(&node) else { return false };
        let shun = self.shunned.get(&node).filter(|shun| shun.counts(self.now, &self.config));
        // a relapse begins the time anew; any other failure says nothing of the link: who is not let in is left out
        // again of each ring that is formed meanwhile
        let relapse =
            shun.filter(|shun| shun.relapses > FREE_RELAPSES).map(|shun| shun.relapsed_at);
        let since = relapse.map_or(life.steady_since, |since| since.max(life.steady_since));
        let pause = shun.map_or(Duration::ZERO, |shun| shun.pause(&self.config));
        self.now.since(life.heard_at) <= self.gap()
            && self.now.since(since) >= self.config.merge * STEADY_MERGES + pause
    }

    /// To whom this member listens.
    pub(super) fn heard_nodes(&self) -> Vec<NodeId> {
        self.config.nodes.iter().copied().filter(|node| self.hears(*node)).collect()
    }

    /// A ring says that it is there, and to whom this member of it listens.
    pub(super) fn note_word(&mut self, from: Member, detect: &MergeDetect) {
        let hears = detect.hears.iter().copied().collect();
        let word = Word { at: self.now, with: detect.members.clone(), hears };
        if let Some(life) = self.lives.get_mut(&from.node) {
            life.word = Some(word);
        }
    }

    fn word(&self, node: NodeId) -> Option<&Word> {
        let word = self.lives.get(&node)?.word.as_ref()?;
        (self.now.since(word.at) <= self.gap()).then_some(word)
    }

    fn listens(&self, node: NodeId, other: NodeId) -> bool {
        if node == self.me.node {
            // the others must know it as well: who is asked in before would not answer, and that would be a relapse
            return self.said.contains(&other) && self.hears(other);
        }
        self.word(node).is_some_and(|word| word.hears.contains(&other))
    }

    fn is_whole(&self, a: NodeId, b: NodeId) -> bool {
        a == b || self.listens(a, b) && self.listens(b, a)
    }

    /// Whether what it says is not heard. Whoever is refused is: a ring looks at the door whether anything has changed,
    /// and a gathering is open to all until its end; that costs nobody anything.
    pub(super) fn is_shunned(&self, node: NodeId) -> bool {
        let shun = self.shunned.get(&node);
        shun.is_some_and(|shun| shun.counts(self.now, &self.config)) && !self.hears(node)
    }

    /// It is let in before its time is over.
    pub(super) fn let_in(&mut self, node: NodeId) {
        if let Some(shun) = self.shunned.get_mut(&node) {
            shun.let_in |= shun.counts(self.now, &self.config);
        }
    }

    /// Whether this ring and its one stay apart although it says that it is there.
    pub(super) fn is_left_alone(&self, node: NodeId) -> bool {
        let with = self.word(node).map_or(&[][..], |word| &word.with);
        let theirs = || with.iter().copied().filter(|other| *other != node).chain([node]);
        let proof = |shun: &Shun| {
            shun.counts(self.now, &self.config) || shun.wants_proof(self.now, &self.config)
        };
        theirs().any(|other| self.shunned.get(&other).is_some_and(proof)) && {
            let mut ours = self.order.iter().flat_map(|order| &order.members).map(|m| m.node);
            !ours.all(|a| theirs().all(|b| self.is_whole(a, b)))
        }
    }
}

impl Shun {
    /// Whether its time is not over, or it was too often too early to end it by time.
    fn counts(&self, now: Instant, config: &Config) -> bool {
        let relapsed = self.relapses > FREE_RELAPSES && now.since(self.until) <= config.backoff_max;
        (now < self.until || relapsed) && !matches!(self.cause, Cause::Apart(_))
    }

    /// Whether its time is over, but it is to be asked in only when its links are seen whole.
    fn wants_proof(&self, now: Instant, config: &Config) -> bool {
        let late = now.since(self.until) > config.backoff_max;
        !late && !self.forgiven && !matches!(self.cause, Cause::Apart(_) | Cause::Lost)
    }

    /// How much longer it must be heard.
    fn pause(&self, config: &Config) -> Duration {
        let doubled = self.relapses.saturating_sub(FREE_RELAPSES).min(RELAPSES_MAX);
        (config.merge * STEADY_MERGES * ((1 << doubled) - 1)).min(config.backoff_max)
    }
}
