//! Who is kept out, or left alone, for a while (TOTEM.md section 19.3): each time longer than the last, so that a
//! cut between two members or a member that is refused does not break the ring of the others again and again.

use alloc::{collections::BTreeSet, sync::Arc};
use core::time::Duration;

use base::{Instant, Member, NodeId};

use super::{Ring, mend::FREE_RELAPSES, refusal::Standings};
use crate::{Config, wire::Join};

/// First back-off is `backoff_min / 8`; each step doubles it.
pub(super) const LEVEL_ADMISSION: u8 = 3;
/// Who lost a conflict stays out for `8 x backoff_min` (16 s) at first: if the cut is mended, the member that could
/// not reach it hears it and says so, which ends the time at once.
pub(super) const LEVEL_CONFLICT: u8 = 6;
/// Greatest for a member that is left alone: `4 x backoff_min` (8 s).
const LEVEL_ALONE: u8 = 5;
/// Keeps shifts in range.
const LEVEL_MAX: u8 = 16;

/// Why a node is kept out, or left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The admission has decided on these standings that it and this member form no ring.
    Apart(Arc<Standings>),
    /// These members cannot reach it.
    Conflict(BTreeSet<NodeId>),
    /// It has given this member up.
    GivenUpBy,
    /// It was silent for too long while it was in the ring.
    Lost,
    /// It has a ring and does not answer the joins of this member.
    Silent,
}

/// A node that is kept out, or left alone, for a while.
#[derive(Clone, Debug)]
pub(super) struct Shun {
    pub(super) since: Instant,
    pub(super) until: Instant,
    level: u8,
    pub(super) cause: Cause,
    /// Times that it failed again after it had been let in.
    pub(super) relapses: u8,
    /// When it last did; it may have been shunned anew since without having been let in.
    pub(super) relapsed_at: Instant,
    /// It has been let in, or would have been, since.
    pub(super) let_in: bool,
    /// Its time was ended, for its cause was gone.
    pub(super) forgiven: bool,
}

impl Shun {
    /// It is a matter of links, not of admission.
    pub(super) const fn is_broken(&self) -> bool {
        matches!(self.cause, Cause::Conflict(_) | Cause::GivenUpBy | Cause::Lost)
    }

    /// Who gave this member up a moment ago, was told the same, and has asked for it since: that it gives it up once more
    /// is its answer to what it was told. Answered by yet another one, two members out of step would ask and refuse each
    /// other without end, with a ring of one in between each time.
    pub(super) fn is_echo(&self, now: Instant, config: &Config) -> bool {
        self.cause == Cause::GivenUpBy && self.forgiven && now.since(self.since) < config.consensus
    }
}

impl Ring {
    /// Who is in the ring was admitted.
    pub(super) fn admitted(&mut self, members: &[Member]) {
        self.shunned
            .retain(|node, shun| shun.is_broken() || !members.iter().any(|m| m.node == *node));
        for member in members {
            if let Some(shun) = self.shunned.get_mut(&member.node) {
                shun.let_in = true;
            }
        }
    }

    pub(super) fn shun(&mut self, node: NodeId, cause: Cause, least: u8) {
        let before = self.shunned.get(&node);
        let forgotten = before.is_none_or(|b| self.now.since(b.until) > self.config.backoff_max);
        let before = before.filter(|_| !forgotten);
        let level = before.map_or(0, |before| before.level + 1);
        // what one upset brings about in a row is one relapse
        let again = |b: &Shun| b.let_in && self.now.since(b.since) >= self.config.consensus;
        let (relapses, relapsed_at) = match before {
            Some(b) if again(b) => (b.relapses.saturating_add(1), self.now),
            Some(b) => (b.relapses, b.relapsed_at),
            None => (0, self.now),
        };
        // trying again costs only this member where it is alone: it goes on at an even pace
        let alone = match cause {
            Cause::Apart(_) | Cause::Lost | Cause::Silent => true,
            Cause::Conflict(_) => false,
            Cause::GivenUpBy => least < LEVEL_CONFLICT,
        };
        let level = level.clamp(least, if alone { LEVEL_ALONE } else { LEVEL_MAX });
        let time = (self.config.backoff_min / 8) * (1_u32 << level);
        let time: Duration = time.min(self.config.backoff_max);
        // a ring looks for whom it has lost, unless that has happened too often
        let time = if cause == Cause::Lost { Duration::ZERO } else { time };
        tracing::info!(
            member_id = node.as_u16(),
            ?cause,
            ?time,
            "kept out of the ring for a while"
        );
        let (since, until) = (self.now, self.now + time);
        let (let_in, forgiven) = (false, false);
        let shun = Shun { since, until, level, cause, relapses, relapsed_at, let_in, forgiven };
        self.shunned.insert(node, shun);
    }

    /// Ends the time of those whose cause is gone.
    pub(super) fn end_shuns(&mut self, from: Member, join: &Join) {
        let now = self.now;
        // whoever had given this member up wants it again
        let wants_me = join.known.iter().any(|k| k.member == self.me && !k.failed);
        let said = self.lives.get(&from.node).and_then(|life| life.standing.as_ref());
        let stands_otherwise = said.is_none_or(|(standing, _)| *standing != join.standing);
        for (node, shun) in &mut self.shunned {
            let over = match &shun.cause {
                Cause::Apart(_) | Cause::Lost => false,
                // a member that could not reach it hears it by now; what that is worth is seen soon
                Cause::Conflict(against) => {
                    shun.relapses < FREE_RELAPSES
                        && against.contains(&from.node)
                        && join.known.iter().any(|k| k.member.node == *node && !k.failed)
                }
                Cause::GivenUpBy => *node == from.node && wants_me,
                Cause::Silent => *node == from.node && (wants_me || stands_otherwise),
            };
            if over {
                shun.until = now;
                shun.let_in = true;
                shun.forgiven = true;
            }
        }
    }
}
