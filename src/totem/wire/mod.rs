//! The messages of the ring, and our own encoding of them.
//!
//! The engine knows the structs only; the encoding is a layer of its own, so that the wire format of Corosync
//! (TOTEM.md sections 6 to 8) can stand beside ours. Little-endian, no padding, exact lengths: what decodes encodes to
//! the same bytes. Nothing here is reached before the frame was authenticated.

mod codec;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

use alloc::{sync::Arc, vec::Vec};

use base::{Guarantee, Member, NodeId, RingId};

pub use codec::{WireError, decode, encode};

/// One ring message, one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Forms a new ring.
    Commit(CommitToken),
    /// Asks the representative to let the token go on.
    HoldCancel(HoldCancel),
    /// Seeks agreement on a membership.
    Join(Join),
    /// An ordered message.
    Mcast(Mcast),
    /// Tells others about a ring.
    MergeDetect(MergeDetect),
    /// The right to multicast.
    Token(Token),
}

/// The regular token (TOTEM.md section 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The ring that it belongs to.
    pub ring: RingId,
    /// Plus one at each hop; not above the last accepted: a duplicate.
    pub token_seq: u32,
    /// Highest sequence number given to a message of this ring.
    pub seq: u32,
    /// All received up to, over all members.
    pub aru: u32,
    /// Who lowered `aru` last; none when it equals `seq`.
    pub aru_addr: Option<NodeId>,
    /// Sum of the send backlogs of all members.
    pub backlog: u32,
    /// Messages multicast during the last rotation, retransmissions included.
    pub fcc: u32,
    /// Recovery only: a member still has old messages to send.
    pub recovering: bool,
    /// Sequence numbers of this ring that somebody lacks.
    pub requests: Vec<u32>,
}

/// An ordered message (TOTEM.md section 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mcast {
    /// The ring in whose order `seq` is.
    pub ring: RingId,
    /// Place in the order.
    pub seq: u32,
    /// Who made the payload. A retransmission keeps it.
    pub origin: NodeId,
    /// What the payload waits for.
    pub guarantee: Guarantee,
    /// In recovery: which message of the old ring this carries.
    pub recovered: Option<Recovered>,
    /// Packed messages.
    pub payload: Arc<[u8]>,
}

/// Place of a re-sent message in its old ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The old ring.
    pub ring: RingId,
    /// Place in its order.
    pub seq: u32,
}

/// Says that a ring is there (TOTEM.md section 7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeDetect {
    /// The ring.
    pub ring: RingId,
    /// Its members, ascending.
    pub members: Vec<NodeId>,
    /// Whom the sender has heard of late without a break, ascending.
    pub hears: Vec<NodeId>,
    /// What the sender's application says about itself. At most `STANDING_BYTES_MAX`.
    pub standing: Arc<[u8]>,
}

/// Asks for the held token (TOTEM.md section 7.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldCancel {
    /// The ring.
    pub ring: RingId,
}

/// Seeks agreement on a membership (TOTEM.md section 7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Counts the joins of this life: an older one that comes later says nothing.
    pub number: u64,
    /// Highest ring sequence number that the sender has seen.
    pub ring_seq: u64,
    /// Up to where the sender has reserved ring sequence numbers durably.
    pub reserved: u64,
    /// The sender leaves in order. It is in `failed`.
    pub leaving: bool,
    /// Digest of the standings that the sender has heard from those it wants to form a ring with.
    pub view: u64,
    /// Everybody known to seek a ring, ascending, with those given up marked.
    pub known: Vec<Known>,
    /// What the sender's application says about itself. At most `STANDING_BYTES_MAX`.
    pub standing: Arc<[u8]>,
}

/// One entry of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which node in which life.
    pub member: Member,
    /// Given up by the sender.
    pub failed: bool,
}

/// Forms a new ring (TOTEM.md section 7.5). Goes round twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitToken {
    /// Plus one at each hop.
    pub token_seq: u32,
    /// The ring that is being formed.
    pub ring: RingId,
    /// Digest of the standings that the representative decided on.
    pub view: u64,
    /// Entries filled so far.
    pub filled: u8,
    /// The members in ring order, ascending.
    pub entries: Vec<CommitEntry>,
}

/// What a member brings into a new ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitEntry {
    /// Who.
    pub member: Member,
    /// Its last operational ring, none in its first.
    pub old_ring: Option<RingId>,
    /// Has all messages of the old ring up to here.
    pub aru: u32,
    /// Highest message of the old ring that it holds.
    pub high: u32,
    /// Has delivered up to here in the old regular configuration.
    pub delivered: u32,
    /// Nodes whose messages it has to deliver even beyond a gap, from an attempt that failed.
    pub obliged: Vec<NodeId>,
}
