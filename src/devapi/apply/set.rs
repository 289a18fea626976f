//! Sets of fields, and their form in `managedFields` (FieldsV1).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use crate::schema::Node;

/// One step of a path into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// A field of an object or a key of a map.
    Field(String),
    /// An item of a list, told apart by its key fields: their object as JSON.
    Key(String),
    /// An item of a set: its value as JSON.
    Value(String),
    /// An item by position. Only read: nothing of ours writes it.
    Index(usize),
}

impl Step {
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(key) => format!("k:{key}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(i) => format!("i:{i}"),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let canonical = || serde_json::from_str::<Value>(rest).ok().map(|value| value.to_string());
        Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "k" => Self::Key(canonical()?),
            "v" => Self::Value(canonical()?),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(i) => write!(f, "[{i}]"),
            Self::Key(key) => {
                let fields: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let parts: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", parts.join(","))
            }
        }
    }
}

/// A set of paths. A path and what lies below it are members each by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    members: BTreeSet<Step>,
    children: BTreeMap<Step, Self>,
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    pub(crate) fn insert(&mut self, path: &[Step]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether this very step, not only something below it, is a member.
    pub(crate) fn has(&self, step: &Step) -> bool {
        self.members.contains(step)
    }

    /// What lies below a step.
    pub(crate) fn below(&self, step: &Step) -> Option<&Self> {
        self.children.get(step).filter(|s| !s.is_empty())
    }

    fn combine(
        &self,
        other: &Self,
        members: impl Fn(&BTreeSet<Step>, &BTreeSet<Step>) -> BTreeSet<Step> + Copy,
    ) -> Self {
        let empty = Self::default();
        let mut children = BTreeMap::new();
        for step in self.children.keys().chain(other.children.keys()) {
            if children.contains_key(step) {
                continue;
            }
            let one = self.children.get(step).unwrap_or(&empty);
            let two = other.children.get(step).unwrap_or(&empty);
            let both = one.combine(two, members);
            if !both.is_empty() {
                children.insert(step.clone(), both);
            }
        }
        Self { members: members(&self.members, &other.members), children }
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a - b)
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// Removes a path and all below it.
    pub(crate) fn strip(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let step = Step::Field((*first).to_owned());
        if rest.is_empty() {
            self.members.remove(&step);
            self.children.remove(&step);
        } else if let Some(child) = self.children.get_mut(&step) {
            child.strip(rest);
            if child.is_empty() {
                self.children.remove(&step);
            }
        }
    }

    /// With the fields that the schema names on the way to a member: who owns `a.b` owns the field `a` too, as far as
    /// removing goes.
    pub(crate) fn with_named_fields(&self, node: Option<Node<'_>>) -> Self {
        let mut members = self.members.clone();
        let mut children = BTreeMap::new();
        for (step, child) in &self.children {
            let inner = match step {
                Step::Field(name) => {
                    let named = node.and_then(|n| n.property(name));
                    if named.is_some() && !child.is_empty() {
                        members.insert(step.clone());
                    }
                    named.or_else(|| node.and_then(Node::additional))
                }
                _ => node.and_then(Node::items),
            };
            children.insert(step.clone(), child.with_named_fields(inner));
        }
        Self { members, children }
    }

    /// Every member, as a path.
    pub(crate) fn paths(&self) -> Vec<Vec<Step>> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
        for member in &self.members {
            prefix.push(member.clone());
            out.push(prefix.clone());
            prefix.pop();
        }
        for (step, child) in &self.children {
            prefix.push(step.clone());
            child.collect(prefix, out);
            prefix.pop();
        }
    }

    /// As FieldsV1.
    pub(crate) fn to_json(&self) -> Value {
        let mut out = Map::new();
        for member in &self.members {
            out.insert(member.encode(), Value::Object(Map::new()));
        }
        for (step, child) in self.children.iter().filter(|(_, c)| !c.is_empty()) {
            let mut inner = child.to_json();
            if let (true, Some(fields)) = (self.members.contains(step), inner.as_object_mut()) {
                fields.insert(".".to_owned(), Value::Object(Map::new()));
            }
            out.insert(step.encode(), inner);
        }
        Value::Object(out)
    }

    /// Reads FieldsV1; steps that are none are left out.
    pub(crate) fn from_json(fields: &Value) -> Self {
        let mut set = Self::default();
        for (name, inner) in fields.as_object().into_iter().flatten() {
            let Some(step) = Step::decode(name) else { continue };
            let empty = inner.as_object().is_none_or(Map::is_empty);
            if empty || inner.get(".").is_some() {
                set.members.insert(step.clone());
            }
            let child = Self::from_json(inner);
            if !child.is_empty() {
                set.children.insert(step, child);
            }
        }
        set
    }
}

/// A path as messages write it, for example `.spec.members[name="a"].nodeId`.
pub(crate) fn shown(path: &[Step]) -> String {
    path.iter().map(Step::to_string).collect()
}
