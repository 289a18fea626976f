//! GATHER: agreement on who forms the next ring (TOTEM.md section 16.1, with sections 19.2 and 19.3).
//!
//! A member has reached consensus when everyone that it wants in the ring (known and not given up), in its present
//! life, has sent a join with the same lists and the same digest of all standings. The digest covers whoever was heard
//! directly, so consensus also says: each has heard each. What the admission is asked then is the same on all, and so
//! is the answer: whoever is refused stays in the lists and forms a ring apart (`refusal`).
//!
//! Invariants: within one gathering nobody that was given up comes back; one life per node is known; who is given up
//! was not heard, never refused; what others say against a member that this one hears is a conflict, settled by all
//! hubs alike, and not a fact.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use base::{Instant, Member, NodeId, RingId};

use super::{
    Phase, Ring,
    shun::{Cause, LEVEL_ADMISSION, LEVEL_CONFLICT},
};
use crate::{
    Output, RING_SEQ_MAX, StateEvent,
    wire::{CommitEntry, CommitToken, Join, Known},
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) member: Member,
    pub(super) failed: bool,
    /// Known in this gathering since.
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct Heard {
    pub(super) at: Instant,
    pub(super) join: Join,
}

/// One gathering.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) known: BTreeMap<NodeId, Entry>,
    pub(super) heard: BTreeMap<NodeId, Heard>,
    pub(super) started: Instant,
    pub(super) join_at: Instant,
    pub(super) consensus_at: Instant,
    /// Nobody is silent from before this instant: this process was not run, or has just begun to ask.
    pub(super) judge_from: Instant,
    pub(super) conflict_since: Option<Instant>,
    pub(super) sent: Option<Join>,
    /// The ring that broke, until its silent members were named.
    pub(super) broken: Option<RingId>,
    /// Highest ring sequence number of a commit token that was not taken here: its ring is not what this member has
    /// agreed to. Who sent it waits in COMMIT and hears only joins from after that attempt.
    pub(super) declined: u64,
}

impl Gather {
    pub(super) fn live(&self) -> impl Iterator<Item = &Entry> {
        self.known.values().filter(|entry| !entry.failed)
    }

    pub(super) fn is_live(&self, node: NodeId) -> bool {
        self.known.get(&node).is_some_and(|entry| !entry.failed)
    }

    pub(super) fn fail(&mut self, node: NodeId) {
        if let Some(entry) = self.known.get_mut(&node) {
            entry.failed = true;
        }
    }

    /// When silence of this member began.
    pub(super) fn silent_since(&self, entry: &Entry) -> Instant {
        let heard = self.heard.get(&entry.member.node).map_or(entry.since, |heard| heard.at);
        heard.max(entry.since).max(self.judge_from)
    }

    /// Whether `join` has the same lists: the same lives wanted, the same nodes given up.
    pub(super) fn same_lists(&self, join: &Join) -> bool {
        join.known.len() == self.known.len()
            && join.known.iter().zip(self.known.values()).all(|(theirs, ours)| {
                theirs.failed == ours.failed
                    && theirs.member.node == ours.member.node
                    && (ours.failed || theirs.member == ours.member)
            })
    }
}

impl Ring {
    /// A gathering that knows only this node.
    pub(super) fn begin_gather(&self) -> Gather {
        let now = self.now;
        let me = Entry { member: self.me, failed: false, since: now };
        Gather {
            known: BTreeMap::from([(self.me.node, me)]),
            heard: BTreeMap::new(),
            started: now,
            join_at: now + self.config.join,
            consensus_at: now + self.config.consensus,
            judge_from: now,
            conflict_since: None,
            sent: None,
            broken: None,
            declined: 0,
        }
    }

    /// Leaves the present state for GATHER. What was known of a formation that failed stays known.
    pub(super) fn enter_gather(&mut self, event: StateEvent) {
        self.moved(event);
        let mut gather = self.begin_gather();
        let operational = matches!(self.phase, Phase::Operational(_));
        let kept = match &mut self.phase {
            Phase::Commit(commit) => core::mem::take(&mut commit.lists),
            Phase::Recovery(recovery) => core::mem::take(&mut recovery.lists),
            _ => Vec::new(),
        };
        for Known { member, failed } in kept {
            let entry = Entry { member, failed, since: self.now };
            gather.known.entry(member.node).or_insert(entry);
        }
        if let (true, Some(order)) = (operational, &self.order) {
            gather.broken = Some(order.id);
            self.out.push_back(Output::RingBroken { ring: order.id });
            for member in &order.members {
                let entry = Entry { member: *member, failed: false, since: self.now };
                gather.known.entry(member.node).or_insert(entry);
            }
        }
        self.phase = Phase::Gather(gather);
    }

    /// Draws all conclusions from what is known, sends a join if something changed, and forms the ring at consensus.
    pub(super) fn gather_changed(&mut self) {
        // each round gives somebody up or is the last
        for _ in 0..=2 * crate::MEMBERS_MAX {
            if !matches!(self.phase, Phase::Gather(_)) {
                return;
            }
            if self.give_up_the_silent() || self.settle_conflicts() {
                continue;
            }
            if self.agreed() {
                self.announce();
                self.form();
                return;
            }
            break;
        }
        self.announce();
    }

