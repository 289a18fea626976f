//! One failure of one member: its phases one after the other, and what was said meanwhile.

use agent::{
    local::TimelineEntry,
    status::{IncidentStatus, Phases},
};

/// Entries from this long before the last token ...
const BEFORE_MS: u64 = 100;
/// ... to this long after the last phase: the return of the machine belongs to it.
const AFTER_MS: u64 = 60_000;
/// Shown at most; the first ones, which are the failure itself.
const ENTRIES_MAX: usize = 60;

/// A phase that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// What it is, in words.
    pub(super) what: &'static str,
    /// From the last token.
    pub(super) begin_ms: u64,
    pub(super) ms: u64,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incident {
    /// Whose word this is.
    pub(super) seen_by: String,
    pub(super) status: IncidentStatus,
    pub(super) phases: Vec<Phase>,
    /// With milliseconds from the last token, negative before it.
    pub(crate) entries: Vec<(i64, TimelineEntry)>,
}

impl Incident {
    pub(super) fn new(seen_by: &str, status: IncidentStatus, all: &[TimelineEntry]) -> Self {
        let phases = phases(&status.phases_ms);
        let total = total_ms(&phases);
        let (from, to) = (status.at_ms.saturating_sub(BEFORE_MS), status.at_ms + total + AFTER_MS);
        let entries = all
            .iter()
            .filter(|entry| (from..=to).contains(&entry.at_ms))
            .take(ENTRIES_MAX)
            .map(|entry| (entry.at_ms.cast_signed() - status.at_ms.cast_signed(), entry.clone()))
            .collect();
        Self { seen_by: seen_by.to_owned(), status, phases, entries }
    }

    pub(super) fn total_ms(&self) -> u64 {
        total_ms(&self.phases)
    }
}

fn total_ms(phases: &[Phase]) -> u64 {
    phases.iter().map(|phase| phase.begin_ms + phase.ms).max().unwrap_or(0)
}

/// In their order; one that did not happen, or was not seen by this member, is left out.
fn phases(ms: &Phases) -> Vec<Phase> {
    let mut begin_ms = 0;
    ms.parts()
        .into_iter()
        .zip(WHAT)
        .filter_map(|((name, ms), what)| {
            let ms = ms?;
            let phase = Phase { name, what, begin_ms, ms };
            begin_ms += ms;
            Some(phase)
        })
        .collect()
}

/// What happens in each of [`Phases::parts`].
const WHAT: [&str; 7] = [
    "no token came: it was given up",
    "those who are left formed a ring and opened an era",
    "the coordinator decided what to do",
    "its BMC was told to cut the power",
    "the power was read until it was off, and that is durable",
    "what it ran runs elsewhere",
    "the network was told, until a peer saw it",
];

#[cfg(test)]
pub(super) fn specimen() -> Incident {
    let entry = |at_ms, kind: &str, text: &str| TimelineEntry {
        at_ms,
        boot_us: 0,
        kind: kind.into(),
        text: text.into(),
    };
    let phases_ms = Phases {
        detect: Some(400),
        agree: Some(130),
        plan: Some(5),
        fence: Some(12),
        verify: Some(310),
        recover: Some(60),
        announce: None,
    };
    let status = IncidentStatus {
        node: "n1".into(),
        incident: "2.2a".into(),
        at_ms: 1_700_000_000_000,
        phases_ms,
    };
    let all = [
        entry(1_699_999_000_000, "agent", "long before"),
        entry(1_700_000_000_402, "ring", "the token was lost"),
        entry(1_700_000_000_540, "era", "2.2a open <with & without>"),
    ];
    Incident::new("n2", status, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_and_only_its_own_time_is_shown() {
        let incident = specimen();
        assert_eq!(incident.total_ms(), 917);
        let begins: Vec<u64> = incident.phases.iter().map(|phase| phase.begin_ms).collect();
        assert_eq!(begins, [0, 400, 530, 535, 547, 857]);
        let at: Vec<i64> = incident.entries.iter().map(|(at, _)| *at).collect();
        assert_eq!(at, [402, 540], "what was long before is another matter");
    }
}
