//! The snapshot of one member's view, for `palisade status` and the mirror.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use base::{NodeId, NodeName};
use fencing::Incident;

use crate::{
    Status,
    era::Installed,
    member::Member,
    merge::Merged,
    power::owes_text,
    state::{Debt, State},
    status::{Condition, InstanceStatus, NodeStatus, OperationStatus, RevisionStatus},
};

impl Member {
    /// What this member sees.
    pub fn status(&self) -> Status {
        let installed = self.installed.as_ref();
        let merged = installed.and_then(|i| i.merged.as_ref());
        let mut status = Status {
            me: Some(self.config.me),
            ring: self.ring_id(),
            quorate: !self.ringless
                && !self.suspension.stopped
                && merged.is_some_and(|m| m.quorate),
            state_era: self.state.as_ref().map(|s| s.position.era),
            epoch: installed.and_then(Installed::epoch),
            coordinator: merged.and_then(|m| m.coordinator),
            stalled: self.gap > 0,
            ..Status::default()
        };
        if self.era_open() {
            status.era = status.state_era;
        }
        let mut conditions = self.conditions.clone();
        self.local_conditions(&mut conditions);
        if let Some(state) = &self.state {
            status.suspended = state.suspended;
            status.revision = revision(state);
            status.nodes = self.nodes(state);
            status.instances = instances(state);
            status.operations = operations(state);
            state_conditions(state, &mut conditions);
        }
        status.conditions = conditions.into_iter().collect();
        status.ails = self.ails_of_all();
        status.devices = self.devices_said();
        status
    }

    fn nodes(&self, state: &State) -> Vec<NodeStatus> {
        let installed = self.installed.as_ref();
        let merged = installed.and_then(|i| i.merged.as_ref());
        let name = |node| self.revision().voter(node).map(|v| v.name.clone());
        state
            .voters
            .iter()
            .map(|(node, voter)| {
                let present = installed.and_then(|i| i.configuration.member(*node));
                let member = state.members.get(node);
                let said = state.overrides.nodes.get(node);
                NodeStatus {
                    node: *node,
                    name: name(*node),
                    member: present.is_some(),
                    incarnation: present.map(|m| m.incarnation),
                    reported: self.era_open() && member.is_some_and(|m| m.reported),
                    wiped: merged.is_some_and(|m| m.wiped.contains(node)),
                    new: installed.is_some_and(|i| !has_promised(i, *node)),
                    counts: merged.is_some_and(|m| m.countable.contains(node)),
                    owes: match voter.debt {
                        Debt::Owed { incident, .. } if present.is_none() => {
                            Some(Incident { node: *node, ring: incident })
                        }
                        _ => None,
                    },
                    evicted: state.evicted.contains_key(node),
                    standby: said.is_some_and(|o| o.standby),
                    maintenance: said.is_some_and(|o| o.maintenance),
                    watchdog: voter.watchdog.is_some(),
                    detached: member.is_some_and(|m| m.detached.is_some())
                        || voter.detached.is_some(),
                }
            })
            .collect()
    }

    /// Members of which it is proven that nothing runs there: outside of the open era, and they owe nothing (any more).
    pub fn gone(&self) -> BTreeSet<NodeName> {
        let (Some(state), Some(installed), true) = (&self.state, &self.installed, self.era_open())
        else {
            return BTreeSet::new();
        };
        let absent = state.voters.iter().filter(|(node, voter)| {
            installed.configuration.member(**node).is_none()
                && !matches!(voter.debt, Debt::Owed { .. })
        });
        absent
            .filter_map(|(node, _)| self.revision().voter(*node).map(|v| v.name.clone()))
            .collect()
    }

    /// What only this member can say: its configuration and its own troubles.
    fn local_conditions(&self, out: &mut BTreeSet<Condition>) {
        let mut push = |kind: &str, text: String| {
            out.insert(Condition { kind: kind.into(), object: "cluster".into(), text });
        };
        if let Some(broken) = &self.halted {
            push(
                "SafeState",
                format!(
                    "an assertion failed ({}: {}); nothing is carried out here: collect the log and restart this agent",
                    broken.invariant, broken.detail
                ),
            );
        }
        let accepted = self.state.as_ref().and_then(|s| s.revision.as_ref());
        if let (Some(offered), Some(accepted), true) = (&self.offered, accepted, self.shown)
            && let Some(object) = offered.regressed_from(accepted)
        {
            push("SpecRegressed", crate::revision::regressed(object));
        }
        if self.suspension.stopped {
            return;
        }
        let Some(installed) = &self.installed else {
            return push(
                "NoRing",
                "no ring was formed yet; check the links to the other members".into(),
            );
        };
        if self.ringless {
            return push(
                "NoRing",
                "the ring was lost and no new one has formed; check the links to the other members"
                    .into(),
            );
        }
        let Some(merged) = &installed.merged else {
            return push(
                "Agreeing",
                "the members say what they have; this takes milliseconds".into(),
            );
        };
        if !merged.quorate {
            push(
                "Inquorate",
                format!(
                    "{} of {} voters are here, {} are needed: nothing is started; bring members back",
                    installed.configuration.members.len(),
                    merged.voters.len(),
                    crate::majority(merged.voters.len())
                ),
            );
            if let Some(text) = self.lost_outside(installed, merged) {
                push("StateLost", text);
            }
        } else if merged.coordinator.is_none() {
            push(
                "WaitingForAll",
                "no member has a state: the first start needs all voters; start the missing agents"
                    .into(),
            );
        } else if !merged.can_open() {
            let names: Vec<_> = merged.wiped.iter().map(|n| n.to_string()).collect();
            push(
                "StateLost",
                format!(
                    "the disks of {} were wiped or restored, so no era can open: bring a member with its state back, or \
                     accept the loss once with `palisade cluster accept-state-loss`",
                    names.join(", ")
                ),
            );
        }
    }
}

