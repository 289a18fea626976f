//! COMMIT and RECOVERY: a ring that was agreed on is formed, and the messages of the old one are exchanged
//! (TOTEM.md sections 16.2 to 16.4).

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};
use core::{mem, time::Duration};

use base::{Configuration, ConfigurationKind, Instant, Member, NodeId, RingEvent, RingId};

use super::{
    Phase, Ring, Turn,
    order::Order,
    rotation::{Draft, Load, Rotation},
};
use crate::{
    Destination, Output, StateEvent,
    serial::{after, earlier, later},
    wire::{CommitToken, Known, Mcast, Message, Recovered, Token},
};

/// Agreed; the commit token goes round for the first time.
pub(super) struct Commit {
    token: CommitToken,
    next: NodeId,
    pub(super) lists: Vec<Known>,
    pub(super) resend_at: Instant,
    resend_step: Duration,
    pub(super) lost_at: Instant,
}

impl Commit {
    pub(super) const fn ring(&self) -> RingId {
        self.token.ring
    }

    pub(super) fn has(&self, member: &Member) -> bool {
        self.token.entries.iter().any(|entry| entry.member == *member)
    }

    pub(super) fn resend(&mut self, turn: &mut Turn<'_>) {
        let message = Message::Commit(self.token.clone());
        turn.out.push_back(Output::Send { to: Destination::Node(self.next), message });
        self.resend_step = (self.resend_step * 3 / 2).min(turn.config.token / 10);
        self.resend_at = turn.now + self.resend_step;
    }
}

/// The new ring turns, but orders only messages of the old one.
pub(super) struct Recovery {
    /// The new ring.
    pub(super) order: Order,
    pub(super) rotation: Rotation,
    pub(super) lists: Vec<Known>,
    /// Messages of the old ring that this member sends.
    queue: VecDeque<Draft>,
    /// Those that come with this member from its old ring, itself included.
    together: Vec<Member>,
    /// Whose messages are delivered beyond a gap.
    obliged: BTreeSet<NodeId>,
    /// Up to there somebody delivered in the old regular configuration.
    known_delivered: u32,
    /// First message of the new ring proper, from a member that has installed it already.
    first_plain: Option<u32>,
    commit: CommitToken,
    commit_next: NodeId,
    commit_resend_at: Option<Instant>,
    originated: bool,
    set_flag: bool,
    /// Token visits in a row without the flag.
    quiet_visits: u32,
    install_seq: u32,
    complete_visits: u32,
}

impl Recovery {
    pub(super) fn resend_at(&self) -> Option<Instant> {
        self.rotation.resend_at.or(self.commit_resend_at)
    }

    pub(super) fn resend(&mut self, turn: &mut Turn<'_>) {
        if self.rotation.resend_at.is_some() {
            self.rotation.resend(turn);
        } else if self.commit_resend_at.is_some() {
            let message = Message::Commit(self.commit.clone());
            turn.out.push_back(Output::Send { to: Destination::Node(self.commit_next), message });
            self.commit_resend_at = Some(turn.now + turn.config.resend_min * 3);
        }
    }

    /// A multicast of the new ring. What it carries of the old one goes there at once.
    pub(super) fn receive(&mut self, from: &Member, mcast: Mcast, old: Option<&mut Order>) -> bool {
        if !self.order.has(from) {
            return false;
        }
        let seq = mcast.seq;
        match mcast.recovered {
            None if self.order.log.fits(seq) => {
                self.first_plain = Some(self.first_plain.map_or(seq, |first| earlier(first, seq)));
            }
            None => return false,
            Some(Recovered { ring, seq }) => {
                if let Some(old) = old.filter(|old| old.id == ring) {
                    old.receive(Mcast { ring, seq, recovered: None, ..mcast.clone() });
                }
            }
        }
        // the origin of a message of another component's old ring may be nobody of this ring
        self.order.log.insert(seq, mcast)
    }

    /// Section 16.3, after the aru. Whether the ring is to be installed.
    fn progress(&mut self, token: &mut Token) -> bool {
        if !self.queue.is_empty() {
            if !token.recovering {
                token.recovering = true;
                self.set_flag = true;
            }
        } else if token.recovering && self.set_flag {
            token.recovering = false;
            self.set_flag = false;
        }
        self.quiet_visits = if token.recovering { 0 } else { self.quiet_visits + 1 };
        if self.quiet_visits == 2 {
            self.install_seq = token.seq;
        }
        let received = self.quiet_visits >= 2 && !after(self.install_seq, self.order.log.aru());
        let by_all = self.quiet_visits >= 3 && !after(self.install_seq, token.aru);
        self.complete_visits = if received && by_all { self.complete_visits + 1 } else { 0 };
        self.complete_visits >= 2
    }