    /// Section 19.2: once all others agree, who is silent is given up after several join intervals. And whom another
    /// gave up, and who is not heard here either, is given up at once.
    pub(super) fn give_up_the_silent(&mut self) -> bool {
        let (now, config) = (self.now, &self.config);
        let suspects = &self.suspects;
        let Phase::Gather(gather) = &mut self.phase else { return false };
        let mut gone = Vec::new();
        let mut waiting_for = 0;
        for entry in gather.live().filter(|entry| entry.member != self.me) {
            let node = entry.member.node;
            let silence = now.since(gather.silent_since(entry));
            let patience = if suspects.contains(&node) { config.join * 2 } else { config.give_up };
            let accused = silence >= config.join * 2
                && gather.heard.iter().any(|(accuser, heard)| {
                    gather.is_live(*accuser)
                        && heard.join.known.iter().any(|k| k.failed && k.member == entry.member)
                });
            if silence >= patience || accused {
                gone.push((node, accused));
            } else if gather.heard.get(&node).is_none_or(|heard| !gather.same_lists(&heard.join)) {
                waiting_for += 1;
            }
        }
        let all_others_agree = waiting_for == 0;
        gone.retain(|(_, accused)| *accused || all_others_agree);
        for (node, _) in &gone {
            gather.fail(*node);
        }
        if gone.is_empty() {
            return false;
        }
        gather.consensus_at = now + config.consensus;
        // who is silent in this gathering although its ring is heard cannot hear this member, or does not want to
        for (node, _) in gone {
            let lately = self.lives.get(&node).is_some_and(|life| {
                now.since(life.heard_at) < self.config.give_up + self.config.merge * 2
            });
            let outside = !self.order.as_ref().is_some_and(|order| order.has_node(node));
            match (lately, outside) {
                (true, true) => self.shun(node, Cause::Silent, 0),
                (_, false) => self.shun(node, Cause::Lost, 0),
                (false, true) => {}
            }
        }
        true
    }

    /// Section 19.3: two members heard here cannot hear each other. All that hear both wait until the accusations
    /// are in, then drop whoever would not be in this member's ring anyway, and then the member with the most of them,
    /// the highest id first, until nobody is accused.
    pub(super) fn settle_conflicts(&mut self) -> bool {
        let (now, join, consensus) = (self.now, self.config.join, self.config.consensus);
        let Phase::Gather(gather) = &mut self.phase else { return false };
        let mut pairs: BTreeSet<(NodeId, NodeId)> = BTreeSet::new();
        for (accuser, heard) in gather.heard.iter().filter(|(node, _)| gather.is_live(**node)) {
            for k in heard.join.known.iter().filter(|k| k.failed) {
                let accused = k.member.node;
                let here = gather.known.get(&accused).filter(|entry| entry.member == k.member);
                if here.is_some_and(|entry| !entry.failed) && gather.heard.contains_key(&accused) {
                    pairs.insert((*accuser.min(&accused), *accuser.max(&accused)));
                }
            }
        }
        if pairs.is_empty() {
            gather.conflict_since = None;
            return false;
        }
        let since = *gather.conflict_since.get_or_insert(now);
        if now.since(since) < join * 2 {
            return false;
        }
        gather.conflict_since = None;
        let Phase::Gather(gather) = &self.phase else { return false };
        let judged = Arc::new(self.standings_in(gather));
        let ours = self.company(&judged);
        let stranger = |(a, b): &(NodeId, NodeId)| match (ours.contains(a), ours.contains(b)) {
            (true, false) => Some(*b),
            (false, true) => Some(*a),
            _ => None,
        };
        let strangers: BTreeSet<_> = pairs.iter().filter_map(stranger).collect();
        pairs.retain(|(a, b)| !strangers.contains(a) && !strangers.contains(b));
        let mut losers = Vec::new();
        while !pairs.is_empty() {
            let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
            for (a, b) in &pairs {
                *counts.entry(*a).or_default() += 1;
                *counts.entry(*b).or_default() += 1;
            }
            let Some((_, loser)) = counts.into_iter().map(|(node, n)| (n, node)).max() else {
                break;
            };
            let against = pairs
                .iter()
                .filter(|(a, b)| *a == loser || *b == loser)
                .map(|(a, b)| if *a == loser { *b } else { *a });
            losers.push((loser, against.collect::<BTreeSet<_>>()));
            pairs.retain(|(a, b)| *a != loser && *b != loser);
        }
        let Phase::Gather(gather) = &mut self.phase else { return false };
        for node in losers.iter().map(|(node, _)| node).chain(&strangers) {
            gather.fail(*node);
        }
        gather.consensus_at = now + consensus;
        for node in strangers {
            self.stay_apart(node, &judged);
        }
        for (loser, against) in losers {
            self.shun(loser, Cause::Conflict(against), LEVEL_CONFLICT);
        }
        true
    }

