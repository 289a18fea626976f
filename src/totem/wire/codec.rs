//! Bytes to messages and back.
//!
//! Invariant: `decode` accepts exactly what `encode` writes: exact length, ids in range and ascending, counters
//! within their limits (TOTEM.md section 19.1). Anything else is an error and changes nothing.

use alloc::{sync::Arc, vec::Vec};

use base::{Guarantee, Incarnation, Member, NodeId, RingId};

use super::{
    CommitEntry, CommitToken, HoldCancel, Join, Known, Mcast, MergeDetect, Message, Recovered,
    Token,
};
use crate::{MEMBERS_MAX, REQUESTS_MAX, RING_SEQ_MAX, STANDING_BYTES_MAX};

/// Version of the encoding, first byte of every message.
const VERSION: u8 = 1;
/// Payload of one mcast at most: what fits a UDP datagram with all headers. The configured size is far below.
const PAYLOAD_BYTES_MAX: usize = 61_000;

const TOKEN: u8 = 0;
const MCAST: u8 = 1;
const MERGE_DETECT: u8 = 2;
const JOIN: u8 = 3;
const COMMIT: u8 = 4;
const HOLD_CANCEL: u8 = 5;

/// Why bytes are no message. The message is dropped and counted; state is untouched. A rising count from a member
/// means that it runs another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A value out of its range or a list out of its order.
    #[error("{0} is out of range; compare the versions of the agents")]
    Range(&'static str),
    /// Bytes missing.
    #[error("the message ends early; compare the versions of the agents")]
    Short,
    /// Bytes left over.
    #[error("the message has bytes too many; compare the versions of the agents")]
    Trailing,
    /// A type that this version does not know.
    #[error("message type {0} is unknown; the sender runs a newer version")]
    Type(u8),
    /// Another version of the encoding.
    #[error("encoding version {0} is unknown; the sender runs another version")]
    Version(u8),
}

/// Appends the encoding of `message` to `out`.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    out.push(VERSION);
    match message {
        Message::Token(t) => {
            out.push(TOKEN);
            put_ring(out, Some(t.ring));
            for word in [t.token_seq, t.seq, t.aru] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&t.aru_addr.map_or(0, NodeId::as_u16).to_le_bytes());
            out.extend_from_slice(&t.backlog.to_le_bytes());
            out.extend_from_slice(&t.fcc.to_le_bytes());
            out.push(u8::from(t.recovering));
            debug_assert!(t.requests.len() <= REQUESTS_MAX);
            out.push(t.requests.len() as u8);
            for seq in &t.requests {
                out.extend_from_slice(&seq.to_le_bytes());
            }
        }
        Message::Mcast(m) => {
            out.push(MCAST);
            put_ring(out, Some(m.ring));
            out.extend_from_slice(&m.seq.to_le_bytes());
            out.extend_from_slice(&m.origin.as_u16().to_le_bytes());
            let flags =
                u8::from(m.guarantee == Guarantee::Safe) | u8::from(m.recovered.is_some()) << 1;
            out.push(flags);
            if let Some(old) = m.recovered {
                put_ring(out, Some(old.ring));
                out.extend_from_slice(&old.seq.to_le_bytes());
            }
            out.extend_from_slice(&m.payload);
        }
        Message::MergeDetect(m) => {
            out.push(MERGE_DETECT);
            put_ring(out, Some(m.ring));
            put_nodes(out, &m.members);
            put_nodes(out, &m.hears);
            put_standing(out, &m.standing);
        }
        Message::Join(j) => {
            out.push(JOIN);
            for word in [j.number, j.ring_seq, j.reserved, j.view] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.push(u8::from(j.leaving));
            out.push(j.known.len() as u8);
            for known in &j.known {
                put_member(out, &known.member);
                out.push(u8::from(known.failed));
            }
            put_standing(out, &j.standing);
        }
        Message::Commit(c) => {
            out.push(COMMIT);
            out.extend_from_slice(&c.token_seq.to_le_bytes());
            put_ring(out, Some(c.ring));
            out.extend_from_slice(&c.view.to_le_bytes());
            out.push(c.filled);
            out.push(c.entries.len() as u8);
            for entry in &c.entries {
                put_member(out, &entry.member);
                put_ring(out, entry.old_ring);
                for word in [entry.aru, entry.high, entry.delivered] {
                    out.extend_from_slice(&word.to_le_bytes());
                }
                put_nodes(out, &entry.obliged);
            }
        }
        Message::HoldCancel(h) => {
            out.push(HOLD_CANCEL);
            put_ring(out, Some(h.ring));
        }
    }
}

