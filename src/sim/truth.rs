//! What is true now, kept from the facts; the checks share it.

use std::collections::{BTreeMap, BTreeSet};

use base::{ConfigurationKind, Epoch, Member, NodeId, ResourceId, RingId};
use lifecycle::Operation;

use crate::{
    fact::{Fact, Part},
    queue::Time,
};

/// What a run was set up with, as far as checks need it.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// All voters.
    pub voters: Vec<NodeId>,
    /// From silence to a new membership, with a margin.
    pub t_mem_us: u64,
    /// Silence after which an executor takes itself for inquorate.
    pub grace_us: u64,
    /// How old a token may be by which an executor or a fencer begins something: half of the token time.
    pub fresh_us: u64,
    /// `t_stop` of the executors.
    pub t_stop_us: u64,
    /// Whether exclusive resources are stopped without quorum.
    pub stops_without_quorum: bool,
    /// Whether the self-fencing bound is evidence.
    pub self_fencing: bool,
    /// A machine whose agent does not feed its watchdog is reset after this long, if it is armed.
    pub watchdog_us: Option<u64>,
    /// That bound.
    pub t_assume_us: u64,
    /// Budget of fencing: times and window.
    pub budget: (u8, u64),
}

impl Setup {
    /// Whether so many voters are a majority.
    pub fn is_majority(&self, count: usize) -> bool {
        count > self.voters.len() / 2
    }
}

/// One machine.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Has power.
    pub powered: bool,
    /// When it last got or lost it.
    pub power_at: Time,
    /// Times at which it lost its power.
    pub parts: BTreeSet<Part>,
    /// Since when a part is frozen.
    pub frozen: BTreeMap<Part, Time>,
    /// When a part was thawed or started last.
    pub lively_at: BTreeMap<Part, Time>,
    /// What it holds; true: exclusive.
    pub holds: BTreeMap<ResourceId, bool>,
    /// Installed regular configuration of the ring part.
    pub ring: Option<(RingId, Vec<Member>, Time)>,
    /// Epoch of its executor, whether quorate, and since when.
    pub epoch: Option<(Epoch, bool, Time)>,
    /// Its executor is suspended: it stops nothing by itself.
    pub suspended: bool,
    /// Its watchdog is disarmed, because the cluster is suspended.
    pub watchdog_off: bool,
    /// Its executor has released everything and refuses all orders until it is started again.
    pub released: bool,
    /// When it last had the newest epoch that allowed it to start something.
    pub acted_at: Option<Time>,
    /// When its ring part last saw the token of a quorate ring whose era is open.
    pub token_at: Time,
    /// When it last saw the token of a quorate ring, its era open or not.
    pub quorate_at: Time,
    /// When evidence about it last arose, by kind.
    pub evidence_at: BTreeMap<&'static str, Time>,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// How the run was set up.
    pub setup: Setup,
    /// Machines by node id.
    pub nodes: BTreeMap<NodeId, Seen>,
    /// Who holds an exclusive resource now.
    pub holders: BTreeMap<ResourceId, BTreeSet<NodeId>>,
    /// The newest era that was opened from nothing, and what any state since then had to run.
    pub accepted: (Option<RingId>, BTreeSet<ResourceId>),
    /// When the weather was last so bad that no membership can be counted on.
    pub rough_at: Time,
    /// Reported as running, or of unknown role, by a member in an era.
    reported: BTreeSet<(RingId, ResourceId, NodeId)>,
    /// Stopped by an order of an era, or seen or reported not running in it.
    stopped: BTreeSet<(RingId, ResourceId)>,
}

impl Truth {
    /// Nothing has happened yet.
    pub fn new(setup: Setup) -> Self {
        let nodes = setup.voters.iter().map(|node| (*node, Seen::default())).collect();
        Self { setup, nodes, ..Self::default() }
    }

    /// Whether a present member reported the resource in this era and its stop has ended in it: then it may start again
    /// without evidence about anybody (CLUSTER.md section 6).
    pub fn let_go(&self, ring: RingId, resource: &ResourceId) -> bool {
        let reported =
            |(era, what, _): &(RingId, ResourceId, NodeId)| *era == ring && what == resource;
        self.reported.iter().any(reported) && self.stopped.contains(&(ring, resource.clone()))
    }

    /// One machine; every node id of a fact is a voter.
    pub fn node(&self, node: NodeId) -> &Seen {
        &self.nodes[&node]
    }

    /// The ring part saw a token of a quorate ring. Not a fact of its own: there are too many.
    pub fn token(&mut self, node: NodeId, at: Time, era_open: bool) {
        if let Some(seen) = self.nodes.get_mut(&node) {
            seen.quorate_at = at;
            if era_open {
                seen.token_at = at;
            }
        }
    }

