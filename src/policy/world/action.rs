//! Actions and the order among them, before they are known to happen.

use alloc::{string::String, vec::Vec};
use core::ops::{BitAnd, BitOr, BitOrAssign};

use crate::plan::FenceAction;

use super::{ActIx, NodeIx, ResIx};

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $flag:ident = $bit:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name(u32);
        impl $name {
            $($(#[$fdoc])* pub(crate) const $flag: Self = Self(1 << $bit);)*
            pub(crate) const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
            pub(crate) const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
            pub(crate) const fn or(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
        impl BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.or(other)
            }
        }
        impl BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }
        impl BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }
    };
}

flags!(
    /// State of an action.
    ActFlags {
        /// It need not happen.
        OPTIONAL = 0;
        /// It can happen.
        RUNNABLE = 1;
        /// Nothing is sent for it.
        PSEUDO = 2;
        /// It stays in the plan although optional, because another that is in it is ordered by it.
        KEEP = 3;
        /// It becomes runnable only when enough of those before it are.
        MIN_RUNNABLE = 4;
        /// Of a clone as orders see it: what is required of its copies cannot happen.
        IN_VAIN = 5;
        /// Part of a live migration: the stop is no end and the start no beginning of the service.
        MIGRATES = 6;
        /// Removes what a migration left on its source; says nothing of the resource itself.
        DANGLING = 7;
    }
);

flags!(
    /// How one action binds another.
    OrderFlags {
        /// Only when both happen.
        ORDERED = 0;
        /// If the first is required, so is the second.
        FIRST_IMPLIES_THEN = 1;
        /// If the second is required, so is the first.
        THEN_IMPLIES_FIRST = 2;
        /// As the last, while the second's resource is promoted.
        PROMOTED_THEN_IMPLIES_FIRST = 3;
        /// The second can only run if the first can.
        UNRUNNABLE_FIRST_BLOCKS = 4;
        /// The first is half of a restart.
        INTERMEDIATE_STOP = 5;
        /// The second can run if enough of the firsts can.
        MIN_RUNNABLE = 6;
        /// Not symmetrical: binds starts only.
        ASYMMETRIC = 7;
        /// If the second is in the plan, so is the first.
        THEN_IMPLIES_FIRST_KEPT = 8;
        /// If the first is in the plan, so is the second.
        FIRST_IMPLIES_THEN_KEPT = 9;
        /// Holds only on the same node.
        SAME_NODE = 10;
        /// If the first is required, so is the second on the same node.
        FIRST_IMPLIES_SAME_NODE_THEN = 11;
        /// Never at the same time.
        SERIALIZE = 12;
        /// A required second cancels the first.
        THEN_CANCELS_FIRST = 13;
        /// Configured by a person: the first to give way where orders run in a circle.
        CONFIGURED = 14;
        /// If the second is no part of a migration any more, or cannot run, neither can the first.
        LOST_WITH_THEN = 15;
        /// If the first cannot run, the second must really be done.
        STANDS_FOR_THEN = 16;
        /// Holds only if the first is no mere part of a migration.
        UNLESS_FIRST_MIGRATES = 17;
    }
);

impl OrderFlags {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Start,
    Started,
    Stop,
    Stopped,
    Promote,
    Promoted,
    Demote,
    Demoted,
    Probe,
    Monitor,
    Cancel,
    Notify,
    Notified,
    Reload,
    MigrateTo,
    MigrateFrom,
    Delete,
    ClearFailures,
    Fence,
    Unfence,
    Shutdown,
    /// An ordering point between constraints.
    Sync,
}

impl Verb {
    /// What completes it, for groups and clones.
    pub(crate) const fn completed(self) -> Self {
        match self {
            Self::Start => Self::Started,
            Self::Stop => Self::Stopped,
            Self::Promote => Self::Promoted,
            Self::Demote => Self::Demoted,
            Self::Notify => Self::Notified,
            other => other,
        }
    }

    /// What it completes.
    pub(crate) const fn begun(self) -> Self {
        match self {
            Self::Started => Self::Start,
            Self::Stopped => Self::Stop,
            Self::Promoted => Self::Promote,
            Self::Demoted => Self::Demote,
            Self::Notified => Self::Notify,
            other => other,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Started => "running",
            Self::Stop => "stop",
            Self::Stopped => "stopped",
            Self::Promote => "promote",
            Self::Promoted => "promoted",
            Self::Demote => "demote",
            Self::Demoted => "demoted",
            Self::Probe | Self::Monitor => "monitor",
            Self::Cancel => "cancel",
            Self::Notify => "notify",
            Self::Notified => "notified",
            Self::Reload => "reload-agent",
            Self::MigrateTo => "migrate_to",
            Self::MigrateFrom => "migrate_from",
            Self::Delete => "delete",
            Self::ClearFailures => "clear_failcount",
            Self::Fence => "fence",
            Self::Unfence => "unfence",
            Self::Shutdown => "shutdown",
            Self::Sync => "sync",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Start, Self::Stop, Self::Promote, Self::Demote]
            .into_iter()
            .find(|verb| verb.name() == text)
    }
}

/// What must hold for an action to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Quorum,
    Fencing,
}

/// One action.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) verb: Verb,
    pub(crate) res: Option<ResIx>,
    pub(crate) node: Option<NodeIx>,
    /// Interval of a recurring operation, or of the one that is cancelled.
    pub(crate) interval_ms: u64,
    /// Distinguishes notifications and cancelled operations of one kind.
    pub(crate) label: String,
    pub(crate) flags: ActFlags,
    pub(crate) needs: Needs,
    pub(crate) before: Vec<Edge>,
    pub(crate) after: Vec<Edge>,
    /// For `MIN_RUNNABLE`.
    pub(crate) required_before: u32,
    pub(crate) fence: FenceAction,
    /// Why it is required or cannot run, for explanations.
    pub(crate) why: &'static str,
    /// The action without which this one cannot run.
    pub(crate) blocked_by: Option<ActIx>,
    /// The action that made this one necessary.
    pub(crate) required_by: Option<ActIx>,
    /// Waits in the work list of the order stage.
    pub(crate) queued: bool,
    /// Of a group's or clone's action: what is inside says as a whole, and after how many changes it said so.
    pub(crate) whole: Option<(u64, ActFlags)>,
}

/// An action before or after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) other: ActIx,
    pub(crate) flags: OrderFlags,
}

/// One end of an order between actions that may not exist yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderEnd {
    /// This action.
    Act(ActIx),
    /// Whatever actions of this kind the resource gets.
    Of(ResIx, Verb),
}

/// An order between actions that may not exist yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderRule {
    pub(crate) first: OrderEnd,
    pub(crate) then: OrderEnd,
    pub(crate) flags: OrderFlags,
}

impl Act {
    pub(crate) fn optional(&self) -> bool {
        self.flags.has(ActFlags::OPTIONAL)
    }
    pub(crate) fn runnable(&self) -> bool {
        self.flags.has(ActFlags::RUNNABLE)
    }
    pub(crate) fn pseudo(&self) -> bool {
        self.flags.has(ActFlags::PSEUDO)
    }
    pub(crate) fn set(&mut self, flags: ActFlags) {
        self.flags |= flags;
    }
    pub(crate) fn clear(&mut self, flags: ActFlags) {
        self.flags = self.flags.without(flags);
    }
}
