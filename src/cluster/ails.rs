//! What members say is wrong with themselves: told in each era, shown by all, part of no decision and of no state.

use alloc::{format, string::String, vec::Vec};

use base::NodeId;

use crate::{
    member::Member,
    status::Condition,
    wire::{Message, short},
};

/// Of one member at one time.
pub const AILS_MAX: usize = 8;

impl Member {
    pub(crate) fn ails(&mut self, mut ails: Vec<(String, String)>) {
        ails.truncate(AILS_MAX);
        for (kind, text) in &mut ails {
            (*kind, *text) = (short(kind), short(text));
        }
        if self.ails != ails {
            self.ails = ails;
            if self.era_open() {
                self.say(&Message::Ails(self.ails.clone()));
            }
        }
    }

    /// The others may have heard of nothing yet.
    pub(crate) fn say_ails(&mut self) {
        if !self.ails.is_empty() {
            self.say(&Message::Ails(self.ails.clone()));
        }
    }

    pub(crate) fn heard_ails(&mut self, from: NodeId, ails: &[(String, String)]) {
        if let Some(installed) = &mut self.installed {
            let ails = ails.iter().take(AILS_MAX).cloned().collect();
            installed.ails.insert(from, ails);
        }
    }

    pub(crate) fn ails_of_all(&self) -> Vec<Condition> {
        let all = self.installed.iter().flat_map(|installed| &installed.ails);
        all.flat_map(|(node, ails)| {
            ails.iter().map(move |(kind, text)| Condition {
                kind: kind.clone(),
                object: format!("node {node}"),
                text: text.clone(),
            })
        })
        .collect()
    }
}