/// Reads one message out of the whole of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let mut r = Reader(bytes);
    let version = r.u8()?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let message = match r.u8()? {
        TOKEN => Message::Token(token(&mut r)?),
        MCAST => Message::Mcast(mcast(&mut r)?),
        MERGE_DETECT => {
            let (ring, members) = (r.ring()?, r.nodes("members of a ring")?);
            let hears = r.nodes("whom a member hears")?;
            Message::MergeDetect(MergeDetect { ring, members, hears, standing: r.standing()? })
        }
        JOIN => Message::Join(join(&mut r)?),
        COMMIT => Message::Commit(commit(&mut r)?),
        HOLD_CANCEL => Message::HoldCancel(HoldCancel { ring: r.ring()? }),
        other => return Err(WireError::Type(other)),
    };
    if r.0.is_empty() { Ok(message) } else { Err(WireError::Trailing) }
}

fn token(r: &mut Reader<'_>) -> Result<Token, WireError> {
    let ring = r.ring()?;
    let (token_seq, seq, aru) = (r.u32()?, r.u32()?, r.u32()?);
    let aru_addr = NodeId::new(r.u16()?);
    let (backlog, fcc) = (r.u32()?, r.u32()?);
    let recovering = r.flag("token flags")?;
    let count = r.count(REQUESTS_MAX, "retransmission requests")?;
    let requests = (0..count).map(|_| r.u32()).collect::<Result<_, _>>()?;
    Ok(Token { ring, token_seq, seq, aru, aru_addr, backlog, fcc, recovering, requests })
}

fn mcast(r: &mut Reader<'_>) -> Result<Mcast, WireError> {
    let ring = r.ring()?;
    let seq = r.u32()?;
    let origin = r.node()?;
    let flags = r.u8()?;
    if flags > 3 {
        return Err(WireError::Range("mcast flags"));
    }
    let guarantee = if flags & 1 == 1 { Guarantee::Safe } else { Guarantee::Agreed };
    let recovered =
        if flags & 2 == 2 { Some(Recovered { ring: r.ring()?, seq: r.u32()? }) } else { None };
    if r.0.len() > PAYLOAD_BYTES_MAX {
        return Err(WireError::Range("payload length"));
    }
    let payload = Arc::from(r.take(r.0.len())?);
    Ok(Mcast { ring, seq, origin, guarantee, recovered, payload })
}

fn join(r: &mut Reader<'_>) -> Result<Join, WireError> {
    let (number, ring_seq, reserved, view) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
    if ring_seq > RING_SEQ_MAX || reserved > RING_SEQ_MAX {
        return Err(WireError::Range("ring sequence number"));
    }
    let leaving = r.flag("join flags")?;
    let count = r.count(2 * MEMBERS_MAX, "join list")?;
    let mut known: Vec<Known> = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = Known { member: r.member()?, failed: r.flag("join list flags")? };
        if known.last().is_some_and(|last| order(&last.member) >= order(&entry.member)) {
            return Err(WireError::Range("order of the join list"));
        }
        known.push(entry);
    }
    let standing = r.standing()?;
    Ok(Join { number, ring_seq, reserved, leaving, view, known, standing })
}