    /// Whether consensus holds: see the head of this file.
    pub(super) fn agreed(&self) -> bool {
        let Phase::Gather(gather) = &self.phase else { return false };
        if self.reserved <= self.ring_seq {
            return false; // nobody may use a number that a crash would forget (SAFETY.md#S12)
        }
        // at the start the others get their chance to answer before a ring of one is formed
        let lonely = gather.known.len() == 1 && self.config.nodes.len() > 1;
        if lonely && self.now.since(gather.started) < self.config.give_up {
            return false;
        }
        let view = self.view_of(gather, |_| true);
        gather.live().filter(|entry| entry.member != self.me).all(|entry| {
            gather.heard.get(&entry.member.node).is_some_and(|heard| {
                gather.same_lists(&heard.join)
                    && heard.join.view == view
                    && heard.join.reserved > self.ring_seq
                    && heard.join.ring_seq >= self.tried
            })
        })
    }

    /// The consensus time is over: whoever does not agree is given up; if all agree, the representative is, for it
    /// should have formed the ring by now.
    pub(super) fn consensus_over(&mut self) {
        let agreed = self.agreed();
        let (now, reserved) = (self.now, self.reserved > self.ring_seq);
        let consensus_at = now + self.config.consensus;
        let Phase::Gather(gather) = &self.phase else { return };
        let representative = self.company(&self.standings_in(gather)).first().copied();
        let Phase::Gather(gather) = &mut self.phase else { return };
        gather.consensus_at = consensus_at;
        if !reserved {
            return; // the own disk is late; nobody else is to blame
        }
        let others: Vec<_> =
            gather.live().map(|entry| entry.member.node).filter(|n| *n != self.me.node).collect();
        for node in others {
            let same = gather.heard.get(&node).is_some_and(|heard| gather.same_lists(&heard.join));
            if !same || agreed && Some(node) == representative {
                gather.fail(node);
            }
        }
        self.gather_changed();
    }

    /// A join interval is over.
    pub(super) fn join_due(&mut self) {
        let join_at = self.now + self.config.join;
        let Phase::Gather(gather) = &mut self.phase else { return };
        gather.join_at = join_at;
        gather.sent = None;
        // not before: the join that makes the lists equal may be behind its commit token, which then comes again
        let declined = core::mem::take(&mut gather.declined);
        self.saw_ring_seq(declined);
        let Phase::Gather(gather) = &mut self.phase else { return };
        if let (Some(ring), Some(order)) = (gather.broken.take(), &self.order) {
            for member in &order.members {
                let node = member.node;
                let heard = gather.heard.contains_key(&node);
                if *member != self.me && !heard && gather.is_live(node) {
                    self.out.push_back(Output::Silent { node, ring });
                }
            }
        }
        self.gather_changed();
    }

    /// At consensus the lowest member makes the commit token.
    pub(super) fn form(&mut self) {
        let Phase::Gather(gather) = &self.phase else { return };
        let ours = self.company(&self.standings_in(gather));
        let ours = |node: &NodeId| ours.contains(node);
        let members: Vec<_> =
            gather.live().map(|entry| entry.member).filter(|m| ours(&m.node)).collect();
        if members.first() != Some(&self.me) || self.ring_seq >= RING_SEQ_MAX {
            return;
        }
        let view = self.view_of(gather, ours);
        self.ring_seq += 1;
        self.reserve();
        let ring = RingId { seq: self.ring_seq, rep: self.me.node };
        let blank = |member| CommitEntry {
            member,
            old_ring: None,
            aru: 0,
            high: 0,
            delivered: 0,
            obliged: Vec::new(),
        };
        let entries = members.into_iter().map(blank).collect();
        self.enter_commit(
            StateEvent::consensus,
            CommitToken { token_seq: 0, ring, view, filled: 0, entries },
        );
    }

    /// Whether a commit token in GATHER is for the ring that this member has agreed to.
    pub(super) fn commits_to(&self, token: &CommitToken) -> bool {
        let Phase::Gather(gather) = &self.phase else { return false };
        let ours = self.company(&self.standings_in(gather));
        let ours = |node: &NodeId| ours.contains(node);
        token.ring.seq > self.tried
            && token.ring.seq <= self.reserved
            && self.order.as_ref().is_none_or(|order| token.ring.seq > order.id.seq)
            && gather
                .live()
                .map(|entry| entry.member)
                .filter(|member| ours(&member.node))
                .eq(token.entries.iter().map(|entry| entry.member))
            && token.view == self.view_of(gather, ours)
    }

    /// This member's aru has held the ring back for too long: it goes on alone for a while (TOTEM.md section 16.5).
    pub(super) fn give_self_up(&mut self) {
        self.enter_gather(StateEvent::failed_to_receive);
        let others: Vec<_> = self
            .order
            .iter()
            .flat_map(|order| order.members.iter().map(|m| m.node))
            .filter(|node| *node != self.me.node)
            .collect();
        for node in others {
            if let Phase::Gather(gather) = &mut self.phase {
                gather.fail(node);
            }
            self.shun(node, Cause::GivenUpBy, LEVEL_ADMISSION);
        }
        self.gather_changed();
    }
}
