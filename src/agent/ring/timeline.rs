//! The last things that happened, for `palisade timeline`.

use std::collections::VecDeque;

use base::Instant;

use crate::{clock, local::TimelineEntry};

/// Entries that are kept.
pub(super) const ENTRIES_MAX: usize = 1000;
/// Longest text of one.
const TEXT_CHARS_MAX: usize = 300;

/// A bounded list, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Timeline(VecDeque<TimelineEntry>);

impl Timeline {
    /// Adds one.
    pub(super) fn add(&mut self, now: Instant, kind: &str, text: &str) {
        if self.0.len() == ENTRIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(TimelineEntry {
            at_ms: clock::wall_ms(),
            boot_us: now.0,
            kind: kind.into(),
            text: text.chars().take(TEXT_CHARS_MAX).collect(),
        });
    }

    /// The newest `limit`.
    pub(super) fn last(&self, limit: u16) -> Vec<TimelineEntry> {
        let skip = self.0.len().saturating_sub(limit.into());
        self.0.iter().skip(skip).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let mut timeline = Timeline::default();
        for number in 0..ENTRIES_MAX + 5 {
            timeline.add(Instant::ZERO, "ring", &number.to_string());
        }
        let last = timeline.last(u16::MAX);
        assert_eq!(last.len(), ENTRIES_MAX);
        assert_eq!(last.last().map(|e| e.text.as_str()), Some("1004"));
        assert_eq!(timeline.last(2).len(), 2);
    }
}
