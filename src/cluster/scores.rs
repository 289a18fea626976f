//! Promotion scores: how much instances want to be promoted where they are, by their own word.
//!
//! Invariants: a member says them of itself alone, in each era anew, with its report; nobody else's word and no older era's
//! counts (CLUSTER.md sections 2 and 3.5). They are wishes: what may be promoted is decided as for any promotion.

use alloc::{collections::BTreeMap, vec::Vec};

use base::{Epoch, NodeId, ResourceId};
use lifecycle::{PromotionScore, SCORES_MAX};
use serde::{Deserialize, Serialize};

use crate::{member::Member, state::State, wire::Message};

/// What a score is bounded by: Pacemaker's infinity.
const SCORE_MAX: i32 = 1_000_000;

/// Of all members that have said some in this era.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scores(BTreeMap<NodeId, BTreeMap<ResourceId, i32>>);

impl Scores {
    /// Of one member.
    pub(crate) fn of(&self, node: NodeId) -> impl Iterator<Item = (&ResourceId, i32)> {
        self.0.get(&node).into_iter().flatten().map(|(resource, score)| (resource, *score))
    }

    /// They belong to their era.
    pub(crate) fn forget_all(&mut self) {
        self.0.clear();
    }

    pub(crate) fn forget(&mut self, node: NodeId) {
        self.0.remove(&node);
    }
}

impl State {
    /// All that the executor of `from` knows of its instances' wishes.
    pub(crate) fn scored(&mut self, from: NodeId, scores: &[PromotionScore]) {
        if self.members.get(&from).is_none_or(|m| m.left) {
            return;
        }
        let said: BTreeMap<ResourceId, i32> = scores
            .iter()
            .take(SCORES_MAX)
            .map(|s| (s.resource.clone(), s.score.clamp(-SCORE_MAX, SCORE_MAX)))
            .collect();
        if said.is_empty() {
            self.scores.forget(from);
        } else {
            self.scores.0.insert(from, said);
        }
    }
}

impl Member {
    /// The executor of this machine says so in that epoch.
    pub(crate) fn say_scores(&mut self, epoch: Epoch, scores: Vec<PromotionScore>) {
        let epoch_now = self.installed.as_ref().and_then(crate::era::Installed::epoch);
        if Some(epoch) == epoch_now && self.era_open() && !self.has_left() {
            self.say(&Message::Scores(scores));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use base::RingId;

    use super::*;
    use crate::wire;

    fn node() -> NodeId {
        NodeId::new(1).expect("not zero")
    }

    fn ring() -> RingId {
        RingId { seq: 7, rep: node() }
    }

    fn score(resource: &str, score: i32) -> PromotionScore {
        PromotionScore { resource: resource.parse().expect("valid"), score }
    }

    #[test]
    fn a_state_of_the_version_before_is_read_and_reads_the_half_that_it_knows() {
        let mut state = State::empty(ring(), node(), &[node()]);
        let bytes = wire::encode(&state);
        let (empty, before) = bytes.split_last().expect("not empty");
        assert_eq!(*empty, 0, "the earlier version ended in front of the empty list");
        assert_eq!(wire::decode::<State>(before, 1 << 20), Some(state.clone()));

        // what comes after its own last field the earlier version does not look at
        state.scores.0.insert(node(), [("db".parse().expect("valid"), 5)].into());
        let bytes = wire::encode(&state);
        assert!(bytes.starts_with(before));
        assert_eq!(wire::decode::<State>(&bytes, 1 << 20), Some(state));
    }

    #[test]
    fn who_is_no_member_has_no_score_and_none_is_beyond_its_bounds() {
        let mut state = State::empty(ring(), node(), &[node()]);
        state.scored(node(), &[score("db", 5)]);
        assert_eq!(state.scores, Scores::default());
        let present = crate::state::Present {
            incarnation: base::Incarnation { counter: 1, random: 1 },
            boot: base::BootId(1),
            uuid: None,
            reported: false,
            left: false,
            leaving: false,
            detached: None,
        };
        state.members.insert(node(), present);
        state.scored(node(), &[score("db", i32::MAX), score("web", i32::MIN)]);
        let kept: Vec<i32> = state.scores.of(node()).map(|(_, score)| score).collect();
        assert_eq!(kept, [SCORE_MAX, -SCORE_MAX]);
        state.scored(node(), &vec![score("db", 1); 2 * SCORES_MAX]);
        assert_eq!(state.scores.of(node()).count(), 1);
        state.scored(node(), &[]);
        assert_eq!(state.scores, Scores::default());
    }
}
