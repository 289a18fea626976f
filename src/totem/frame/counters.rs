//! Why datagrams were dropped, each reason counted.

/// Why a datagram was dropped. None of these changes any state but the counters (SAFETY.md#S28).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dropped {
    /// Authentic, but the text is not what its kind says. The sender runs another version.
    Body,
    /// Of another cluster on the same network.
    Cluster,
    /// Authentic, of a life that has not answered a challenge yet; a challenge was sent.
    Challenged,
    /// Not sealed under the key that it names. A rising count means a wrong key or an attack.
    Forged,
    /// A frame of its own came back.
    FromSelf,
    /// A kind that this version does not know.
    Kind,
    /// Older than the replay window.
    Old,
    /// More from this source than one peer may send.
    RateLimited,
    /// Seen before in this life. Harmless: links deliver twice.
    Replayed,
    /// Shorter than a header.
    Short,
    /// A response to no challenge of ours, or to an old one.
    StaleResponse,
    /// Of a life that was replaced by a later one that answered a challenge.
    StaleLife,
    /// A key id that is not held.
    UnknownKey,
    /// No configured node, or node id 0.
    UnknownSender,
    /// Another version of the frame.
    Version,
    /// Sealed for another node.
    WrongTarget,
    /// From an address that is not the sender's (SAFETY.md 4.5 item 4).
    WrongSource,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::Body,
        Self::Cluster,
        Self::Challenged,
        Self::Forged,
        Self::FromSelf,
        Self::Kind,
        Self::Old,
        Self::RateLimited,
        Self::Replayed,
        Self::Short,
        Self::StaleResponse,
        Self::StaleLife,
        Self::UnknownKey,
        Self::UnknownSender,
        Self::Version,
        Self::WrongTarget,
        Self::WrongSource,
    ];

    /// Label of the metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Cluster => "cluster",
            Self::Challenged => "challenged",
            Self::Forged => "forged",
            Self::FromSelf => "from_self",
            Self::Kind => "kind",
            Self::Old => "old",
            Self::RateLimited => "rate_limited",
            Self::Replayed => "replayed",
            Self::Short => "short",
            Self::StaleResponse => "stale_response",
            Self::StaleLife => "stale_life",
            Self::UnknownKey => "unknown_key",
            Self::UnknownSender => "unknown_sender",
            Self::Version => "version",
            Self::WrongTarget => "wrong_target",
            Self::WrongSource => "wrong_source",
        }
    }
}

/// Datagrams by fate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Given on.
    pub accepted: u64,
    /// Challenges sent.
    pub challenges: u64,
    /// Responses sent.
    pub responses: u64,
    /// Lives accepted after a fresh response.
    pub lives: u64,
    dropped: [u64; Dropped::ALL.len()],
}

impl Counters {
    /// How many were dropped for `reason`.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize]
    }

    pub(super) fn count(&mut self, reason: Dropped) {
        self.dropped[reason as usize] += 1;
    }
}
