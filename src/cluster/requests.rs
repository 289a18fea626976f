//! Verbs of people (CLUSTER.md section 7): what each changes in the state, and why one is refused.
//!
//! Invariants: an override names the generation that it was said against and ends with a newer one; a confirmation is
//! one-shot, bound to (node, incident), refused while the node is heard (SAFETY.md#S33); every refusal names the next step.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use base::{NodeId, ResourceId};
use fencing::Incident;
use policy::revision::{ObjectKind, SCORE_MAX};

use crate::{
    RequestKind,
    apply::Effect,
    evidence::{Evidence, Kind},
    state::{Debt, LocationOverride, NodeOverride, State},
    wire::{Message, short},
};

/// Longest announced absence of an agent (CLUSTER.md section 5).
pub(crate) const DETACH_MAX: Duration = Duration::from_secs(60);
/// Overrides of one kind that a state holds.
const OVERRIDES_MAX: usize = 4096;

impl State {
    /// Carries a request of `from`'s machine into the state.
    pub(crate) fn request(
        &mut self,
        from: NodeId,
        kind: &RequestKind,
        out: &mut Vec<Effect>,
    ) -> Result<(), String> {
        out.push(Effect::Changed);
        match kind {
            RequestKind::Leave | RequestKind::Fence { .. } if self.suspended => Err(
                "the cluster is suspended: nothing moves and nobody is fenced; run `palisade resume` first".into(),
            ),
            RequestKind::Standby(node) => self.override_node(*node, |o| o.standby = true),
            RequestKind::Maintenance(node) => self.override_node(*node, |o| o.maintenance = true),
            RequestKind::Online(node) => self.override_node(*node, |o| {
                o.standby = false;
                o.maintenance = false;
            }),
            RequestKind::Fence { node, who } => self.ask_fence(*node, who),
            RequestKind::ConfirmOff { node, incident, who } => {
                self.confirm(*node, *incident, who, out)
            }
            RequestKind::Cleanup { resource, node } => self.clean_up(resource, *node),
            RequestKind::Move { resource, to } => self.locate(resource, *to, SCORE_MAX),
            RequestKind::Ban { resource, node } => self.locate(resource, *node, -SCORE_MAX),
            RequestKind::Clear(resource) => {
                self.resource_exists(resource)?;
                self.overrides.locations.retain(|(r, _), _| r != resource);
                Ok(())
            }
            RequestKind::Restart(resource) => {
                self.resource_exists(resource)?;
                self.overrides.restarts.insert(resource.clone());
                Ok(())
            }
            RequestKind::Remove(resource) => self.remove(resource),
            RequestKind::Detach(lasts) => {
                let Some(member) = self.members.get_mut(&from) else {
                    return Err("this member is in no open era; try again when it is".into());
                };
                member.detached = Some((*lasts).min(DETACH_MAX));
                Ok(())
            }
            RequestKind::Suspend => {
                self.suspend()?;
                out.push(Effect::Suspended);
                Ok(())
            }
            RequestKind::Resume => {
                self.resume(out);
                Ok(())
            }
            RequestKind::Leave => {
                if let Some(member) = self.members.get_mut(&from) {
                    member.leaving = true;
                }
                Ok(())
            }
            RequestKind::AcceptStateLoss { .. } => {
                Err("nothing is lost: the era is open; there is nothing to accept".into())
            }
        }
    }

    fn override_node(
        &mut self,
        node: NodeId,
        change: impl FnOnce(&mut NodeOverride),
    ) -> Result<(), String> {
        if !self.voters.contains_key(&node) {
            return Err(unknown_node(node));
        }
        let generation = self.node_generation(node);
        let entry = self.overrides.nodes.entry(node).or_default();
        change(entry);
        entry.generation = generation;
        Ok(())
    }

    fn ask_fence(&mut self, node: NodeId, who: &str) -> Result<(), String> {
        let Some(voter) = self.voters.get(&node) else { return Err(unknown_node(node)) };
        if matches!(voter.debt, Debt::Paid) {
            return Err(format!(
                "node {node} is away and known to hold nothing: it is fenced already"
            ));
        }
        if !self.quorate_without(node) {
            return Err(format!(
                "without node {node} the rest would not be quorate; bring another node back first"
            ));
        }
        self.asked.insert(node, short(who));
        Ok(())
    }

    fn confirm(
        &mut self,
        node: NodeId,
        incident: Option<base::RingId>,
        who: &str,
        out: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let Some(voter) = self.voters.get(&node) else { return Err(unknown_node(node)) };
        if self.members.contains_key(&node) {
            return Err(format!("node {node} is heard: it is a member now; nothing to confirm"));
        }
        let Debt::Owed { incident: open, .. } = voter.debt else {
            return Err(format!("node {node} owes no evidence: its incident is over"));
        };
        if incident.is_some_and(|named| named != open) {
            return Err(format!(
                "the open incident of node {node} is {open}, not the one that was confirmed; look again"
            ));
        }
        if self.evidence.contains_key(&node) {
            return Err(format!("evidence about node {node} is on its way already"));
        }
        let incident = Incident { node, ring: open };
        let kind = Kind::Confirmation { incident, who: short(who) };
        out.push(Effect::Note {
            incident: Some(incident),
            text: format!("{} confirms that node {node} is off", short(who)),
        });
        self.apply(node, &Message::Evidence(Evidence { node, kind }), out);
        Ok(())
    }

