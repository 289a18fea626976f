//! Which faulty rules of `base::faulty` are broken here. A build breaks one by a feature of its own, or lets a thread choose
//! (feature `sabotage`), never in a release; the crate's own tests break one by thread.
//!
//! Invariant: without a feature, and outside tests, every answer is a constant `false`.

pub(crate) use base::faulty::Rule;

/// Those that this crate has, for the test that finds each.
#[cfg(test)]
pub(crate) const ALL: [Rule; 10] = [
    Rule::CleanStopEvidence,
    Rule::DebtPreviousConfiguration,
    Rule::WipedVotes,
    Rule::NoReports,
    Rule::EraOnlyWhenBecomingQuorate,
    Rule::EvidenceNotDurable,
    Rule::QuorumHalf,
    Rule::NoFencing,
    Rule::NoDeadline,
    Rule::EpochByAge,
];

const fn by_feature(rule: Rule) -> bool {
    match rule {
        Rule::CleanStopEvidence => cfg!(feature = "sabotage-clean-stop-evidence"),
        Rule::DebtPreviousConfiguration => cfg!(feature = "sabotage-debt-previous-configuration"),
        Rule::WipedVotes => cfg!(feature = "sabotage-wiped-votes"),
        Rule::NoReports => cfg!(feature = "sabotage-no-reports"),
        Rule::EraOnlyWhenBecomingQuorate => {
            cfg!(feature = "sabotage-era-only-when-becoming-quorate")
        }
        Rule::EvidenceNotDurable => cfg!(feature = "sabotage-evidence-not-durable"),
        Rule::QuorumHalf => cfg!(feature = "sabotage-quorum-half"),
        Rule::NoFencing => cfg!(feature = "sabotage-no-fencing"),
        Rule::NoDeadline => cfg!(feature = "sabotage-no-deadline"),
        Rule::EpochByAge => cfg!(feature = "sabotage-epoch-by-age"),
        // rules of other crates
        Rule::NoReadBack
        | Rule::TimeoutIsSuccess
        | Rule::RingIdReused
        | Rule::NoReplayWindow
        | Rule::LeftoversKept
        | Rule::WatchdogByTimer
        | Rule::AnnouncedOnce
        | Rule::FailedStopIsStopped
        | Rule::ApiDecides
        | Rule::LateOrders
        | Rule::DeadNotTold => false,
        // chosen at run time only
        Rule::StartBeforeStop | Rule::FailureCountedTwice | Rule::SilenceIsDeath => false,
    }
}

/// Whether the rule is broken in this build.
#[cfg(not(any(test, feature = "sabotage")))]
pub(crate) const fn broken(rule: Rule) -> bool {
    by_feature(rule)
}

/// Whether the rule is broken in this build, or was chosen on this thread.
#[cfg(all(feature = "sabotage", not(test)))]
pub(crate) fn broken(rule: Rule) -> bool {
    by_feature(rule) || base::faulty::broken(rule)
}

#[cfg(test)]
std::thread_local! {
    /// Broken in this thread of a test.
    pub(crate) static BROKEN: core::cell::Cell<Option<Rule>> = const { core::cell::Cell::new(None) };
}

/// Whether the rule is broken in this build, or in this thread of a test.
#[cfg(test)]
pub(crate) fn broken(rule: Rule) -> bool {
    by_feature(rule) || BROKEN.get() == Some(rule)
}

/// How much too small a majority is.
pub(crate) fn short_majority() -> usize {
    usize::from(broken(Rule::QuorumHalf))
}
