//! Without quorum, or without tokens: what an executor does by itself (CLUSTER.md section 4, SAFETY.md#S11).

use core::time::Duration;

use base::Instant;

use crate::Quorum;

/// How far the loss of quorum has gone. A deadline lives in the state that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// There is quorum, as far as known.
    Held,
    /// There is none; the coordinator of this component has until `stop_at` to stop everything exclusive.
    Lost {
        /// Own stops begin here, except under `freeze`.
        stop_at: Instant,
    },
    /// Own stops are under way.
    Stopping {
        /// The machine is fenced here.
        give_up_at: Instant,
    },
    /// Nothing exclusive runs any more.
    Clean,
    /// The machine is being fenced; nothing else happens.
    Fenced,
}

/// Until when missing tokens are no sign of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Only the usual grace after the last token.
    Usual,
    /// The ring part announced that it goes away until then.
    Detached {
        /// At most [`crate::DETACH_MAX`] after the announcement.
        until: Instant,
    },
    /// The cluster is suspended: until the ring part says that it no longer is. Whether there was quorum is remembered.
    Suspended {
        /// The ring part's last word of it.
        quorum: Quorum,
    },
}

impl Patience {
    /// When missing tokens count as loss of quorum; `None` while suspended.
    pub(crate) fn ends(self, seen_at: Instant, grace: Duration) -> Option<Instant> {
        let usual = seen_at + grace;
        match self {
            Self::Usual => Some(usual),
            Self::Detached { until } => Some(usual.max(until)),
            Self::Suspended { .. } => None,
        }
    }
}
