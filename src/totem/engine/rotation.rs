//! One member's part in the rotation of a token (TOTEM.md section 17), the same in RECOVERY and OPERATIONAL.

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use core::time::Duration;

use base::{Guarantee, Instant, Member, NodeId};

use super::{Turn, order::Order};
use crate::{
    Config, Destination, Output, REQUESTS_MAX, WINDOW_SLOTS_MAX,
    serial::{after, earlier},
    wire::{Mcast, Message, Recovered, Token},
};

/// Rotations without new or missing messages after which the representative holds the token. Two more than a safe message needs.
pub(super) const HOLD_AFTER: u32 = 4;
/// The lost token is sent again after this many measured rotations.
const RESEND_ROTATIONS: u32 = 3;

/// A multicast without its place.
pub(super) struct Draft {
    pub(super) origin: NodeId,
    pub(super) guarantee: Guarantee,
    pub(super) recovered: Option<Recovered>,
    pub(super) payload: Arc<[u8]>,
}

/// Invariant: `stored` is the token as this member sent it last; it is not sent again once a later one was accepted.
#[derive(Debug)]
pub(super) struct Rotation {
    me: NodeId,
    next: Member,
    representative: bool,
    alone: bool,
    token_seq: Option<u32>,
    last_seq: u32,
    last_aru: u32,
    /// Rotations without new or missing messages.
    pub(super) unchanged: u32,
    sent_last: u32,
    backlog_last: u32,
    aru_held_down: u32,
    misses: BTreeMap<u32, u8>,
    pub(super) stored: Option<Token>,
    /// Measured time of a rotation that was not held, smoothed.
    rotation: Duration,
    visited_at: Instant,
    /// No token until then: lost.
    pub(super) lost_at: Instant,
    /// Send the stored token again.
    pub(super) resend_at: Option<Instant>,
    resend_step: Duration,
    /// The representative lets the held token go.
    pub(super) hold_at: Option<Instant>,
    /// The representative tells configured nodes outside about the ring.
    pub(super) merge_at: Option<Instant>,
    /// A hold cancel was sent since the last token.
    pub(super) cancel_sent: bool,
    /// Multicasts sent, and sent again on request.
    pub(super) resent: u64,
}

/// What the visited member has to say.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Multicasts that wait.
    pub(super) backlog: u32,
    /// Received beyond this is not said yet.
    pub(super) ack: Option<u32>,
}

/// What a visit has found out.
pub(super) struct Visit {
    /// This member has held the aru down for too long (TOTEM.md section 16.5).
    pub(super) failed_to_receive: bool,
}

impl Rotation {
    pub(super) fn new(now: Instant, config: &Config, order: &Order, me: Member) -> Self {
        let at = order.members.iter().position(|m| *m == me).unwrap_or(0);
        Self {
            me: me.node,
            next: order.members[(at + 1) % order.members.len()],
            representative: at == 0,
            alone: order.members.len() == 1,
            token_seq: None,
            last_seq: config.sequence_start,
            last_aru: config.sequence_start,
            unchanged: 0,
            sent_last: 0,
            backlog_last: 0,
            aru_held_down: 0,
            misses: BTreeMap::new(),
            stored: None,
            rotation: config.resend_min / RESEND_ROTATIONS,
            visited_at: now,
            lost_at: now + config.token,
            resend_at: None,
            resend_step: config.resend_min,
            hold_at: None,
            merge_at: None,
            cancel_sent: false,
            resent: 0,
        }
    }

    pub(super) const fn representative(&self) -> bool {
        self.representative
    }

    /// Whether the representative is thought to hold the token.
    pub(super) const fn held(&self) -> bool {
        self.hold_at.is_some() || (!self.representative && self.unchanged >= HOLD_AFTER)
    }

    /// Whether a token of this ring is new and can be true.
    pub(super) fn accepts(&self, order: &Order, token: &Token) -> bool {
        self.token_seq.is_none_or(|last| after(token.token_seq, last))
            && !after(token.aru, token.seq)
            && !after(order.log.high(), token.seq)
            && token.seq.wrapping_sub(order.log.freed()) <= WINDOW_SLOTS_MAX
            && token.aru_addr.is_none_or(|node| order.has_node(node))
    }