    fn locate(&mut self, resource: &ResourceId, node: NodeId, score: i32) -> Result<(), String> {
        self.resource_exists(resource)?;
        if !self.voters.contains_key(&node) {
            return Err(unknown_node(node));
        }
        if self.overrides.locations.len() >= OVERRIDES_MAX {
            return Err("too many moves and bans; clear some with `palisade resource clear`".into());
        }
        if score > 0 {
            self.overrides.locations.retain(|(r, _), o| r != resource || o.score < 0);
        }
        let generation = self.placement_generation(resource);
        let key = (resource.clone(), node);
        self.overrides.locations.insert(key, LocationOverride { score, generation });
        Ok(())
    }

    fn remove(&mut self, resource: &ResourceId) -> Result<(), String> {
        let Some(revision) = &mut self.revision else { return Err(no_revision()) };
        let Some(placement) = revision.placements.iter().find(|p| p.id == *resource) else {
            return Err(unknown_resource(resource));
        };
        if !placement.retained {
            return Err(format!(
                "the object of {resource} still exists; delete it first, then remove the resource"
            ));
        }
        revision.placements.retain(|p| p.id != *resource);
        let left: Vec<ResourceId> = revision
            .placements
            .iter()
            .flat_map(|p| {
                p.members.iter().map(|m| m.id.clone()).chain(core::iter::once(p.id.clone()))
            })
            .collect();
        let whole =
            |c: &policy::revision::Constraint| c.rule.resources().iter().all(|r| left.contains(r));
        revision.constraints.retain(|c| !c.retained || whole(c));
        self.overrides.removed.insert(resource.clone());
        Ok(())
    }

    /// Forgets failures, and acts anew: of a stop that failed it is no longer known what it left, so it is tried again as
    /// after any operation that went wrong half way. Until it has ended the resource counts as running there.
    fn clean_up(&mut self, resource: &ResourceId, node: Option<NodeId>) -> Result<(), String> {
        if !self.instances.keys().any(|(r, _)| r == resource) {
            self.resource_exists(resource)?;
        }
        let whole = self.whole(resource);
        let meant = |r: &ResourceId, n: &NodeId| {
            let named = r == resource || whole.iter().any(|m| m.as_str() == r.primitive());
            named && node.is_none_or(|at| at == *n)
        };
        self.failures.retain(|(r, n), _| !meant(r, n));
        for ((r, n), instance) in &mut self.instances {
            if meant(r, n) {
                instance.last = None;
                if core::mem::take(&mut instance.stop_failed) {
                    instance.role = None;
                }
            }
        }
        self.forget_reasons();
        Ok(())
    }

    /// The primitives that a person means by this name: those of a placement, or the one.
    pub(crate) fn whole(&self, name: &ResourceId) -> Vec<ResourceId> {
        let placements = self.revision.iter().flat_map(|r| &r.placements);
        let members = placements.flat_map(|p| p.members.iter().map(move |m| (p, m)));
        members.filter(|(p, m)| p.id == *name || m.id == *name).map(|(_, m)| m.id.clone()).collect()
    }

    fn resource_exists(&self, resource: &ResourceId) -> Result<(), String> {
        let Some(revision) = &self.revision else { return Err(no_revision()) };
        let known = !resource.is_numbered() && revision.placement(resource).is_some();
        if known { Ok(()) } else { Err(unknown_resource(resource)) }
    }

    /// Generation of the `HANode` object of the node.
    pub(crate) fn node_generation(&self, node: NodeId) -> Option<i64> {
        let revision = self.revision.as_ref()?;
        let name = revision.voter(node)?.name.as_str();
        generation(revision, ObjectKind::HaNode, name)
    }

    /// Generation of the object of the placement that the resource belongs to.
    pub(crate) fn placement_generation(&self, resource: &ResourceId) -> Option<i64> {
        let revision = self.revision.as_ref()?;
        let placement = revision.placement(resource)?;
        generation(revision, ObjectKind::ResourcePlacement, placement.id.as_str())
    }
}

pub(crate) fn generation(
    revision: &policy::revision::Revision,
    kind: ObjectKind,
    name: &str,
) -> Option<i64> {
    revision.objects.iter().find(|o| o.kind == kind && o.name == name).map(|o| o.generation)
}

fn unknown_node(node: NodeId) -> String {
    format!("node {node} is no voter of this cluster; see `palisade status` for its members")
}

fn unknown_resource(resource: &ResourceId) -> String {
    format!("there is no resource {resource}; see `palisade status` for their names")
}

fn no_revision() -> String {
    "no configuration was accepted yet; apply one and wait for the condition Accepted".into()
}
