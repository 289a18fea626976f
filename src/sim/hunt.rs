//! Which checks mean which faulty rule: a hunt that ends with another one has found something, but not that.

use base::faulty::Rule;

use crate::checks::ONE_HISTORY;

/// The invariants of SAFETY.md that the rule serves.
pub const fn meant_by(rule: Rule) -> &'static [&'static str] {
    match rule {
        // who starts what somebody else may still hold
        Rule::CleanStopEvidence | Rule::DebtPreviousConfiguration | Rule::NoFencing => {
            &["S1", "S2", "S3"]
        }
        Rule::WipedVotes => &["S1", "S2", "S3", "S12"],
        Rule::NoReports => &["S1", "S2", "S3"],
        Rule::EpochByAge => &["S9", "S14"],
        Rule::EraOnlyWhenBecomingQuorate => &["S1", "S2", "S3", "S9", "S14", ONE_HISTORY],
        Rule::EvidenceNotDurable => &["S3", "S6"],
        Rule::QuorumHalf => &["S1", "S2", "S5", "S6", "S9", "S10"],
        Rule::NoReadBack | Rule::TimeoutIsSuccess => &["S4"],
        Rule::RingIdReused => &["S12"],
        // nobody sends datagrams again here: the lab's `replayed` does (S28)
        Rule::NoReplayWindow => &[],
        Rule::LeftoversKept => &["S1", "S2", "S31"],
        Rule::NoDeadline => &["S7"],
        Rule::WatchdogByTimer => &["S11"],
        // seen by the lab's scenarios, on machines
        Rule::StartBeforeStop
        | Rule::AnnouncedOnce
        | Rule::FailureCountedTwice
        | Rule::FailedStopIsStopped
        | Rule::SilenceIsDeath
        | Rule::ApiDecides
        | Rule::LateOrders
        | Rule::DeadNotTold => &[],
    }
}

/// The rules that this world can find: those that some check of it means.
#[cfg(feature = "sabotage")]
pub fn rules() -> impl Iterator<Item = Rule> {
    Rule::ALL.into_iter().filter(|rule| !meant_by(*rule).is_empty())
}
