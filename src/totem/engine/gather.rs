//! GATHER: agreement on who forms the next ring (TOTEM.md section 16.1, with sections 19.2 and 19.3).
//!
//! A member has reached consensus when everyone that it wants in the ring (known and not given up), in its present
//! life, has sent a join with the same lists and the same digest of all standings. The digest covers whoever was heard
//! directly, so consensus also says: each has heard each. What the admission is asked then is the same on all.
//!
//! Invariants: within one gathering nobody that was given up comes back; one life per node is known; what others say
//! against a member that this one hears is a conflict, settled by all hubs alike, and not a fact.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use base::{Instant, Member, NodeId, RingId};

use super::{Digest, Phase, Ring, all_members};
use crate::{
    Destination, Output, RING_SEQ_MAX, STANDING_BYTES_MAX, StateEvent,
    wire::{CommitEntry, CommitToken, Join, Known, Message},
};

/// First back-off is `backoff_min / 8`; each step doubles it.
const LEVEL_ADMISSION: u8 = 3;
/// Who lost a conflict stays out for `8 x backoff_min` (16 s) at first: if the cut is mended, the member that could
/// not reach it hears it and says so, which ends the time at once.
const LEVEL_CONFLICT: u8 = 6;
/// Keeps shifts in range.
const LEVEL_MAX: u8 = 16;

#[derive(Clone, Copy, Debug)]
struct Entry {
    member: Member,
    failed: bool,
    /// Known in this gathering since.
    since: Instant,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    join: Join,
}

/// One gathering.
#[derive(Debug)]
pub(super) struct Gather {
    known: BTreeMap<NodeId, Entry>,
    heard: BTreeMap<NodeId, Heard>,
    started: Instant,
    pub(super) join_at: Instant,
    pub(super) consensus_at: Instant,
    /// Nobody is silent from before this instant: this process was not run, or has just begun to ask.
    pub(super) judge_from: Instant,
    conflict_since: Option<Instant>,
    sent: Option<Join>,
    /// The ring that broke, until its silent members were named.
    broken: Option<RingId>,
}

/// Why a node is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// The admission refused it.
    Admission,
    /// These members cannot reach it.
    Conflict(BTreeSet<NodeId>),
    /// It has given this member up.
    GivenUpBy,
}

/// A node that is kept out, or left alone, for a while.
#[derive(Clone, Debug)]
pub(super) struct Shun {
    until: Instant,
    level: u8,
    cause: Cause,
}

impl Shun {
    pub(super) fn by_admission(&self) -> bool {
        self.cause == Cause::Admission
    }
}

impl Gather {
    fn live(&self) -> impl Iterator<Item = &Entry> {
        self.known.values().filter(|entry| !entry.failed)
    }

    fn is_live(&self, node: NodeId) -> bool {
        self.known.get(&node).is_some_and(|entry| !entry.failed)
    }

    fn fail(&mut self, node: NodeId) {
        if let Some(entry) = self.known.get_mut(&node) {
            entry.failed = true;
        }
    }

    /// When silence of this member began.
    fn silent_since(&self, entry: &Entry) -> Instant {
        let heard = self.heard.get(&entry.member.node).map_or(entry.since, |heard| heard.at);
        heard.max(entry.since).max(self.judge_from)
    }

