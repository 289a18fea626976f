//! The API server, as far as members see it: people edit objects, members are told late and out of order, and at times the
//! server is away or shows what it had before (a lagging replica, a restored etcd).

use std::time::Duration;

use policy::revision::{ObjectKind, ObjectVersion, Placement, Revision};

use crate::dice::Dice;

/// The server.
#[derive(Debug)]
pub struct Api {
    /// Everything that was ever applied, newest last; never empty.
    history: Vec<Revision>,
    /// How many faults take it away.
    pub away: u32,
    /// How many revisions back faults make it show.
    pub stale: Vec<usize>,
    /// What `lock` was before somebody deleted it.
    deleted: Option<Placement>,
}

impl Api {
    /// A server with these objects.
    pub fn new(first: Revision) -> Self {
        Self { history: vec![first], away: 0, stale: Vec::new(), deleted: None }
    }

    /// What was applied last.
    pub fn newest(&self) -> &Revision {
        &self.history[self.history.len() - 1]
    }

    /// What a client is shown now, if it is shown anything.
    pub fn shown(&self) -> Option<&Revision> {
        if self.away > 0 {
            return None;
        }
        let back: usize = self.stale.iter().sum();
        self.history.get((self.history.len() - 1).saturating_sub(back))
    }

    /// Somebody edits, deletes or creates an object.
    pub fn edit(&mut self, dice: &mut Dice) -> &'static str {
        let mut next = self.newest().clone();
        let what = match (dice.below(3), self.deleted.take()) {
            (_, Some(lock)) => {
                // a new object under the old name
                let uid = format!("uid-lock-{}", self.history.len());
                next.objects.push(object("lock", uid));
                next.placements.push(lock);
                next.placements.sort_by(|a, b| a.id.cmp(&b.id));
                "lock is created again"
            }
            (0, None) => {
                let at = next.placements.iter().position(|p| p.id.as_str() == "lock");
                self.deleted = at.map(|at| next.placements.remove(at));
                next.objects.retain(|o| o.name != "lock");
                "lock is deleted"
            }
            (_, None) => {
                let name = *dice.pick(&["lock", "web"]);
                let second = Duration::from_millis(dice.range(5, 20) * 100);
                for placement in next.placements.iter_mut().filter(|p| p.id.as_str() == name) {
                    for monitor in placement.members.iter_mut().flat_map(|m| &mut m.monitors) {
                        monitor.interval = second;
                    }
                }
                for object in next.objects.iter_mut().filter(|o| o.name == name) {
                    object.generation += 1;
                    object.hash += 1;
                }
                "monitors change"
            }
        };
        self.history.push(next);
        what
    }

    /// All is well again.
    pub fn mend(&mut self) {
        self.away = 0;
        self.stale.clear();
    }
}

fn object(name: &str, uid: String) -> ObjectVersion {
    let kind = ObjectKind::ResourcePlacement;
    ObjectVersion { kind, name: name.into(), uid, generation: 1, hash: 1 }
}
