//! The trivial executor and fencer of one machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use base::{Epoch, Instant, NodeId, ResourceId, ResourceKind, Role};
use fencing::{FenceCommand, PowerGoal};
use lifecycle::{InstanceReport, Operation, Order, Outcome, PromotionScore, Quorum, Report};

use crate::{
    ExecutorDo, FencerDo,
    faulty::{Rule, broken},
};

/// A trivial executor. It outlives the agent's ring part.
#[derive(Default)]
pub(crate) struct Exec {
    pub(crate) epoch: Option<(Epoch, Quorum)>,
    pub(crate) quorum: Option<Quorum>,
    pub(crate) running: BTreeMap<ResourceId, (ResourceKind, Role)>,
    pub(crate) queue: Vec<(Instant, Order)>,
    pub(crate) stop_fails: bool,
    pub(crate) start_fails: bool,
    /// Starts that were tried while none could succeed.
    pub(crate) failed_starts: u32,
    pub(crate) stop_failed: BTreeSet<ResourceId>,
    /// What runs, but not well, and why.
    pub(crate) troubles: BTreeMap<ResourceId, String>,
    pub(crate) report_due: bool,
    pub(crate) leaving: bool,
    pub(crate) suspended: bool,
    /// It has not said yet that it is.
    pub(crate) suspended_due: bool,
    /// Says nothing (an executor that hangs).
    pub(crate) mute: bool,
    /// Takes itself for inquorate although its member is not: refuses what is no release until it takes an epoch.
    pub(crate) lost: bool,
    /// What agents here say of their promotion while they run.
    pub(crate) wishes: BTreeMap<ResourceId, i32>,
    /// What the ring part was told of it in this epoch; `None` before the report.
    pub(crate) scored: Option<Vec<PromotionScore>>,
    /// Stations that others announce, and that others see.
    pub(crate) looks: Vec<crate::Station>,
    pub(crate) seen: Vec<crate::Station>,
}

#[derive(Default)]
pub(crate) struct FencerPart {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) members: Vec<NodeId>,
    pub(crate) disarmed: bool,
    /// (delivered, command, sent, was on when sent)
    pub(crate) commands: Vec<(Instant, FenceCommand, bool)>,
}

impl Exec {
    pub(crate) fn told(&mut self, now: Instant, what: ExecutorDo) {
        match what {
            ExecutorDo::Void { quorum, .. } => {
                if !broken(Rule::EpochByAge) {
                    self.epoch = None;
                }
                self.quorum = Some(quorum);
                self.scored = None;
                self.report_due = false;
            }
            ExecutorDo::TakeEpoch { epoch, quorum } => {
                self.epoch = Some((epoch, quorum));
                if !broken(Rule::EpochByAge) {
                    self.queue.clear();
                }
                self.lost = false;
                self.quorum = Some(quorum);
                self.scored = None;
                self.report_due = true;
            }
            ExecutorDo::Carry(order) => self.queue.push((now, order)),
            ExecutorDo::Leave => self.leaving = true,
            ExecutorDo::LookFor { station, .. } => self.looks.push(station),
            ExecutorDo::SeenAt { station, .. } => self.seen.push(station),
            ExecutorDo::Suspend => {
                self.suspended = true;
                self.suspended_due = true;
            }
            ExecutorDo::Resume => self.suspended = false,
            ExecutorDo::Settings(_) | ExecutorDo::Detach(_) => {}
        }
    }

    pub(crate) fn run(&mut self, order: &Order) -> Outcome {
        let fails = || Outcome::Failed { code: 1, reason: "as the test says".into() };
        match order.operation {
            Operation::Start if self.start_fails => {
                self.failed_starts += 1;
                fails()
            }
            Operation::Start => {
                let role = (order.kind.clone(), Role::Started);
                self.running.insert(order.resource.clone(), role);
                Outcome::Ok
            }
            Operation::Stop if self.stop_fails && self.running.contains_key(&order.resource) => {
                self.stop_failed.insert(order.resource.clone());
                fails()
            }
            Operation::Stop => {
                self.running.remove(&order.resource);
                Outcome::Ok
            }
            Operation::Promote | Operation::Demote => {
                let role = if order.operation == Operation::Promote {
                    Role::Promoted
                } else {
                    Role::Unpromoted
                };
                match self.running.get_mut(&order.resource) {
                    Some(runs) => {
                        runs.1 = role;
                        Outcome::Ok
                    }
                    None => Outcome::NotRunning,
                }
            }
            Operation::Probe | Operation::Monitor => Outcome::Ok,
        }
    }

    /// The wishes of what runs.
    pub(crate) fn scores(&self) -> Vec<PromotionScore> {
        let runs = self.wishes.iter().filter(|(resource, _)| self.running.contains_key(*resource));
        runs.map(|(resource, score)| PromotionScore { resource: resource.clone(), score: *score })
            .collect()
    }

    pub(crate) fn report(&self) -> Report {
        let instance =
            |(resource, (kind, role)): (&ResourceId, &(ResourceKind, Role))| InstanceReport {
                resource: resource.clone(),
                kind: kind.clone(),
                role: Some(*role),
                stop_failed: self.stop_failed.contains(resource),
                failed: self
                    .troubles
                    .get(resource)
                    .map(|reason| Outcome::Degraded { promoted: false, reason: reason.clone() }),
                run: 1,
            };
        Report { instances: self.running.iter().map(instance).collect() }
    }
}

impl FencerPart {
    pub(crate) fn told(&mut self, now: Instant, what: FencerDo) {
        match what {
            FencerDo::Install { epoch, members, .. } => {
                self.epoch = Some(epoch);
                self.members = members;
            }
            FencerDo::Carry(command) => self.commands.push((now, command, false)),
            FencerDo::Drop(incident) => self.commands.retain(|(_, command, _)| {
                command.incident != incident || command.goal == PowerGoal::On
            }),
            FencerDo::AbortAll => {
                self.epoch = None;
                self.commands.clear();
            }
            FencerDo::Suspend => self.disarmed = true,
            FencerDo::Resume => self.disarmed = false,
        }
    }
}