    /// Steps 2 to 13 of section 17: repair, send, say how far this member is.
    pub(super) fn visit(
        &mut self,
        turn: &mut Turn<'_>,
        order: &mut Order,
        token: &mut Token,
        load: Load,
        mut draft: impl FnMut() -> Option<Draft>,
    ) -> Visit {
        let Turn { now, config, ref mut out, .. } = *turn;
        let Load { backlog, ack } = load;
        if self.hold_at.is_none() && self.unchanged < HOLD_AFTER && self.token_seq.is_some() {
            let measured = now.since(self.visited_at).min(config.token / 4);
            self.rotation = (self.rotation * 7 + measured) / 8;
        }
        self.visited_at = now;
        // idle is what has nothing new and nothing to repair: whoever waits for the safe line needs two rotations more
        let idle =
            token.seq == self.last_seq && token.aru == token.seq && token.requests.is_empty();
        self.unchanged = if idle { self.unchanged.saturating_add(1) } else { 0 };
        self.cancel_sent = false;

        // received by all: the aru of two successive visits (TOTEM.md section 2.1)
        order.free(earlier(self.last_aru, token.aru));
        let aru_before = self.last_aru;
        self.last_aru = token.aru;

        let mut allowed = self.allowed(config, token, backlog);
        let resent = Self::answer_requests(order, token, &mut allowed, out);
        self.resent += u64::from(resent);
        self.add_requests(config, order, token);

        let used = token.seq.wrapping_sub(order.log.freed());
        allowed = allowed.min((WINDOW_SLOTS_MAX - config.window).saturating_sub(used));
        let mut sent = resent;
        let mut left = backlog;
        while allowed > 0 {
            let Some(draft) = draft() else { break };
            token.seq = token.seq.wrapping_add(1);
            let Draft { origin, guarantee, recovered, payload } = draft;
            let message =
                Mcast { ring: order.id, seq: token.seq, origin, guarantee, recovered, payload };
            order.log.insert(token.seq, message.clone());
            if !self.alone {
                out.push_back(Output::Send {
                    to: Destination::Ring,
                    message: Message::Mcast(message),
                });
            }
            allowed -= 1;
            sent += 1;
            left = left.saturating_sub(1);
        }
        if token.seq != self.last_seq {
            self.unchanged = 0;
        }
        self.last_seq = token.seq;

        token.fcc = token.fcc.saturating_sub(self.sent_last).saturating_add(sent);
        self.sent_last = sent;
        token.backlog = token.backlog.saturating_sub(self.backlog_last).saturating_add(left);
        self.backlog_last = left;

        let me = self.me;
        let aru = ack.map_or_else(|| order.log.aru(), |ack| earlier(ack, order.log.aru()));
        if after(token.aru, aru) || token.aru_addr == Some(me) || token.aru_addr.is_none() {
            token.aru = aru;
            token.aru_addr = (aru != token.seq).then_some(me);
        }
        let stuck = token.aru == aru_before && token.aru_addr == Some(me);
        self.aru_held_down = if stuck { self.aru_held_down + 1 } else { 0 };

        self.token_seq = Some(token.token_seq);
        token.token_seq = token.token_seq.wrapping_add(1);
        Visit { failed_to_receive: self.aru_held_down > config.fail_to_receive }
    }

    /// Sends the token on, or holds it where the ring is idle.
    pub(super) fn pass_on(&mut self, turn: &mut Turn<'_>, token: Token, may_hold: bool) {
        let Turn { now, config, .. } = *turn;
        self.lost_at = now + config.token;
        let quiet = token.requests.is_empty() && token.aru == token.seq && token.backlog == 0;
        let hold = may_hold && self.representative && self.unchanged > HOLD_AFTER && quiet;
        self.stored = Some(token);
        if hold {
            self.hold_at = Some(now + config.hold);
            self.resend_at = None;
        } else {
            self.hold_at = None;
            self.send_stored(turn);
        }
    }

