//! What a ring is told before it starts.
//!
//! Invariant: a `Config` in a running ring has passed `validate`; times relate as TOTEM.md section 14.1 wants it.

use alloc::collections::BTreeSet;
use core::time::Duration;

use base::{Incarnation, NodeId};

use crate::{MEMBERS_MAX, WINDOW_SLOTS_MAX};

/// Settings of one ring. The times are a node's own; the list of nodes, the payload size and `sequence_start` must
/// be equal on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// All nodes of the cluster, this one included. Nobody else is listened to.
    pub nodes: BTreeSet<NodeId>,
    /// Links that the driver sends over. Zero is the only one so far; several come later, so this is a list.
    pub links: alloc::vec::Vec<u8>,
    /// No token for this long: the ring is broken. 500 ms (TOTEM.md section 22).
    pub token: Duration,
    /// GATHER: who has not agreed by then is given up. 1.2 x token.
    pub consensus: Duration,
    /// GATHER: interval of join messages. 25 ms.
    pub join: Duration,
    /// GATHER: who has said nothing for this long is given up once all others agree. 6 x join.
    pub give_up: Duration,
    /// COMMIT: no commit token for this long: back to GATHER. token / 2.
    pub commit: Duration,
    /// An idle ring turns about once in this time. token / 10.
    pub hold: Duration,
    /// Least time before a token is sent again; the measured rotation decides above it. 3 ms.
    pub resend_min: Duration,
    /// While configured nodes are missing: how often they are told about this ring. 200 ms.
    pub merge: Duration,
    /// First time for which a member that not all can reach is kept out; doubles each time. 2 s.
    pub backoff_min: Duration,
    /// Greatest such time. 60 s.
    pub backoff_max: Duration,
    /// Bytes of one ring message's payload, packing included. 1,400.
    pub payload_bytes: usize,
    /// Multicasts that all members together send in one rotation.
    pub window: u32,
    /// Multicasts that one member sends in one token visit.
    pub visit: u32,
    /// Token visits for which a message must be missing before it is asked for. 2.
    pub misses: u8,
    /// Bytes of messages waiting for the token before `multicast` refuses. 4 MiB.
    pub queue_bytes: usize,
    /// Token visits with an aru held down by this member before it gives itself up (TOTEM.md section 16.5).
    pub fail_to_receive: u32,
    /// Sequence number before the first of a ring. Zero, except in tests of the wrap.
    #[doc(hidden)]
    pub sequence_start: u32,
}

impl Config {
    /// Defaults for a cluster of `nodes` with the given token time (TOTEM.md section 22: 500 ms at first).
    pub fn new(node: NodeId, nodes: BTreeSet<NodeId>, token: Duration) -> Self {
        let join = Duration::from_millis(25).min(token / 20).max(Duration::from_millis(1));
        Self {
            node,
            nodes,
            links: alloc::vec![0],
            token,
            consensus: token.saturating_mul(6) / 5,
            join,
            give_up: join * 6,
            commit: token / 2,
            hold: token / 10,
            resend_min: Duration::from_millis(3),
            merge: Duration::from_millis(200),
            backoff_min: Duration::from_secs(2),
            backoff_max: Duration::from_secs(60),
            payload_bytes: 1400,
            window: 128,
            visit: 64,
            misses: 2,
            queue_bytes: 4 << 20,
            fail_to_receive: 2500,
            sequence_start: 0,
        }
    }

    /// Refuses what cannot work, with the setting to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.nodes.contains(&self.node) {
            return Err(ConfigError::NotANode { node: self.node });
        }
        if self.nodes.len() > MEMBERS_MAX {
            return Err(ConfigError::TooManyNodes { count: self.nodes.len() });
        }
        let times = [
            ("token", self.token, Duration::from_millis(20), Duration::from_secs(60)),
            ("join", self.join, Duration::from_millis(1), self.token / 4),
            ("give_up", self.give_up, self.join.saturating_mul(2), self.token.saturating_mul(2)),
            ("consensus", self.consensus, self.give_up, self.token.saturating_mul(10)),
            ("commit", self.commit, self.join, self.token),
            ("hold", self.hold, Duration::from_millis(1), self.token / 4),
            ("resend_min", self.resend_min, Duration::from_micros(500), self.token / 8),
            ("merge", self.merge, self.join, Duration::from_secs(60)),
            ("backoff_min", self.backoff_min, self.consensus, self.backoff_max),
        ];
        for (setting, value, least, most) in times {
            if value < least || value > most {
                return Err(ConfigError::Time { setting, value, least, most });
            }
        }
        let numbers = [
            ("payload_bytes", self.payload_bytes, 256, 60_000),
            ("window", self.window as usize, 1, WINDOW_SLOTS_MAX as usize / 4),
            ("visit", self.visit as usize, 1, self.window as usize),
            ("misses", usize::from(self.misses), 1, 100),
            ("queue_bytes", self.queue_bytes, crate::MESSAGE_BYTES_MAX, 1 << 30),
            ("fail_to_receive", self.fail_to_receive as usize, 10, 1 << 30),
        ];
        for (setting, value, least, most) in numbers {
            if value < least || value > most {
                return Err(ConfigError::Number { setting, value, least, most });
            }
        }
        if self.links != [0] {
            return Err(ConfigError::Links { count: self.links.len() });
        }
        Ok(())
    }
}

/// What one start of the process brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The life that begins.
    pub incarnation: Incarnation,
    /// The highest ring sequence number that was ever reserved on this node's disk (the `up_to` of the last
    /// `Output::ReserveRingSeq` made durable); zero on the very first start. The ring uses only numbers above it.
    pub reserved: u64,
    /// Seed of the jitter.
    pub seed: u64,
}

/// Settings that cannot work. Nothing was started; whoever wrote them must correct them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// More links than this version knows.
    #[error("{count} links are configured; this version sends over exactly one, numbered 0")]
    Links {
        /// How many.
        count: usize,
    },
    /// This node is not in its own list.
    #[error("node {node} is not in the list of nodes; add it to the members of the cluster")]
    NotANode {
        /// The node.
        node: NodeId,
    },
    /// A number out of bounds.
    #[error("{setting} is {value}; choose a value from {least} to {most}")]
    Number {
        /// Name of the setting.
        setting: &'static str,
        /// What it is.
        value: usize,
        /// Least legal value.
        least: usize,
        /// Greatest legal value.
        most: usize,
    },
    /// A time out of bounds.
    #[error("{setting} is {value:?}; choose a time from {least:?} to {most:?}")]
    Time {
        /// Name of the setting.
        setting: &'static str,
        /// What it is.
        value: Duration,
        /// Least legal value.
        least: Duration,
        /// Greatest legal value.
        most: Duration,
    },
    /// More nodes than a ring holds.
    #[error("{count} nodes are configured; a ring holds at most {MEMBERS_MAX}")]
    TooManyNodes {
        /// How many.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    //= SAFETY.md#S29
    //= type=test
    #[test]
    fn a_token_time_without_end_is_refused_and_ends_nobody() {
        let node = NodeId::new(1).expect("not zero");
        for token in [Duration::MAX, Duration::MAX / 2, Duration::ZERO] {
            let config = Config::new(node, BTreeSet::from([node]), token);
            assert!(matches!(config.validate(), Err(ConfigError::Time { setting: "token", .. })));
        }
    }
}
