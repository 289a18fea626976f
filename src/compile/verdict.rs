//! What is said of each object: faults that keep it out, and warnings that do not.

use std::collections::BTreeMap;

use api::{
    condition::{ConditionStatus, Judgement},
    names::{condition, reason},
};
use kube::ResourceExt;

use crate::Objects;

/// Kind and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `HACluster`, `FenceDevice`, ...
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

/// Something that is to be said of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A constant of [`api::names::reason`].
    pub reason: &'static str,
    /// Path, value, rule, remedy; at most 200 characters.
    pub message: String,
    /// Keeps the object's new spec out. Otherwise a warning.
    pub fatal: bool,
}

impl Problem {
    /// Keeps the object out.
    pub fn fatal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: cut(message.into()), fatal: true }
    }

    /// Is only said.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: cut(message.into()), fatal: false }
    }
}

/// SPEC-ERRORS.md rule 3.
fn cut(message: String) -> String {
    if message.chars().count() <= 200 {
        return message;
    }
    message.chars().take(197).chain("...".chars()).collect()
}

/// What is said of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// In the order in which they were found.
    pub problems: Vec<Problem>,
}

impl Verdict {
    /// Whether the object's spec is in force.
    pub fn accepted(&self) -> bool {
        !self.problems.iter().any(|p| p.fatal)
    }

    /// As the condition `Accepted`: the worst is the reason, all are in the message (SPEC-ERRORS.md rule 6).
    pub fn judgement(&self) -> Judgement {
        let status = ConditionStatus::from(self.accepted());
        let worst = self.problems.iter().find(|p| p.fatal).or_else(|| self.problems.first());
        let reason = worst.map_or(reason::AS_SPECIFIED, |p| p.reason);
        let mut sorted: Vec<&Problem> = self.problems.iter().collect();
        sorted.sort_by_key(|p| !p.fatal);
        let text: Vec<&str> = sorted.iter().map(|p| p.message.as_str()).collect();
        Judgement::new(condition::ACCEPTED, status, reason, text.join("; "))
    }
}

/// What is said of every object that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Verdicts(BTreeMap<Key, Verdict>);

impl Verdicts {
    /// Notes that an object was looked at, and what is wrong with it.
    pub fn say(&mut self, kind: &'static str, name: &str, problems: Vec<Problem>) {
        let key = Key { kind, name: name.to_owned() };
        self.0.entry(key).or_default().problems.extend(problems);
    }

    /// The verdict on one object; `None` if it was not looked at.
    pub fn of(&self, kind: &str, name: &str) -> Option<&Verdict> {
        self.0.iter().find(|(k, _)| k.kind == kind && k.name == name).map(|(_, v)| v)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Verdict)> {
        self.0.iter()
    }

    /// Says the same of every object, the cluster included.
    pub(crate) fn all(&mut self, objects: &Objects, problem: &Problem) {
        if let Some(cluster) = &objects.cluster {
            self.say("HACluster", &cluster.name_any(), vec![problem.clone()]);
        }
        self.dependents(objects, problem);
    }

    /// Says the same of every object but the cluster.
    pub(crate) fn dependents(&mut self, objects: &Objects, problem: &Problem) {
        let mut say = |kind, name: String| self.say(kind, &name, vec![problem.clone()]);
        objects.nodes.iter().for_each(|o| say("HANode", o.name_any()));
        objects.devices.iter().for_each(|o| say("FenceDevice", o.name_any()));
        objects.placements.iter().for_each(|o| say("ResourcePlacement", o.name_any()));
        objects.constraints.iter().for_each(|o| say("PlacementConstraint", o.name_any()));
        objects.addresses.iter().for_each(|o| say("VirtualIP", o.name_any()));
        objects.balancers.iter().for_each(|o| say("LoadBalancer", o.name_any()));
    }
}