    /// The held token goes on at once.
    pub(super) fn release(&mut self, turn: &mut Turn<'_>) {
        self.unchanged = 0;
        if self.hold_at.take().is_some() {
            self.send_stored(turn);
        }
    }

    /// The hold time is over.
    pub(super) fn hold_over(&mut self, turn: &mut Turn<'_>) {
        self.hold_at = None;
        self.send_stored(turn);
    }

    /// The token may be lost: send it again, and later if that happens again. The receiver drops what it has seen.
    pub(super) fn resend(&mut self, turn: &mut Turn<'_>) {
        let Turn { now, config, .. } = *turn;
        if let Some(token) = &self.stored {
            let message = Message::Token(token.clone());
            turn.out.push_back(Output::Send { to: Destination::Node(self.next.node), message });
        }
        let most = (config.token / 20).max(config.resend_min);
        self.resend_step = (self.resend_step * 3 / 2).min(most);
        self.resend_at = Some(now + self.resend_step);
    }

    fn send_stored(&mut self, turn: &mut Turn<'_>) {
        let Some(token) = self.stored.clone() else { return };
        let Turn { now, config, .. } = *turn;
        if self.alone {
            turn.loopback.push_back(Message::Token(token));
            self.resend_at = None;
            return;
        }
        let message = Message::Token(token);
        turn.out.push_back(Output::Send { to: Destination::Node(self.next.node), message });
        self.resend_step =
            (self.rotation * RESEND_ROTATIONS).clamp(config.resend_min, config.token / 8);
        // an idle ring's token rests at the representative for the hold time
        let rest = if self.unchanged >= HOLD_AFTER { config.hold } else { Duration::ZERO };
        self.resend_at = Some(now + rest + self.resend_step);
    }

    /// Section 17.1: the window is shared in proportion to what waits.
    fn allowed(&self, config: &Config, token: &Token, backlog: u32) -> u32 {
        let allowed = config.visit.min(config.window.saturating_sub(token.fcc));
        let others = token.backlog.saturating_sub(self.backlog_last);
        let all = others.saturating_add(backlog);
        if all == 0 {
            return allowed;
        }
        let share = u64::from(config.window) * u64::from(backlog) / u64::from(all);
        allowed.min(u32::try_from(share).unwrap_or(u32::MAX).max(1))
    }

    /// Section 17.2: any holder answers, the first on the ring.
    fn answer_requests(
        order: &Order,
        token: &mut Token,
        allowed: &mut u32,
        out: &mut VecDeque<Output>,
    ) -> u32 {
        let mut sent = 0;
        token.requests.retain(|seq| {
            let Some(message) = order.log.get(*seq).filter(|_| *allowed > 0) else { return true };
            let message = Message::Mcast(message.clone());
            out.push_back(Output::Send { to: Destination::Ring, message });
            *allowed -= 1;
            sent += 1;
            false
        });
        // what everybody has by now, or can never have been sent, is asked by nobody
        let (seq, aru) = (token.seq, token.aru);
        token.requests.retain(|request| after(*request, aru) && !after(*request, seq));
        sent
    }

    fn add_requests(&mut self, config: &Config, order: &Order, token: &mut Token) {
        self.misses.retain(|seq, _| order.log.get(*seq).is_none() && order.log.fits(*seq));
        let mut seq = order.log.aru();
        let mut looked_at = 0;
        while seq != token.seq && looked_at < 2 * REQUESTS_MAX {
            seq = seq.wrapping_add(1);
            if order.log.get(seq).is_some() {
                continue;
            }
            looked_at += 1;
            let misses = self.misses.entry(seq).or_default();
            *misses = misses.saturating_add(1);
            if *misses >= config.misses
                && token.requests.len() < REQUESTS_MAX
                && !token.requests.contains(&seq)
            {
                token.requests.push(seq);
            }
        }
    }
}