    /// Everything that anyone of the old ring here has is here.
    fn has_received_all(&self) -> bool {
        self.quiet_visits >= 2 && !after(self.install_seq, self.order.log.aru())
    }
}

impl Ring {
    /// Fills the own entry and passes the commit token on.
    pub(super) fn enter_commit(&mut self, event: StateEvent, mut token: CommitToken) {
        let at = usize::from(token.filled);
        if token.entries.get(at).is_none_or(|entry| entry.member != self.me) {
            self.counters.impossible += 1;
            return;
        }
        let lists = self.part();
        self.moved(event);
        if let Some(order) = &self.order {
            token.entries[at] = order.entry(self.me);
        }
        token.filled += 1;
        token.token_seq = token.token_seq.wrapping_add(1);
        self.tried = token.ring.seq;
        let next = token.entries[(at + 1) % token.entries.len()].member.node;
        let message = Message::Commit(token.clone());
        let resend_step = self.config.resend_min * 3;
        self.phase = Phase::Commit(Commit {
            token,
            next,
            lists,
            resend_at: self.now + resend_step,
            resend_step,
            lost_at: self.now + self.config.commit,
        });
        self.send_along(next, message);
    }

    fn send_along(&mut self, next: NodeId, message: Message) {
        if next == self.me.node {
            self.loopback.push_back(message);
        } else {
            self.out.push_back(Output::Send { to: Destination::Node(next), message });
        }
    }

    pub(super) fn handle_commit(&mut self, from: Member, token: CommitToken) {
        if !token.entries.iter().any(|entry| entry.member == from) {
            self.counters.stale += 1;
            return;
        }
        let full = usize::from(token.filled) == token.entries.len();
        let mine = !full && self.commits_to(&token);
        match &mut self.phase {
            Phase::Gather(_) if mine => {
                if !self.saw_ring_seq(token.ring.seq) {
                    return;
                }
                self.enter_commit(StateEvent::commit_token, token);
            }
            Phase::Gather(gather) if !full => {
                gather.declined = gather.declined.max(token.ring.seq);
                self.counters.stale += 1;
            }
            Phase::Commit(commit) if full && commit.token.ring == token.ring => {
                let same = |(a, b): (&crate::wire::CommitEntry, &crate::wire::CommitEntry)| {
                    a.member == b.member
                };
                if commit.token.entries.iter().zip(&token.entries).all(same) {
                    self.enter_recovery(token);
                }
            }
            Phase::Recovery(recovery)
                if full
                    && recovery.order.id == token.ring
                    && recovery.rotation.representative()
                    && !recovery.originated
                    && !after(recovery.commit.token_seq, token.token_seq) =>
            {
                self.first_token();
            }
            _ => self.counters.stale += 1,
        }
    }

    fn enter_recovery(&mut self, mut token: CommitToken) {
        self.moved(StateEvent::commit_token_full);
        let Phase::Commit(commit) = &mut self.phase else { return };
        let lists = mem::take(&mut commit.lists);
        let commit_next = commit.next;
        let members: Vec<_> = token.entries.iter().map(|entry| entry.member).collect();
        let order = Order::new(token.ring, members, self.config.sequence_start);
        let rotation = Rotation::new(self.now, &self.config, &order, self.me);
        token.token_seq = token.token_seq.wrapping_add(1);
        let mut recovery = Recovery {
            rotation,
            lists,
            queue: VecDeque::new(),
            together: Vec::from([self.me]),
            obliged: BTreeSet::from([self.me.node]),
            known_delivered: 0,
            first_plain: None,
            commit: token,
            commit_next,
            commit_resend_at: Some(self.now + self.config.resend_min * 3),
            originated: false,
            set_flag: false,
            quiet_visits: 0,
            install_seq: self.config.sequence_start,
            complete_visits: 0,
            order,
        };
        if let Some(old) = &self.order {
            recovery.plan(old, self.me);
        }
        let message = Message::Commit(recovery.commit.clone());
        self.phase = Phase::Recovery(Box::new(recovery));
        self.send_along(commit_next, message);
    }

    /// The representative makes the first token of the ring.
    fn first_token(&mut self) {
        let Phase::Recovery(recovery) = &mut self.phase else { return };
        recovery.originated = true;
        let start = self.config.sequence_start;
        let token = Token {
            ring: recovery.order.id,
            token_seq: 0,
            seq: start,
            aru: start,
            aru_addr: None,
            backlog: 0,
            fcc: 0,
            recovering: !recovery.queue.is_empty(),
            requests: Vec::new(),
        };
        recovery.set_flag = token.recovering;
        recovery.commit_resend_at = None;
        let mut turn = Turn {
            now: self.now,
            config: &self.config,
            out: &mut self.out,
            loopback: &mut self.loopback,
        };
        recovery.rotation.pass_on(&mut turn, token, false);
    }

