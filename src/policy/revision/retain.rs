//! What stays although its object is gone.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{DeletionPolicy, Revision};

impl Revision {
    /// Takes over from the revision before what has no object any more, but is to stay (CLUSTER.md section 7,
    /// *Deletion*): placements and devices with `Retain`, except those that a person has removed, and the constraints
    /// that bind what is retained.
    pub fn keep_retained(&mut self, old: &Self, removed: &BTreeSet<base::ResourceId>) {
        for placement in &old.placements {
            let gone = !self.placements.iter().any(|p| p.id == placement.id);
            if gone
                && placement.deletion == DeletionPolicy::Retain
                && !removed.contains(&placement.id)
            {
                let mut kept = placement.clone();
                kept.retained = true;
                self.placements.push(kept);
            }
        }
        self.placements.sort_by(|a, b| a.id.cmp(&b.id));
        for device in &old.devices {
            let gone = !self.devices.iter().any(|d| d.device.name == device.device.name);
            if gone && device.deletion == DeletionPolicy::Retain {
                let mut kept = device.clone();
                kept.retained = true;
                self.devices.push(kept);
            }
        }
        self.devices.sort_by(|a, b| a.device.name.cmp(&b.device.name));
        let retained: BTreeSet<base::ResourceId> = self
            .placements
            .iter()
            .filter(|p| p.retained)
            .flat_map(|p| {
                p.members.iter().map(|m| m.id.clone()).chain(core::iter::once(p.id.clone()))
            })
            .collect();
        let exists = |id: &base::ResourceId| {
            self.placements.iter().any(|p| p.id == *id || p.members.iter().any(|m| m.id == *id))
        };
        let mut kept = Vec::new();
        for constraint in &old.constraints {
            let named = constraint.rule.resources();
            let gone = !self.constraints.iter().any(|c| c.id == constraint.id)
                && constraint.deletion == DeletionPolicy::Retain;
            if gone
                && named.iter().any(|r| retained.contains(*r))
                && named.iter().all(|r| exists(r))
            {
                let mut constraint = constraint.clone();
                constraint.retained = true;
                kept.push(constraint);
            }
        }
        self.constraints.extend(kept);
        self.constraints.sort_by(|a, b| a.id.cmp(&b.id));
    }
}
