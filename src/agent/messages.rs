//! What the parts of an agent say to each other.
//!
//! The words of `cluster` for its executor and fencer travel as they are; around them stand the few that keep the
//! parts honest: how old the last token is, which life of a part speaks, whether it still answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base::{FenceDevice, Instant, NodeName, RingId};
use cluster::{DeviceFinding, ExecutorDo, ExecutorSays, FencerDo, FencerSays};
use serde::{Deserialize, Serialize};

/// Ring part to executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToExecutor {
    /// From the engine, and when: deadlines count from there, on this machine's boot-time clock. What waited in the queue of
    /// a part that stood still is late (SAFETY.md#S7).
    Do(ExecutorDo, Instant),
    /// Interface of this machine on each network. First on each connection, with the last settings of the engine.
    Networks(BTreeMap<String, String>),
    /// Members that are known to be off or to have left: nothing is to be sent to what ran there. All of them, each time.
    Gone(BTreeSet<NodeName>),
    /// A token of an installed ring was here.
    Token {
        /// Of which ring.
        ring: RingId,
        /// When, on this machine's boot-time clock: one that waited in a queue is old.
        seen_at: Instant,
    },
}

/// Executor to ring part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromExecutor {
    /// First on each connection: which life of the executor speaks.
    Hello {
        /// Drawn at its start.
        life: u128,
    },
    /// For the engine.
    Says(ExecutorSays),
    /// An address was added here and announced until a peer took notice, or for as long as it is worth.
    Announced {
        /// Which.
        resource: base::ResourceId,
        /// From the end of adding it.
        took: Duration,
        /// A peer on its network has said that it sees it here.
        seen: bool,
    },
}

/// Ring part to fencer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToFencer {
    /// The ring part goes away on purpose, for that long: the watchdog is disarmed meanwhile, and no evidence after
    /// (CLUSTER.md section 8).
    Detach(Duration),
    /// From the engine, and when.
    Do(FencerDo, Instant),
    /// A turn of the ring's loop began then: needed for each feed of the watchdog.
    Pass(Instant),
    /// What the accepted revision says. First on each connection.
    Settings(FencerSettings),
    /// A token of an installed ring was here, on this machine's boot-time clock.
    Token(Instant),
    /// Devices that this fencer may have to use, to be looked at before. Only to one that [`looks`].
    Devices(Vec<FenceDevice>),
}

/// What a fencer needs to know of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencerSettings {
    /// Configured token timeout.
    pub token: Duration,
    /// Names of the Secrets with `username` and `password`; fetched before they are needed.
    pub secrets: BTreeSet<String>,
}

/// Fencer to ring part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromFencer {
    /// First on each connection.
    Hello {
        /// Drawn at its start.
        life: u128,
    },
    /// For the engine.
    Says(FencerSays),
    /// What is known of the devices, whenever that changes. Only to a ring part that has named some.
    Looked(Vec<DeviceFinding>),
}

/// Upper half of the number of a life of a fencer that looks at devices. Ring part and fencer are upgraded apart from each
/// other, and one that does not know a word ends the connection: so this is said where every version lets a number pass.
const LOOKS: u128 = 0x7061_6c6c_6f6f_6b73 << 64;

/// The number of a life of this version, out of 64 random bits.
pub const fn life(random: u128) -> u128 {
    LOOKS | (random & u64::MAX as u128)
}

/// Whether the fencer with that life knows [`ToFencer::Devices`].
pub const fn looks(life: u128) -> bool {
    life >> 64 == LOOKS >> 64
}

/// Fencer to executor: do you still answer?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping;

/// Executor to fencer. Nothing is said while the executor fences its own machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong;
