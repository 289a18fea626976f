//! Join messages: what they must look like, which of them say nothing here and now, what is learned from the rest.

use alloc::{collections::BTreeSet, sync::Arc};

use base::{Member, NodeId};

use super::{
    Phase, Ring, all_members,
    gather::{Entry, Heard},
    shun::{Cause, LEVEL_CONFLICT, Shun},
};
use crate::{
    Destination, Output, StateEvent,
    wire::{Join, Known, Message},
};

impl Ring {
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
        self.note_standing(from, &join.standing);
        if self.join_is_out_of_place(from, &join) {
            return;
        }
        if !matches!(self.phase, Phase::Gather(_)) {
            self.let_in(from.node);
            self.enter_gather(StateEvent::join_received);
        }
        self.take_join(from, join);
        self.gather_changed();
    }

    /// Everybody listed is configured, the sender among them unless it leaves.
    pub(super) fn plausible(&self, from: Member, join: &Join) -> bool {
        let configured = join.known.iter().all(|k| self.config.nodes.contains(&k.member.node));
        let one_life = join.known.windows(2).all(|w| w[0].member.node < w[1].member.node);
        let own = join.known.iter().any(|k| k.member == from && k.failed == join.leaving);
        configured && one_life && own
    }

    /// Joins that say nothing here and now. Each is counted.
    pub(super) fn join_is_out_of_place(&mut self, from: Member, join: &Join) -> bool {
        let gives_me_up = join.known.iter().any(|k| k.member == self.me && k.failed);
        let shunned = match &self.phase {
            Phase::Operational(_) => {
                let member = self.order.as_ref().is_some_and(|order| order.has(&from));
                !member && self.is_left_alone(from.node)
            }
            Phase::Recovery(_) => false,
            _ => self.is_shunned(from.node),
        };
        if shunned {
            self.counters.shunned += 1;
            return true;
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
                    gives_me_up || join.leaving || !self.door_is_open(from.node)
                }
            }
        };
        if stale {
            self.counters.stale += 1;
        }
        stale
    }

    pub(super) fn take_join(&mut self, from: Member, join: Join) {
        let (me, now, consensus_at) = (self.me, self.now, self.now + self.config.consensus);
        self.learn_of(from);
        let conflict = |shun: &Shun| matches!(shun.cause, Cause::Conflict(_));
        let lost =
            |node: &NodeId| self.is_shunned(*node) && self.shunned.get(node).is_some_and(conflict);
        let kept_out: BTreeSet<NodeId> =
            join.known.iter().map(|k| k.member.node).filter(lost).collect();
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
            // with others at hand the ring of those is not to be broken again and again for it
            let others = gather.heard.keys().filter(|node| **node != from.node);
            let company = others.into_iter().any(|node| gather.is_live(*node));
            let echo = self.shunned.get(&from.node).is_some_and(|s| s.is_echo(now, &self.config));
            if echo && !company {
                return; // it will ask, or be silent
            }
            gather.fail(from.node);
            gather.consensus_at = consensus_at;
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
            let entry = Entry {
                member: theirs.member,
                failed: theirs.failed || kept_out.contains(&node),
                since: now,
            };
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

    /// Sends a join if it would say something new.
    pub(super) fn announce(&mut self) {
        let Phase::Gather(gather) = &self.phase else { return };
        let mut join = Join {
            number: 0,
            ring_seq: self.ring_seq,
            reserved: self.reserved,
            leaving: false,
            view: self.view_of(gather, |_| true),
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
}