impl Member {
    /// Enough members are here or heard, but too few of their disks: none of them can open an era, together or alone
    /// (CLUSTER.md section 3.2). The wiped ones may be kept out of this ring, so it is said here, by whoever has a state.
    fn lost_outside(&self, installed: &Installed, merged: &Merged) -> Option<String> {
        self.state.as_ref()?;
        let here = |node: &NodeId| installed.configuration.contains(*node);
        let heard = |node: &NodeId| here(node) || self.heard.contains_key(node);
        let lost = |node: &NodeId| {
            merged.wiped.contains(node)
                || !here(node) && self.heard.get(node).is_some_and(|(_, wiped)| *wiped)
        };
        let list = |nodes: Vec<NodeId>| {
            nodes.iter().map(|node| format!("node {node}")).collect::<Vec<_>>().join(", ")
        };
        let (present, absent): (Vec<_>, Vec<_>) = merged.voters.iter().partition(|n| heard(n));
        let (wiped, whole): (Vec<_>, Vec<_>) = present.iter().copied().partition(|n| lost(n));
        let needed = crate::majority(merged.voters.len());
        let blocked = !absent.is_empty() && present.len() >= needed && whole.len() < needed;
        blocked.then(|| {
            format!(
                "enough members are up, but the disk of {} was wiped or restored and does not count yet: no era can open \
                 until {} is back with its state",
                list(wiped),
                list(absent)
            )
        })
    }
}

/// Whether anybody here had heard a promise of the node before this configuration.
fn has_promised(installed: &Installed, node: NodeId) -> bool {
    let hellos = installed.hellos.values();
    hellos.flat_map(|h| &h.delivered).any(|(promised, _)| *promised == node)
}

fn revision(state: &State) -> Option<RevisionStatus> {
    state.revision.as_ref().map(|r| RevisionStatus {
        objects: r
            .objects
            .iter()
            .map(|o| (format!("{:?}/{}", o.kind, o.name), o.uid.clone(), o.generation))
            .collect(),
        accepted: state.accepted,
    })
}

fn instances(state: &State) -> Vec<InstanceStatus> {
    state
        .instances
        .iter()
        .map(|((resource, node), instance)| InstanceStatus {
            resource: resource.clone(),
            node: *node,
            role: instance.role,
            failures: state
                .failures
                .get(&(resource.clone(), *node))
                .map_or(0, |failures| failures.count),
            stop_failed: instance.stop_failed,
            degraded: instance.last.as_ref().is_some_and(|l| crate::results::is_degraded(l.code)),
            why: state.why(&(resource.clone(), *node)),
            pending: state
                .pending
                .values()
                .find(|p| p.node == *node && p.resource == *resource)
                .map(|p| crate::results::operation_name(p.operation).into()),
            retained: state
                .revision
                .as_ref()
                .and_then(|r| r.primitive(resource))
                .is_some_and(|(placement, _)| placement.retained),
        })
        .collect()
}

fn operations(state: &State) -> Vec<OperationStatus> {
    state
        .operations
        .iter()
        .map(|(incident, record)| OperationStatus {
            incident: *incident,
            executor: record.executor,
            attempts: record.attempts,
            evidence: record.evidence.clone(),
            failure: record.failure.clone(),
            closed: record.closed,
        })
        .collect()
}

fn state_conditions(state: &State, out: &mut BTreeSet<Condition>) {
    for incident in state.owing() {
        let object = format!("node {}", incident.node);
        if out.iter().any(|c| c.object == object) {
            continue;
        }
        let failure = state.operations.get(&incident).and_then(|r| r.failure.clone());
        let why = failure.map_or_else(
            || "evidence is awaited".into(),
            |f| format!("its power-off failed ({f}); repair the fence device"),
        );
        out.insert(Condition { kind: "Owes".into(), object, text: owes_text(incident, &why) });
    }
    for (node, eviction) in &state.evicted {
        out.insert(Condition {
            kind: "Evicted".into(),
            object: format!("node {node}"),
            text: format!("kept out of the ring until its incident is over: {}", eviction.reason),
        });
    }
    if let Some(held) = &state.held {
        let kind = if held.starts_with("SpecRegressed") { "SpecRegressed" } else { "SpecHeld" };
        out.insert(Condition { kind: kind.into(), object: "cluster".into(), text: held.clone() });
    }
    if state.suspended {
        out.insert(Condition {
            kind: "Suspended".into(),
            object: "cluster".into(),
            text: "no fencing and no recovery; start the agents of all members again, or run `palisade resume`".into(),
        });
    }
}
