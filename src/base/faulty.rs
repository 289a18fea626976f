//! Faulty rules that checks must find (CLUSTER.md section 3, SAFETY.md 2.5): one switch each, asked beside the rule that it
//! breaks.
//!
//! Invariant: without the feature `sabotage` every answer is a constant `false`, and no name of a rule is in the build.
//! With it a thread chooses one rule at a time, or a whole process some, so that one build tries them all.

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Who reported that everything is stopped owes nothing (section 3.4).
    CleanStopEvidence,
    /// Only members of the configuration before owe (section 3.4).
    DebtPreviousConfiguration,
    /// Promises of wiped and restored disks count (section 3.2).
    WipedVotes,
    /// What the state says stands in for reports (section 3.5).
    NoReports,
    /// An executor compares epochs for age (section 4; SAFETY.md 2.5, 2).
    EpochByAge,
    /// A configuration that follows a quorate one goes on with its era (section 3, first words).
    EraOnlyWhenBecomingQuorate,
    /// Evidence takes effect when it is delivered (section 3.6).
    EvidenceNotDurable,
    /// Half of the voters are a quorum (2.5, 1).
    QuorumHalf,
    /// "Off" is said when the command was accepted (2.5, 3).
    NoReadBack,
    /// Silence of the device after the command is taken for off (2.5, 4).
    TimeoutIsSuccess,
    /// Recovery needs no evidence (2.5, 6).
    NoFencing,
    /// A lost disk goes on with ring ids that it had used (2.5, 7).
    RingIdReused,
    /// A datagram is taken however often it comes (2.5, 8).
    NoReplayWindow,
    /// What an older life of the executor left behind is not removed (2.5, 9).
    LeftoversKept,
    /// Commands have no deadline (2.5, 12).
    NoDeadline,
    /// The watchdog is fed by a timer apart from the main loop (2.5, 20).
    WatchdogByTimer,
    /// A start does not wait for the stop elsewhere (2.5, 5).
    StartBeforeStop,
    /// An address is announced once (2.5, 18).
    AnnouncedOnce,
    /// Each failure is counted twice (2.5, 13).
    FailureCountedTwice,
    /// A stop that failed is taken for one that ended (SAFETY.md#S2).
    FailedStopIsStopped,
    /// Who is silent is dead: no probe, no grace (CLUSTER.md section 5).
    SilenceIsDeath,
    /// Without the API nothing is ordered (CLUSTER.md section 7).
    ApiDecides,
    /// An order is begun however late it is (SAFETY.md#S7): what hides [`Self::EpochByAge`] on a machine.
    LateOrders,
    /// Load balancers do not hear which machines are proven dead (docs/haproxy.md).
    DeadNotTold,
}

impl Rule {
    /// All of them: the seven of CLUSTER.md section 3 first.
    pub const ALL: [Self; 24] = [
        Self::CleanStopEvidence,
        Self::DebtPreviousConfiguration,
        Self::WipedVotes,
        Self::NoReports,
        Self::EpochByAge,
        Self::EraOnlyWhenBecomingQuorate,
        Self::EvidenceNotDurable,
        Self::QuorumHalf,
        Self::NoReadBack,
        Self::TimeoutIsSuccess,
        Self::NoFencing,
        Self::RingIdReused,
        Self::NoReplayWindow,
        Self::LeftoversKept,
        Self::NoDeadline,
        Self::WatchdogByTimer,
        Self::StartBeforeStop,
        Self::AnnouncedOnce,
        Self::FailureCountedTwice,
        Self::FailedStopIsStopped,
        Self::SilenceIsDeath,
        Self::ApiDecides,
        Self::LateOrders,
        Self::DeadNotTold,
    ];

    /// As it is written on the command line.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CleanStopEvidence => "clean-stop-evidence",
            Self::DebtPreviousConfiguration => "debt-previous-configuration",
            Self::WipedVotes => "wiped-votes",
            Self::NoReports => "no-reports",
            Self::EpochByAge => "epoch-by-age",
            Self::EraOnlyWhenBecomingQuorate => "era-only-when-becoming-quorate",
            Self::EvidenceNotDurable => "evidence-not-durable",
            Self::QuorumHalf => "quorum-half",
            Self::NoReadBack => "no-read-back",
            Self::TimeoutIsSuccess => "timeout-is-success",
            Self::NoFencing => "no-fencing",
            Self::RingIdReused => "ring-id-reused",
            Self::NoReplayWindow => "no-replay-window",
            Self::LeftoversKept => "leftovers-kept",
            Self::NoDeadline => "no-deadline",
            Self::WatchdogByTimer => "watchdog-by-timer",
            Self::StartBeforeStop => "start-before-stop",
            Self::AnnouncedOnce => "announced-once",
            Self::FailureCountedTwice => "failure-counted-twice",
            Self::FailedStopIsStopped => "failed-stop-is-stopped",
            Self::SilenceIsDeath => "silence-is-death",
            Self::ApiDecides => "api-decides",
            Self::LateOrders => "late-orders",
            Self::DeadNotTold => "dead-not-told",
        }
    }

    /// The rule of that name.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

#[cfg(feature = "sabotage")]
std::thread_local! {
    static CHOSEN: core::cell::Cell<Option<Rule>> = const { core::cell::Cell::new(None) };
}

/// The rules that are broken on all threads, a bit each.
#[cfg(feature = "sabotage")]
static EVERYWHERE: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

/// Breaks this rule too in the whole process from now on: what a program with several threads wants. More than one, because
/// what one rule lets through another may hold back.
#[cfg(feature = "sabotage")]
pub fn choose_everywhere(rule: Rule) {
    EVERYWHERE.fetch_or(1 << rule as u32, core::sync::atomic::Ordering::Relaxed);
}

/// Breaks this rule, and no other, in everything that runs on this thread from now on.
#[cfg(feature = "sabotage")]
pub fn choose(rule: Option<Rule>) {
    CHOSEN.set(rule);
}

/// Whether the rule is broken on this thread, or everywhere.
#[cfg(feature = "sabotage")]
#[must_use]
pub fn broken(rule: Rule) -> bool {
    CHOSEN.get() == Some(rule)
        || EVERYWHERE.load(core::sync::atomic::Ordering::Relaxed) & (1 << rule as u32) != 0
}

/// Whether the rule is broken: in this build none is.
#[cfg(not(feature = "sabotage"))]
#[must_use]
pub const fn broken(_rule: Rule) -> bool {
    false
}