    pub(super) fn recovery_token(&mut self, from: Member, mut token: Token) {
        let Phase::Recovery(recovery) = &mut self.phase else { return };
        let Recovery { order, rotation, queue, first_plain, .. } = &mut **recovery;
        let ours = order.id == token.ring && order.has(&from);
        if !ours || !rotation.accepts(order, &token) {
            self.counters.stale += 1;
            return;
        }
        let mut turn = Turn {
            now: self.now,
            config: &self.config,
            out: &mut self.out,
            loopback: &mut self.loopback,
        };
        // a message of the new ring proper is not acknowledged before the ring is installed here: a safe one would be
        // delivered by others and might never be by this member
        let ack = first_plain.map(|first| first.wrapping_sub(1));
        let load = Load { backlog: queue.len() as u32, ack };
        rotation.visit(&mut turn, order, &mut token, load, || queue.pop_front());
        self.counters.resent += mem::take(&mut rotation.resent);
        recovery.commit_resend_at = None;
        let install = recovery.progress(&mut token);
        let all_here = recovery.has_received_all();
        recovery.rotation.pass_on(&mut turn, token, false);
        if let (true, Some(old)) = (all_here, &mut self.order) {
            // from now on somebody may install the ring and deliver these
            old.obliged.clone_from(&recovery.obliged);
        }
        if install {
            self.install();
        }
    }

    /// Enters OPERATIONAL: the end of the old ring is delivered, then the new configuration.
    fn install(&mut self) {
        self.moved(StateEvent::recovered);
        let Phase::Recovery(recovery) = mem::replace(&mut self.phase, Phase::Left) else { return };
        let Recovery { order, mut rotation, together, obliged, known_delivered, .. } = *recovery;
        let ring = order.id;
        let configuration = |kind, members| {
            Output::Deliver(RingEvent::Configuration(Configuration { kind, ring, members }))
        };
        let regular = configuration(ConfigurationKind::Regular, order.members.clone());
        if let Some(mut old) = self.order.take() {
            let known = later(known_delivered, old.safe);
            old.deliver_regular(known, &mut self.out);
            self.out.push_back(configuration(ConfigurationKind::Transitional, together));
            old.deliver_transitional(&obliged, &mut self.out);
            self.counters.malformed += old.malformed;
        }
        self.out.push_back(regular);
        self.counters.rings += 1;
        self.suspects.clear();
        self.admitted(&order.members);
        self.queue.restart();
        let outsiders = self.config.nodes.len() > order.members.len();
        rotation.merge_at = outsiders.then_some(self.now);
        rotation.unchanged = 0;
        let order = self.order.insert(order);
        order.deliver(&mut self.out);
        self.phase = Phase::Operational(rotation);
    }
}

impl Recovery {
    /// Who comes along from the old ring, what each of them lacks, and what this member sends of it.
    fn plan(&mut self, old: &Order, me: Member) {
        let along: Vec<_> = self
            .commit
            .entries
            .iter()
            .filter(|entry| entry.old_ring == Some(old.id) && old.has(&entry.member))
            .collect();
        self.together = along.iter().map(|entry| entry.member).collect();
        self.obliged = along
            .iter()
            .flat_map(|entry| entry.obliged.iter().copied().chain([entry.member.node]))
            .collect();
        self.known_delivered = along.iter().map(|entry| entry.delivered).fold(old.delivered, later);
        let low = along.iter().map(|entry| entry.aru).fold(old.log.aru(), earlier);
        let top = along.iter().map(|entry| entry.aru).fold(old.log.aru(), later);
        let complete = along.iter().all(|entry| entry.aru == top && entry.high == top);
        if complete {
            return;
        }
        // up to the highest aru one member holds everything; beyond it nobody can say who holds what, so all send
        let lowest_complete = along.iter().find(|entry| entry.aru == top).map(|e| e.member);
        let mut seq = low;
        while after(old.log.high(), seq) {
            seq = seq.wrapping_add(1);
            let Some(message) = old.log.get(seq) else { continue };
            if after(seq, top) || lowest_complete == Some(me) {
                self.queue.push_back(Draft {
                    origin: message.origin,
                    guarantee: message.guarantee,
                    recovered: Some(Recovered { ring: old.id, seq }),
                    payload: alloc::sync::Arc::clone(&message.payload),
                });
            }
        }
    }
}
