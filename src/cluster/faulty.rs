//! Faulty rules that checks must find (CLUSTER.md section 3, SAFETY.md 2.5): one switch each, asked beside the rule that it
//! breaks. A build switches one on by a feature, never in a release; the crate's own tests switch one on by thread.
//!
//! Invariant: without a feature, and outside tests, every answer is a constant `false`.

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Who reported that everything is stopped owes nothing (section 3.4).
    CleanStopEvidence,
    /// Only members of the configuration before owe (section 3.4).
    DebtPreviousConfiguration,
    /// Promises of wiped and restored disks count (section 3.2).
    WipedVotes,
    /// What the state says stands in for reports (section 3.5).
    NoReports,
    /// A configuration that follows a quorate one goes on with its era (section 3, first words).
    EraOnlyWhenBecomingQuorate,
    /// Evidence takes effect when it is delivered (section 3.6).
    EvidenceNotDurable,
    /// Half of the voters are a quorum (SAFETY.md 2.5, 1).
    QuorumHalf,
    /// Recovery needs no evidence (SAFETY.md 2.5, 6).
    NoFencing,
    /// Commands have no deadline (SAFETY.md 2.5, 12).
    NoDeadline,
    /// An executor compares epochs for age (section 4); the switch is in `lifecycle`.
    #[cfg(test)]
    EpochByAge,
}

impl Rule {
    /// All, for the test that finds each.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 10] = [
        Self::CleanStopEvidence,
        Self::DebtPreviousConfiguration,
        Self::WipedVotes,
        Self::NoReports,
        Self::EraOnlyWhenBecomingQuorate,
        Self::EvidenceNotDurable,
        Self::QuorumHalf,
        Self::NoFencing,
        Self::NoDeadline,
        Self::EpochByAge,
    ];

    const fn by_feature(self) -> bool {
        match self {
            Self::CleanStopEvidence => cfg!(feature = "sabotage-clean-stop-evidence"),
            Self::DebtPreviousConfiguration => {
                cfg!(feature = "sabotage-debt-previous-configuration")
            }
            Self::WipedVotes => cfg!(feature = "sabotage-wiped-votes"),
            Self::NoReports => cfg!(feature = "sabotage-no-reports"),
            Self::EraOnlyWhenBecomingQuorate => {
                cfg!(feature = "sabotage-era-only-when-becoming-quorate")
            }
            Self::EvidenceNotDurable => cfg!(feature = "sabotage-evidence-not-durable"),
            Self::QuorumHalf => cfg!(feature = "sabotage-quorum-half"),
            Self::NoFencing => cfg!(feature = "sabotage-no-fencing"),
            Self::NoDeadline => cfg!(feature = "sabotage-no-deadline"),
            #[cfg(test)]
            Self::EpochByAge => cfg!(feature = "sabotage-epoch-by-age"),
        }
    }
}

/// Whether the rule is broken in this build.
#[cfg(not(test))]
pub(crate) const fn broken(rule: Rule) -> bool {
    rule.by_feature()
}

#[cfg(test)]
std::thread_local! {
    /// Broken in this thread of a test.
    pub(crate) static BROKEN: core::cell::Cell<Option<Rule>> = const { core::cell::Cell::new(None) };
}

/// How much too small a majority is.
pub(crate) fn short_majority() -> usize {
    usize::from(broken(Rule::QuorumHalf))
}

/// Whether the rule is broken in this build, or in this thread of a test.
#[cfg(test)]
pub(crate) fn broken(rule: Rule) -> bool {
    rule.by_feature() || BROKEN.get() == Some(rule)
}
