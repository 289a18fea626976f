//! OPERATIONAL: what the members of an installed ring say to each other (TOTEM.md sections 16.4 and 17).

use alloc::sync::Arc;
use core::mem;

use base::Member;

use super::{
    Phase, Ring, Turn,
    order::Order,
    rotation::{Draft, Load, Rotation},
};
use crate::{
    Destination, Output, StateEvent,
    packing::SendQueue,
    wire::{HoldCancel, Mcast, MergeDetect, Message, Token},
};

impl Ring {
    pub(super) fn resend_due(&mut self) {
        self.counters.tokens_resent += 1;
        let mut turn = Turn {
            now: self.now,
            config: &self.config,
            out: &mut self.out,
            loopback: &mut self.loopback,
        };
        match &mut self.phase {
            Phase::Commit(commit) => commit.resend(&mut turn),
            Phase::Recovery(recovery) => recovery.resend(&mut turn),
            Phase::Operational(rotation) => rotation.resend(&mut turn),
            Phase::Gather(_) | Phase::Left => {}
        }
    }

    pub(super) fn with_rotation(&mut self, act: impl FnOnce(&mut Rotation, &mut Turn<'_>)) {
        let mut turn = Turn {
            now: self.now,
            config: &self.config,
            out: &mut self.out,
            loopback: &mut self.loopback,
        };
        if let Phase::Operational(rotation) = &mut self.phase {
            act(rotation, &mut turn);
        }
    }

    pub(super) fn want_token(&mut self) {
        let Some(order) = &self.order else { return };
        let ring = order.id;
        let Phase::Operational(rotation) = &mut self.phase else { return };
        if !rotation.held() {
            return;
        }
        if rotation.representative() {
            self.with_rotation(Rotation::release);
        } else if !rotation.cancel_sent {
            rotation.cancel_sent = true;
            rotation.unchanged = 0;
            let message = Message::HoldCancel(HoldCancel { ring });
            self.out.push_back(Output::Send { to: Destination::Ring, message });
        }
    }

    pub(super) fn handle_hold_cancel(&mut self, from: Member, cancel: &HoldCancel) {
        let ours = self.order.as_ref().is_some_and(|o| o.id == cancel.ring && o.has(&from));
        if ours {
            self.with_rotation(Rotation::release);
        } else {
            self.counters.stale += 1;
        }
    }

    pub(super) fn handle_merge_detect(&mut self, from: Member, detect: &MergeDetect) {
        if !self.saw_ring_seq(detect.ring.seq) {
            return;
        }
        self.note_word(from, detect);
        match &self.phase {
            Phase::Operational(_) => {}
            Phase::Gather(_) => {
                self.note_standing(from, &detect.standing);
                if self.is_shunned(from.node) || !self.door_is_open(from.node) {
                    self.counters.shunned += 1;
                } else {
                    self.learn_of(from);
                    self.gather_changed();
                }
                return;
            }
            Phase::Commit(_) | Phase::Left | Phase::Recovery(_) => return,
        }
        let Some(order) = &self.order else { return };
        // a member of this ring says it of an earlier one: said before it came here (TOTEM.md section 19.3)
        if order.id == detect.ring {
            return; // whom it hears was all
        }
        if order.has(&from) && detect.ring.seq < order.id.seq {
            self.counters.stale += 1;
            return;
        }
        self.note_standing(from, &detect.standing);
        if self.is_left_alone(from.node) || !self.door_is_open(from.node) {
            self.counters.shunned += 1;
        } else {
            self.let_in(from.node);
            self.enter_gather(StateEvent::foreign_ring);
            self.learn_of(from);
            self.gather_changed();
        }
    }

    /// Says to the configured nodes outside that this ring is there, where this member stands, and whom it hears; the
    /// last to the members as well.
    pub(super) fn tell_outsiders(&mut self) {
        let hears = self.heard_nodes();
        let Some(order) = &self.order else { return };
        let Phase::Operational(rotation) = &mut self.phase else { return };
        let whole = self.config.nodes.iter().all(|node| order.has_node(*node));
        rotation.merge_at = (!whole).then_some(self.now + self.config.merge);
        if whole {
            return;
        }
        self.said = hears.iter().copied().collect();
        let standing = Arc::clone(&self.standing);
        let members = order.members.iter().map(|m| m.node).collect();
        let message =
            Message::MergeDetect(MergeDetect { ring: order.id, members, hears, standing });
        self.out.push_back(Output::Send { to: Destination::All, message });
    }

    pub(super) fn handle_mcast(&mut self, from: Member, mcast: Mcast) {
        if let Phase::Recovery(recovery) = &mut self.phase
            && recovery.order.id == mcast.ring
        {
            if !recovery.receive(&from, mcast, self.order.as_mut()) {
                self.counters.stale += 1;
            }
            return;
        }
        // the old ring's messages are still good in GATHER; from COMMIT on what is held has been declared
        let open = matches!(self.phase, Phase::Operational(_) | Phase::Gather(_));
        let ours = |order: &&mut Order| order.id == mcast.ring && order.has(&from);
        match self.order.as_mut().filter(ours).filter(|_| open) {
            Some(order) => {
                if order.receive(mcast) {
                    order.deliver(&mut self.out);
                } else {
                    self.counters.stale += 1;
                }
            }
            None => self.counters.stale += 1,
        }
    }

    pub(super) fn handle_token(&mut self, from: Member, token: Token) {
        if let Phase::Recovery(_) = self.phase {
            self.recovery_token(from, token);
            return;
        }
        let (Some(order), Phase::Operational(rotation)) = (&mut self.order, &mut self.phase) else {
            self.counters.stale += 1;
            return;
        };
        if order.id != token.ring || !order.has(&from) {
            self.counters.stale += 1;
            return;
        }
        if !rotation.accepts(order, &token) {
            self.counters.stale += 1;
            return;
        }
        let mut turn = Turn {
            now: self.now,
            config: &self.config,
            out: &mut self.out,
            loopback: &mut self.loopback,
        };
        let ring = order.id;
        turn.out.push_back(Output::TokenSeen { ring, now: self.now });
        let failed = rotation.operational(&mut turn, order, &mut self.queue, token);
        self.counters.resent += mem::take(&mut rotation.resent);
        if failed {
            self.give_self_up();
        }
    }
}

impl Rotation {
    /// A token visit of an installed ring, from arrival to delivery. Whether this member fails to receive.
    fn operational(
        &mut self,
        turn: &mut Turn<'_>,
        order: &mut Order,
        queue: &mut SendQueue,
        mut token: Token,
    ) -> bool {
        let size = turn.config.payload_bytes;
        let load = Load { backlog: queue.backlog(size), ack: None };
        let me = turn.config.node;
        let visit = self.visit(turn, order, &mut token, load, || {
            let (guarantee, payload) = queue.pack(size)?;
            Some(Draft { origin: me, guarantee, recovered: None, payload })
        });
        // deliveries come after the token: others work meanwhile (TOTEM.md section 19.4)
        self.pass_on(turn, token, queue.is_empty());
        order.deliver(turn.out);
        visit.failed_to_receive
    }
}
