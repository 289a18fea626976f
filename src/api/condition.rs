//! Conditions as `kubectl wait` and kstatus read them, and the one function that changes them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Characters in a message; the rest is cut. Several faults share one message (SPEC-ERRORS.md rule 6).
pub const MESSAGE_CHARS_MAX: usize = 2048;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is judged, for example `Ready`.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub type_: String,
    /// The judgement.
    pub status: ConditionStatus,
    /// Generation of the spec that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// One word for machines, for example `NoFencingMethod`.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// For people: path, value, rule, remedy.
    #[schemars(length(max = 2048))]
    pub message: String,
}

/// `True`, `False` or `Unknown`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ConditionStatus {
    /// It does not hold.
    False,
    /// It holds.
    True,
    /// Nobody knows.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A judgement without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is judged: a constant of [`crate::names::condition`].
    pub type_: &'static str,
    /// The judgement.
    pub status: ConditionStatus,
    /// A constant of [`crate::names::reason`].
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Judgement {
    /// A judgement.
    pub fn new(
        type_: &'static str,
        status: impl Into<ConditionStatus>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, status: status.into(), reason, message: message.into() }
    }

    /// The condition that it becomes: `lastTransitionTime` moves only when `status` does, so that an unchanged
    /// judgement changes nothing and nothing is written.
    pub fn over(self, old: &[Condition], generation: Option<i64>, now: &Time) -> Condition {
        let since = old
            .iter()
            .find(|c| c.type_ == self.type_ && c.status == self.status)
            .map_or_else(|| now.clone(), |c| c.last_transition_time.clone());
        Condition {
            type_: self.type_.to_owned(),
            status: self.status,
            observed_generation: generation,
            last_transition_time: since,
            reason: self.reason.to_owned(),
            message: self.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        }
    }
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{condition::READY, reason::AS_SPECIFIED};

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).expect("in range"))
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let judge = |status: bool, text: &str| Judgement::new(READY, status, AS_SPECIFIED, text);
        let first = judge(true, "a").over(&[], Some(1), &at(1));
        let second = judge(true, "b").over(std::slice::from_ref(&first), Some(2), &at(2));
        assert_eq!(second.last_transition_time, at(1));
        let third = judge(false, "b").over(&[second], Some(2), &at(3));
        assert_eq!(third.last_transition_time, at(3));
    }
}
