//! What an executor is told about time and quorum.
//!
//! Invariant: every bound here is computed from the configured maxima, never from adapted timers (CLUSTER.md section 5).

use core::time::Duration;

use base::Instant;
use serde::{Deserialize, Serialize};

/// Longest announced absence of the ring part (CLUSTER.md section 5).
pub const DETACH_MAX: Duration = Duration::from_secs(60);

/// What a component without quorum does with what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NoQuorumPolicy {
    /// Exclusive resources are stopped.
    #[default]
    Stop,
    /// Nothing is started, stopped or promoted; addresses still expire.
    Freeze,
}

/// Whether the configuration that this member installed has quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Quorum {
    /// It has.
    Quorate,
    /// It has not.
    Inquorate,
}

/// The times that an executor lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// Configured token timeout; half of it is how old a token may be when something begins.
    pub token: Duration,
    /// How long the ring part may be away before this member takes itself for inquorate. More than `token`.
    pub agent_restart_grace: Duration,
    /// From silence to a new membership.
    pub t_mem: Duration,
    /// How long the coordinator of an inquorate component has for stopping, and then how long the executor's own
    /// stops may take before it fences its machine.
    pub t_stop: Duration,
    /// What happens without quorum.
    pub no_quorum: NoQuorumPolicy,
}

impl Settings {
    /// Kernel lifetime of a managed address (CLUSTER.md section 8): `agentRestartGrace` + T_mem + 2 s, rounded up to
    /// whole seconds because the kernel counts in them.
    pub fn address_lifetime(&self) -> Duration {
        let sum = self.agent_restart_grace.saturating_add(self.t_mem);
        whole_seconds(sum.saturating_add(Duration::from_secs(2)))
    }

    /// How old a token may be when something begins.
    pub fn fresh(&self) -> Duration {
        self.token / 2
    }
}

/// Rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)))
}

/// A token that the ring part saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Boot-time clock of this machine when the ring part received it; an executor that lags behind its input must not
    /// take an old one for fresh.
    pub seen_at: Instant,
    /// Whether the ring is quorate and its era open; only then are addresses renewed (CLUSTER.md section 8).
    pub era_open: bool,
}
