//! A compiled revision becomes part of the state (CLUSTER.md sections 1 and 7).
//!
//! Invariants: accepted in order, held when a generation goes backwards; one voter more or less at a time, in an open
//! era, in effect when durable on majorities of the old and of the new set; what is retained stays although its object is
//! gone; an override ends when a newer generation arrives.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use base::NodeId;
use policy::revision::{ObjectVersion, REVISION_FORMAT, Revision, VOTERS_MAX};

use crate::{
    apply::Effect,
    requests::generation,
    state::{Debt, State, Voter, VoterChange},
};

/// Bytes of one encoded revision.
pub(crate) const REVISION_MAX: usize = 4 * 1024 * 1024;

/// One voter more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    add: Option<NodeId>,
    remove: Option<NodeId>,
}

impl State {
    /// Whether proposing this revision would change anything. What is held from an older proposal ends with the next one
    /// that is accepted, be it the accepted one once more.
    pub(crate) fn wants(&self, offered: &Revision) -> bool {
        self.held.is_some()
            || self.revision.as_ref().is_none_or(|accepted| {
                accepted.objects != offered.objects || accepted.cluster != offered.cluster
            })
    }

    /// Takes a whole revision, or holds it with a reason in the state.
    pub(crate) fn accept(&mut self, revision: &Revision, out: &mut Vec<Effect>) {
        match self.check(revision) {
            Err(why) => self.held = Some(why),
            Ok(change) => {
                self.held = None;
                self.take(revision, change, out);
            }
        }
        out.push(Effect::Changed);
    }

    fn check(&self, new: &Revision) -> Result<Option<Step>, String> {
        if new.format > REVISION_FORMAT {
            return Err(format!(
                "SpecRegressed: revision format {} is newer than this agent reads ({REVISION_FORMAT}); upgrade it",
                new.format
            ));
        }
        if new.voters.len() > VOTERS_MAX || new.voters.is_empty() {
            return Err(format!("the cluster must have 1 to {VOTERS_MAX} members"));
        }
        if new.voters.len() == 2 {
            return Err(
                "two members need the two-node options, which are not built yet; add a third member".into(),
            );
        }
        if let Some(accepted) = &self.revision
            && let Some(object) = new.regressed_from(accepted)
        {
            return Err(regressed(object));
        }
        self.voter_change(new)
    }

    /// One more, one less, or none; anything larger is refused (CLUSTER.md section 1).
    fn voter_change(&self, new: &Revision) -> Result<Option<Step>, String> {
        let wanted: BTreeSet<NodeId> = new.voters.iter().map(|v| v.id).collect();
        let have: BTreeSet<NodeId> = self.voters.keys().copied().collect();
        let added: Vec<NodeId> = wanted.difference(&have).copied().collect();
        let removed: Vec<NodeId> = have.difference(&wanted).copied().collect();
        match (added.as_slice(), removed.as_slice()) {
            ([], []) => Ok(None),
            ([_], []) | ([], [_]) if self.change.is_some() => Err(
                "the last change of members has not yet taken effect; it is accepted after that"
                    .into(),
            ),
            ([node], []) => Ok(Some(Step { add: Some(*node), remove: None })),
            ([], [node]) => {
                let paid = self.voters.get(node).is_none_or(|v| v.debt == Debt::Paid);
                if paid {
                    Ok(Some(Step { add: None, remove: Some(*node) }))
                } else {
                    Err(format!(
                        "node {node} cannot be removed: it is a member, or away without evidence that it holds \
                         nothing; stop its agent with `palisade node leave`, or confirm that it is off, then try again"
                    ))
                }
            }
            _ => Err("more than one member was added or removed; change one at a time".into()),
        }
    }

    fn take(&mut self, new: &Revision, change: Option<Step>, out: &mut Vec<Effect>) {
        let mut revision = new.clone();
        if let Some(old) = &self.revision {
            revision.keep_retained(old, &self.overrides.removed);
        }
        self.accepted = self.accepted.saturating_add(1);
        self.end_overrides(&revision);
        let names: Vec<_> = revision.placements.iter().map(|p| p.id.clone()).collect();
        self.overrides.removed.retain(|r| !names.contains(r));
        self.revision = Some(revision);
        if let Some(Step { add, remove }) = change {
            let held = BTreeSet::new();
            self.change = Some(VoterChange { add, remove, accepted: self.accepted, held });
            out.push(Effect::HoldVoters { accepted: self.accepted });
        }
    }

    /// An override ends when a newer generation of its object arrives.
    fn end_overrides(&mut self, new: &Revision) {
        use policy::revision::ObjectKind::{HaNode, ResourcePlacement};
        let newer = |now: Option<i64>, then: Option<i64>| now.is_some() && now > then;
        self.overrides.nodes.retain(|node, o| {
            let now = new.voter(*node).and_then(|v| generation(new, HaNode, v.name.as_str()));
            !newer(now, o.generation)
        });
        self.overrides.locations.retain(|(resource, _), o| {
            let now = new
                .placement(resource)
                .and_then(|p| generation(new, ResourcePlacement, p.id.as_str()));
            !newer(now, o.generation)
        });
    }

    /// A member's disk holds the change.
    pub(crate) fn voters_held(&mut self, from: NodeId, accepted: u64, out: &mut Vec<Effect>) {
        let Some(change) = &mut self.change else { return };
        if change.accepted != accepted {
            return;
        }
        change.held.insert(from);
        let old: BTreeSet<NodeId> = self.voters.keys().copied().collect();
        let mut new = old.clone();
        new.extend(change.add);
        if let Some(gone) = change.remove {
            new.remove(&gone);
        }
        let on = |set: &BTreeSet<NodeId>| {
            change.held.intersection(set).count() >= crate::majority(set.len())
        };
        if !on(&old) || !on(&new) {
            return;
        }
        let (add, remove) = (change.add, change.remove);
        self.change = None;
        if let Some(node) = add {
            let present = self.members.contains_key(&node);
            let incident = self.position.era;
            let owed = Debt::Owed { incident, incarnation: None, boot: None };
            let debt = if present { Debt::Present } else { owed };
            let voter = Voter::unseen(debt);
            self.voters.insert(node, voter);
        }
        if let Some(node) = remove {
            self.voters.remove(&node);
            self.let_in(node);
            self.intents.remove(&node);
            self.evidence.remove(&node);
            self.asked.remove(&node);
        }
        out.push(Effect::Changed);
    }
}

/// Why an offer is not even proposed.
pub(crate) fn regressed(object: &ObjectVersion) -> String {
    format!(
        "SpecRegressed: {:?} {} is older than what was accepted (generation {}): the API server was restored or is stale; \
         apply the newest manifests again",
        object.kind, object.name, object.generation
    )
}
