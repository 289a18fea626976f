//! What a ring hands to the replicated state machine: configurations and messages, in one order.
//!
//! Invariants (extended virtual synchrony, TOTEM.md section 2.2, SAFETY.md#S13): for each change a member sees the
//! last messages of the old regular configuration, the transitional configuration, what is delivered in it, and
//! the new regular configuration; members that go together from one configuration to the next deliver the same
//! messages in between, in the same order.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Incarnation, NodeId, RingId};

/// How strong a promise a message waits for (TOTEM.md section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Guarantee {
    /// Delivered when all earlier messages of the ring were.
    Agreed,
    /// As agreed, and every member of the configuration is known to have received it.
    Safe,
}

/// One member of a configuration: the node and which life of its agent. A member that restarted has left and
/// joined, even where the list of node ids did not change (CLUSTER.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Which machine.
    pub node: NodeId,
    /// Which life of its agent.
    pub incarnation: Incarnation,
}

/// Which of the two configurations of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConfigurationKind {
    /// The new ring, all of its members.
    Regular,
    /// Those members of the new ring that come with this one from the same old ring.
    Transitional,
}

/// A configuration change. `ring` is the id of the *new* ring in both kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// Regular or transitional.
    pub kind: ConfigurationKind,
    /// Id of the ring that was agreed.
    pub ring: RingId,
    /// In ascending order of node ids.
    pub members: Vec<Member>,
}

impl Configuration {
    /// Whether `node` is a member, in whatever incarnation.
    pub fn contains(&self, node: NodeId) -> bool {
        self.member(node).is_some()
    }

    /// The member with this node id.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|m| m.node == node)
    }
}

/// A message in its place of the total order. Whether it belongs to the regular or to the transitional
/// configuration follows from the configuration event before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RingMessage {
    /// Who sent it.
    pub sender: NodeId,
    /// With which promise it was delivered.
    pub guarantee: Guarantee,
    /// The bytes as handed in by the sender.
    pub payload: Vec<u8>,
}

/// One event of the total order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RingEvent {
    /// The membership changed.
    Configuration(Configuration),
    /// A message was delivered.
    Message(RingMessage),
}