    /// A member's state moved: whether its era was opened from nothing, and what it has to run.
    pub fn state<'a>(
        &mut self,
        era: RingId,
        began: bool,
        resources: impl Iterator<Item = &'a ResourceId>,
    ) {
        let (since, accepted) = &mut self.accepted;
        if began && since.is_none_or(|since| since < era) {
            *since = Some(era);
            accepted.clear();
        }
        if since.is_some_and(|since| since <= era) {
            for resource in resources {
                if !accepted.contains(resource) {
                    accepted.insert(resource.clone());
                }
            }
        }
    }

    /// Takes a fact in, after the checks have looked at it.
    pub fn apply(&mut self, at: Time, fact: &Fact) {
        match fact {
            Fact::PowerOn { node, boot } => self.with(*node, |seen| {
                seen.powered = true;
                seen.power_at = at;
                if *boot > 1 {
                    seen.evidence_at.insert("changed boot id", at);
                }
            }),
            Fact::PowerOff { node, .. } => {
                self.with(*node, |seen| {
                    *seen = Seen {
                        power_at: at,
                        acted_at: seen.acted_at,
                        token_at: seen.token_at,
                        quorate_at: seen.quorate_at,
                        evidence_at: std::mem::take(&mut seen.evidence_at),
                        ..Seen::default()
                    };
                });
                for holders in self.holders.values_mut() {
                    holders.remove(node);
                }
            }
            Fact::Starts { node, part } => self.with(*node, |seen| {
                seen.parts.insert(*part);
                seen.released &= *part != Part::Executor;
                seen.lively_at.insert(*part, at);
            }),
            Fact::Ends { node, part } => self.with(*node, |seen| {
                seen.parts.remove(part);
                seen.frozen.remove(part);
                match part {
                    Part::Ring => seen.ring = None,
                    Part::Executor => seen.epoch = None,
                    Part::Fencer => {}
                }
            }),
            Fact::Freezes { node, part } => self.with(*node, |seen| {
                seen.frozen.insert(*part, at);
            }),
            Fact::Thaws { node, part } => self.with(*node, |seen| {
                seen.frozen.remove(part);
                seen.lively_at.insert(*part, at);
            }),
            Fact::Installed { node, kind: ConfigurationKind::Regular, ring, members } => {
                self.with(*node, |seen| seen.ring = Some((*ring, members.clone(), at)));
            }
            Fact::Epoch { node, epoch, quorate } => self.with(*node, |seen| {
                seen.epoch = Some((*epoch, *quorate, at));
                if *quorate && !seen.released {
                    seen.acted_at = Some(at);
                }
            }),
            Fact::Holds { node, resource, exclusive, .. } => {
                self.with(*node, |seen| {
                    seen.holds.insert(resource.clone(), *exclusive);
                });
                if *exclusive {
                    self.holders.entry(resource.clone()).or_default().insert(*node);
                }
            }
            Fact::Drops { node, resource, .. } => {
                self.with(*node, |seen| {
                    seen.holds.remove(resource);
                });
                if let Some(holders) = self.holders.get_mut(resource) {
                    holders.remove(node);
                }
            }
            // a false "off" is no evidence: what was true counts here
            Fact::FenceEnded { incident, off: true, .. }
                if self.nodes.get(&incident.node).is_some_and(|seen| !seen.powered) =>
            {
                self.evidence(incident.node, "verified off", at);
            }
            Fact::Reported { node, epoch, running } => self.report(*node, epoch.ring, running),
            Fact::Answered {
                resource,
                operation: Operation::Stop,
                order: Some((epoch, _)),
                good: true,
                ..
            } => {
                self.stopped.insert((epoch.ring, resource.clone()));
            }
            // seen not running by the member that runs it: as good as stopped
            Fact::Answered {
                node, resource, operation: Operation::Monitor, good: false, ..
            } => {
                let seen = self.node(*node);
                if let Some((epoch, true, _)) = seen.epoch
                    && !seen.holds.contains_key(resource)
                {
                    self.stopped.insert((epoch.ring, resource.clone()));
                }
            }
            Fact::Suspended { node, yes } => self.with(*node, |seen| seen.suspended = *yes),
            Fact::WatchdogOff { node, yes } => self.with(*node, |seen| seen.watchdog_off = *yes),
            Fact::Confirmed { node } => self.evidence(*node, "confirmation", at),
            Fact::Released { node } => {
                self.evidence(*node, "clean leave", at);
                self.with(*node, |seen| seen.released = true);
            }
            _ => {}
        }
    }

    fn with(&mut self, node: NodeId, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.nodes.get_mut(&node) {
            change(seen);
        }
    }

    /// What a member reported before in the same era and reports no more has let go there, too: a report is what it looked at
    /// anew, after a restart of its executor alone (CLUSTER.md section 8; in the model `Lose`, then `Report`).
    fn report(&mut self, node: NodeId, ring: RingId, running: &[ResourceId]) {
        for (era, resource, by) in &self.reported {
            let here = self.nodes.get(&node).is_some_and(|seen| seen.holds.contains_key(resource));
            if (*era, *by) == (ring, node) && !running.contains(resource) && !here {
                self.stopped.insert((ring, resource.clone()));
            }
        }
        self.reported.extend(running.iter().map(|resource| (ring, resource.clone(), node)));
    }

    fn evidence(&mut self, node: NodeId, kind: &'static str, at: Time) {
        self.with(node, |seen| {
            seen.evidence_at.insert(kind, at);
        });
    }
}
