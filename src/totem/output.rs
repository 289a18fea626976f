//! What the ring wants done, and what it says.

use core::time::Duration;

use base::{Instant, NodeId, RingEvent, RingId};

use crate::wire::Message;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Every configured node but this one.
    All,
    /// One node; never this one.
    Node(NodeId),
    /// Every member of the ring being used or formed but this one. The driver takes the list from `Ring::members`
    /// at the time of sending; sending to all configured nodes is harmless but wasteful.
    Ring,
}

/// One effect. Take them in order: `Deliver` events are the total order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The next event of the total order, configuration or message. Never taken back.
    Deliver(RingEvent),
    /// Make `up_to` durable, then call `Ring::handle_reserved(up_to)`. Asked early, half a block ahead, so the ring
    /// waits for it at most at the very start. May be asked again with a higher number before it is answered.
    ReserveRingSeq {
        /// Highest number that may be used afterwards.
        up_to: u64,
    },
    /// Send a message. Loss is expected and repaired.
    Send {
        /// To whom.
        to: Destination,
        /// What.
        message: Message,
    },
    /// A member of the broken ring has said nothing since the break: probe its machine (CLUSTER.md section 5).
    /// At most once per node and break, one join interval after it; the ring decides without the answer.
    Silent {
        /// Who.
        node: NodeId,
        /// The ring that broke.
        ring: RingId,
    },
    /// This process was not run for `gap` beyond its timer. Timers were put off so that queued datagrams are taken in
    /// first; nobody else is blamed for it.
    Stalled {
        /// How late the call came.
        gap: Duration,
    },
    /// The token of an installed (operational) ring was here. Leases are renewed by this, and only by this.
    TokenSeen {
        /// The ring.
        ring: RingId,
        /// When.
        now: Instant,
    },
    /// No token for the token time, or a member left: the ring is given up and a new one sought. Follows at most
    /// once per installed ring; the next thing delivered is a configuration or the tail of this ring.
    RingBroken {
        /// The ring.
        ring: RingId,
    },
    /// After a refusal with `MulticastError::Busy` there is room again for a message of any size.
    Writable,
}

/// Why the ring wants to be called at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// COMMIT: the commit token has not come round.
    CommitLost,
    /// GATHER: time to give up those who did not agree.
    Consensus,
    /// Representative of an idle ring: let the token go on.
    Hold,
    /// GATHER: send the join again.
    Join,
    /// Tell configured nodes outside about this ring.
    MergeDetect,
    /// No token for the token time.
    TokenLost,
    /// Send the token (or the commit token) again.
    TokenResend,
}

/// Why a message was not taken. Nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MulticastError {
    /// Too many bytes wait for the token. Wait for `Output::Writable`, then hand it in again.
    #[error(
        "{queued} bytes wait for the token already; hand the message in again when the ring is writable"
    )]
    Busy {
        /// Bytes waiting.
        queued: usize,
    },
    /// This node has left, for good in this life.
    #[error("this node has left the ring; start the agent anew to join again")]
    Left,
    /// Larger than a message may be.
    #[error("a message of {size} bytes is above the limit of 1,048,576; send it in parts")]
    TooLarge {
        /// Its size.
        size: usize,
    },
}
