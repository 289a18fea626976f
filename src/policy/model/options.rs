//! Options as written: sets of name and value, each set possibly under a rule.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::Rule;

/// Sets of options; of two sets that hold and name the same option, the one with the higher score wins, then the
/// earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// In order of declaration.
    pub sets: Vec<OptionSet>,
}

/// Options that hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptionSet {
    /// For people; may be empty.
    pub id: String,
    /// Precedence among sets.
    pub score: i32,
    /// Without a rule the set always holds.
    pub rule: Option<Rule>,
    /// Name and value.
    pub pairs: Vec<(String, String)>,
}

impl Options {
    /// Options from pairs, without a rule.
    #[must_use]
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        let mut options = Self::default();
        for (name, value) in pairs {
            options.set(name, value);
        }
        options
    }

    /// Sets one option in the first set without a rule, and makes that set if there is none.
    pub fn set(&mut self, name: &str, value: &str) {
        let position = self.sets.iter().position(|set| set.rule.is_none()).unwrap_or_else(|| {
            self.sets.insert(0, OptionSet::default());
            0
        });
        let pairs = &mut self.sets[position].pairs;
        match pairs.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value.to_string(),
            None => pairs.push((name.to_string(), value.to_string())),
        }
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.iter().all(|set| set.pairs.is_empty())
    }

    /// Whether some set stands under a rule.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.sets.iter().any(|set| set.rule.is_some())
    }
}