fn commit(r: &mut Reader<'_>) -> Result<CommitToken, WireError> {
    let token_seq = r.u32()?;
    let ring = r.ring()?;
    let view = r.u64()?;
    let filled = r.u8()?;
    let count = r.count(MEMBERS_MAX, "members of the commit token")?;
    if usize::from(filled) > count {
        return Err(WireError::Range("filled entries of the commit token"));
    }
    let mut entries: Vec<CommitEntry> = Vec::with_capacity(count);
    for _ in 0..count {
        let member = r.member()?;
        if entries.last().is_some_and(|last| last.member.node >= member.node) {
            return Err(WireError::Range("order of the commit token"));
        }
        let old_ring = r.ring_or_none()?;
        let (aru, high, delivered) = (r.u32()?, r.u32()?, r.u32()?);
        let obliged = r.nodes("obligations")?;
        entries.push(CommitEntry { member, old_ring, aru, high, delivered, obliged });
    }
    if entries.first().is_none_or(|first| first.member.node != ring.rep) {
        return Err(WireError::Range("representative of the commit token"));
    }
    Ok(CommitToken { token_seq, ring, view, filled, entries })
}

/// Two lives of one node have an order on the wire only so that equal lists are equal bytes.
pub(crate) fn order(member: &Member) -> (NodeId, u64, u128) {
    (member.node, member.incarnation.counter, member.incarnation.random)
}

fn put_ring(out: &mut Vec<u8>, ring: Option<RingId>) {
    out.extend_from_slice(&ring.map_or(0, |ring| ring.rep.as_u16()).to_le_bytes());
    out.extend_from_slice(&ring.map_or(0, |ring| ring.seq).to_le_bytes());
}

fn put_standing(out: &mut Vec<u8>, standing: &[u8]) {
    out.extend_from_slice(&(standing.len() as u16).to_le_bytes());
    out.extend_from_slice(standing);
}

fn put_nodes(out: &mut Vec<u8>, nodes: &[NodeId]) {
    debug_assert!(nodes.len() <= MEMBERS_MAX);
    out.push(nodes.len() as u8);
    for node in nodes {
        out.extend_from_slice(&node.as_u16().to_le_bytes());
    }
}

fn put_member(out: &mut Vec<u8>, member: &Member) {
    out.extend_from_slice(&member.node.as_u16().to_le_bytes());
    out.extend_from_slice(&member.incarnation.counter.to_le_bytes());
    out.extend_from_slice(&member.incarnation.random.to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    fn flag(&mut self, what: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Range(what)),
        }
    }

    fn count(&mut self, most: usize, what: &'static str) -> Result<usize, WireError> {
        let count = usize::from(self.u8()?);
        if count > most { Err(WireError::Range(what)) } else { Ok(count) }
    }

    /// A list of nodes, ascending.
    fn nodes(&mut self, what: &'static str) -> Result<Vec<NodeId>, WireError> {
        let count = self.count(MEMBERS_MAX, what)?;
        let nodes = (0..count).map(|_| self.node()).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_sorted_by(|a, b| a < b) { Ok(nodes) } else { Err(WireError::Range(what)) }
    }

    fn node(&mut self) -> Result<NodeId, WireError> {
        NodeId::new(self.u16()?).ok_or(WireError::Range("node id"))
    }

    fn ring(&mut self) -> Result<RingId, WireError> {
        self.ring_or_none()?.ok_or(WireError::Range("ring id"))
    }

    fn ring_or_none(&mut self) -> Result<Option<RingId>, WireError> {
        let (rep, seq) = (self.u16()?, self.u64()?);
        match NodeId::new(rep) {
            Some(rep) if seq <= RING_SEQ_MAX => Ok(Some(RingId { seq, rep })),
            None if seq == 0 => Ok(None),
            _ => Err(WireError::Range("ring id")),
        }
    }

    fn standing(&mut self) -> Result<Arc<[u8]>, WireError> {
        let length = usize::from(self.u16()?);
        if length > STANDING_BYTES_MAX {
            return Err(WireError::Range("length of the standing"));
        }
        Ok(Arc::from(self.take(length)?))
    }

    fn member(&mut self) -> Result<Member, WireError> {
        let node = self.node()?;
        let counter = self.u64()?;
        let random = u128::from_le_bytes(self.array()?);
        Ok(Member { node, incarnation: Incarnation { counter, random } })
    }
}