    /// Whether `join` has the same lists: the same lives wanted, the same nodes given up.
    fn same_lists(&self, join: &Join) -> bool {
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

    /// Adds a node that was heard, in the life that was heard.
    pub(super) fn learn_of(&mut self, member: Member) {
        let now = self.now;
        let consensus_at = now + self.config.consensus;
        let Phase::Gather(gather) = &mut self.phase else { return };
        let fresh = Entry { member, failed: false, since: now };
        let entry = gather.known.entry(member.node).or_insert(fresh);
        if entry.member != member {
            // a restarted member has left and joined
            *entry = fresh;
            gather.heard.remove(&member.node);
            gather.consensus_at = consensus_at;
        }
    }

    /// Joins, in every state (TOTEM.md sections 16.1 to 16.4).
    pub(super) fn handle_join(&mut self, from: Member, join: Join) {
        let Some(life) = self.lives.get_mut(&from.node) else { return };
        if join.number <= life.join {
            self.counters.stale += 1;
            return;
        }
        life.join = join.number;
        if !self.saw_ring_seq(join.ring_seq) || !self.plausible(from, &join) {
            self.counters.impossible += 1;
            return;
        }
        self.end_shuns(from, &join);
        if self.join_is_out_of_place(from, &join) {
            return;
        }
        if !matches!(self.phase, Phase::Gather(_)) {
            self.enter_gather(StateEvent::join_received);
        }
        self.take_join(from, join);
        self.gather_changed();
    }

    /// Everybody listed is configured, the sender among them unless it leaves.
    fn plausible(&self, from: Member, join: &Join) -> bool {
        let configured = join.known.iter().all(|k| self.config.nodes.contains(&k.member.node));
        let one_life = join.known.windows(2).all(|w| w[0].member.node < w[1].member.node);
        let own = join.known.iter().any(|k| k.member == from && k.failed == join.leaving);
        configured && one_life && own
    }

    /// Joins that say nothing here and now. Each is counted.
    fn join_is_out_of_place(&mut self, from: Member, join: &Join) -> bool {
        let gives_me_up = join.known.iter().any(|k| k.member == self.me && k.failed);
        if self.is_shunned(from.node) && !matches!(self.phase, Phase::Recovery(_)) {
            let member = match &self.phase {
                Phase::Operational(_) => self.order.as_ref().is_some_and(|o| o.has(&from)),
                _ => false,
            };
            if !member {
                self.counters.shunned += 1;
                return true;
            }
        }
        // a joiner whose disk has not reserved the next number could not commit; a ring would wait for it in vain (at
        // a cold start there is no ring yet, and all wait for their disks)
        let outsider = self.order.as_ref().is_some_and(|order| !order.has(&from));
        let unready = outsider && join.reserved <= self.ring_seq && !join.leaving;
        let stale = match &self.phase {
            _ if unready => true,
            Phase::Gather(_) => false,
            Phase::Left => true,
            Phase::Commit(commit) => {
                !commit.has(&from) || join.ring_seq < commit.ring().seq && !join.leaving
            }
            Phase::Recovery(recovery) => {
                let ring = recovery.order.id.seq;
                !recovery.order.has(&from) || join.ring_seq < ring && !join.leaving
            }
            Phase::Operational(_) => {
                let Some(order) = &self.order else { return true };
                if order.has(&from) {
                    join.ring_seq < order.id.seq && !join.leaving || gives_me_up
                } else {
                    gives_me_up || join.leaving || self.refused_at_the_door(from, join)
                }
            }
        };
        if stale {
            self.counters.stale += 1;
        }
        stale
    }

    /// A joiner that the admission refuses on the own standing alone does not even break the ring. If the whole of
    /// the standings lets it in after all, another member starts the gathering.
    fn refused_at_the_door(&self, from: Member, join: &Join) -> bool {
        let heard = BTreeMap::from([
            (self.me.node, self.standing.to_vec()),
            (from.node, join.standing.to_vec()),
        ]);
        self.admission.refused(&heard).contains(&from.node)
    }

    fn take_join(&mut self, from: Member, join: Join) {
        let (me, now, consensus_at) = (self.me, self.now, self.now + self.config.consensus);
        self.learn_of(from);
        let Phase::Gather(gather) = &mut self.phase else { return };
        if !gather.is_live(from.node) {
            return; // given up in this gathering; it is welcome in the next
        }
        if join.leaving {
            gather.fail(from.node);
            gather.heard.remove(&from.node);
            return;
        }
        if join.known.iter().any(|k| k.member == me && k.failed) {
            gather.fail(from.node);
            gather.consensus_at = consensus_at;
            // with others at hand the ring of those is not to be broken again and again for it
            let company = gather.heard.keys().any(|node| gather.is_live(*node));
            self.shun(from.node, Cause::GivenUpBy, if company { LEVEL_CONFLICT } else { 0 });
            return;
        }
        for theirs in &join.known {
            let node = theirs.member.node;
            if node == me.node || node == from.node {
                continue;
            }
            let retired = self
                .lives
                .get(&node)
                .is_some_and(|l| l.retired.contains(&theirs.member.incarnation));
            if retired {
                continue;
            }
            let kept_out = self.shunned.get(&node).is_some_and(|shun| {
                now < shun.until && matches!(shun.cause, Cause::Conflict(_) | Cause::Admission)
            });
            let entry =
                Entry { member: theirs.member, failed: theirs.failed || kept_out, since: now };
            match gather.known.get_mut(&node) {
                None => {
                    gather.known.insert(node, entry);
                    gather.consensus_at = consensus_at;
                }
                // it knows another life of somebody who has not spoken here yet
                Some(ours)
                    if ours.member != theirs.member
                        && !gather.heard.contains_key(&node)
                        && !theirs.failed =>
                {
                    *ours = entry;
                    gather.consensus_at = consensus_at;
                }
                Some(_) => {}
            }
        }
        gather.heard.insert(from.node, Heard { at: now, join });
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
                if self.drop_refused() {
                    continue;
                }
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
    fn give_up_the_silent(&mut self) -> bool {
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
            if lately && outside {
                self.shun(node, Cause::GivenUpBy, 0);
            }
        }
        true
    }

    /// Section 19.3: two members heard here cannot hear each other. All that hear both wait until the accusations
    /// are in, then drop the member with the most of them, the highest id first, until nobody is accused.
    fn settle_conflicts(&mut self) -> bool {
        let (now, config) = (self.now, &self.config);
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
        if now.since(since) < config.join * 2 {
            return false;
        }
        gather.conflict_since = None;
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
        for (loser, _) in &losers {
            gather.fail(*loser);
        }
        gather.consensus_at = now + config.consensus;
        for (loser, against) in losers {
            self.shun(loser, Cause::Conflict(against), LEVEL_CONFLICT);
        }
        true
    }

    /// Whether consensus holds: see the head of this file.
    fn agreed(&self) -> bool {
        let Phase::Gather(gather) = &self.phase else { return false };
        if self.reserved <= self.ring_seq {
            return false; // nobody may use a number that a crash would forget (SAFETY.md#S12)
        }
        // at the start the others get their chance to answer before a ring of one is formed
        let lonely = gather.known.len() == 1 && self.config.nodes.len() > 1;
        if lonely && self.now.since(gather.started) < self.config.give_up {
            return false;
        }
        let view = self.view(gather);
        gather.live().filter(|entry| entry.member != self.me).all(|entry| {
            gather.heard.get(&entry.member.node).is_some_and(|heard| {
                gather.same_lists(&heard.join)
                    && heard.join.view == view
                    && heard.join.reserved > self.ring_seq
                    && heard.join.ring_seq >= self.tried
            })
        })
    }

    /// Asks the admission. All that reach this point with the same digest ask with the same standings.
    fn drop_refused(&mut self) -> bool {
        let Phase::Gather(gather) = &mut self.phase else { return false };
        let mut heard = BTreeMap::new();
        for entry in gather.live() {
            let node = entry.member.node;
            let standing = match gather.heard.get(&node) {
                Some(heard) if entry.member != self.me => heard.join.standing.to_vec(),
                _ => self.standing.to_vec(),
            };
            heard.insert(node, standing);
        }
        let mut refused = self.admission.refused(&heard);
        refused.retain(|node| heard.contains_key(node));
        if refused.is_empty() || heard.len() == 1 {
            return false;
        }
        let me = self.me.node;
        let all_refused = refused.len() == heard.len();
        // the refused may form a ring of their own, and so may the rest; if all are refused, each stays alone
        let dropped: Vec<_> = heard
            .into_keys()
            .filter(|node| {
                *node != me && (all_refused || refused.contains(node) != refused.contains(&me))
            })
            .collect();
        if dropped.is_empty() {
            return false;
        }
        for node in &dropped {
            gather.fail(*node);
        }
        gather.consensus_at = self.now + self.config.consensus;
        for node in dropped {
            self.shun(node, Cause::Admission, LEVEL_ADMISSION);
        }
        true
    }

    /// The consensus time is over: whoever does not agree is given up; if all agree, the representative is, for it
    /// should have formed the ring by now.
    pub(super) fn consensus_over(&mut self) {
        let agreed = self.agreed();
        let (now, reserved) = (self.now, self.reserved > self.ring_seq);
        let consensus_at = now + self.config.consensus;
        let Phase::Gather(gather) = &mut self.phase else { return };
        gather.consensus_at = consensus_at;
        if !reserved {
            return; // the own disk is late; nobody else is to blame
        }
        let others: Vec<_> =
            gather.live().map(|entry| entry.member.node).filter(|n| *n != self.me.node).collect();
        for (at, node) in others.into_iter().enumerate() {
            let same = gather.heard.get(&node).is_some_and(|heard| gather.same_lists(&heard.join));
            if !same || agreed && at == 0 {
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

    /// Sends a join if it would say something new.
    fn announce(&mut self) {
        let Phase::Gather(gather) = &self.phase else { return };
        let mut join = Join {
            number: 0,
            ring_seq: self.ring_seq,
            reserved: self.reserved,
            leaving: false,
            view: self.view(gather),
            known: gather
                .known
                .values()
                .map(|entry| Known { member: entry.member, failed: entry.failed })
                .collect(),
            standing: Arc::clone(&self.standing),
        };
        if gather.sent.as_ref() == Some(&join) {
            return;
        }
        let said = join.clone();
        self.joins += 1;
        join.number = self.joins;
        self.out.push_back(Output::Send { to: Destination::All, message: Message::Join(join) });
        if let Phase::Gather(gather) = &mut self.phase {
            gather.sent = Some(said);
        }
    }

    /// The last join of this life.
    pub(super) fn leave_join(&mut self) -> Join {
        let members = self.order.as_ref().map_or(&[][..], |order| &order.members);
        let others = members.iter().copied().filter(|m| m.node != self.me.node);
        let known = all_members(others.chain([self.me]))
            .into_iter()
            .map(|member| Known { member, failed: member == self.me })
            .collect();
        self.joins += 1;
        Join {
            number: self.joins,
            ring_seq: self.ring_seq,
            reserved: self.reserved,
            leaving: true,
            view: 0,
            known,
            standing: Arc::clone(&self.standing),
        }
    }

    /// Digest of the standings of all that are wanted in the ring and were heard.
    fn view(&self, gather: &Gather) -> u64 {
        let mut digest = Digest::new();
        for entry in gather.live() {
            let standing = match gather.heard.get(&entry.member.node) {
                _ if entry.member == self.me => &self.standing,
                Some(heard) => &heard.join.standing,
                None => continue,
            };
            debug_assert!(standing.len() <= STANDING_BYTES_MAX);
            digest.add(&entry.member.node.as_u16().to_le_bytes());
            digest.add(&entry.member.incarnation.random.to_le_bytes());
            digest.add(&(standing.len() as u32).to_le_bytes());
            digest.add(standing);
        }
        digest.0
    }

    /// At consensus the lowest member makes the commit token.
    fn form(&mut self) {
        let Phase::Gather(gather) = &self.phase else { return };
        let members: Vec<_> = gather.live().map(|entry| entry.member).collect();
        if members.first() != Some(&self.me) || self.ring_seq >= RING_SEQ_MAX {
            return;
        }
        let view = self.view(gather);
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
        token.ring.seq > self.tried
            && token.ring.seq <= self.reserved
            && self.order.as_ref().is_none_or(|order| token.ring.seq > order.id.seq)
            && token.view == self.view(gather)
            && gather.live().map(|e| e.member).eq(token.entries.iter().map(|e| e.member))
    }

    /// The lists as they stand, for a formation that may fail.
    pub(super) fn lists(&self) -> Vec<Known> {
        let Phase::Gather(gather) = &self.phase else { return Vec::new() };
        let known = |entry: &Entry| Known { member: entry.member, failed: entry.failed };
        gather.known.values().map(known).collect()
    }

    pub(super) fn is_shunned(&self, node: NodeId) -> bool {
        self.shunned.get(&node).is_some_and(|shun| self.now < shun.until)
    }

    fn shun(&mut self, node: NodeId, cause: Cause, least: u8) {
        let before = self.shunned.get(&node);
        let forgotten = before.is_none_or(|b| self.now.since(b.until) > self.config.backoff_max);
        let level = before.filter(|_| !forgotten).map_or(0, |before| before.level + 1);
        let level = level.clamp(least, LEVEL_MAX);
        let time = (self.config.backoff_min / 8) * (1_u32 << level);
        let time: Duration = time.min(self.config.backoff_max);
        tracing::info!(%node, ?cause, ?time, "kept out of the ring for a while");
        self.shunned.insert(node, Shun { until: self.now + time, level, cause });
    }

    /// Ends the time of those whose cause is gone.
    fn end_shuns(&mut self, from: Member, join: &Join) {
        let now = self.now;
        // whoever had given this member up wants it again
        let wants_me = join.known.iter().any(|k| k.member == self.me && !k.failed);
        for (node, shun) in &mut self.shunned {
            let over = match &shun.cause {
                Cause::GivenUpBy => *node == from.node && wants_me,
                // a member that could not reach it hears it by now
                Cause::Conflict(against) => {
                    against.contains(&from.node)
                        && join.known.iter().any(|k| k.member.node == *node && !k.failed)
                }
                Cause::Admission => false,
            };
            if over {
                shun.until = now;
            }
        }
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
