//! What executors, fencers and power switches do, with the checks of ground truth beside them.

use core::time::Duration;
use std::format;

use base::Role;
use fencing::{FenceCommand, FenceResult, PowerGoal, PowerState};
use lifecycle::{InstanceReport, Operation, Order, OrderEnd, Outcome, Quorum, Refusal};

use super::world::World;
use crate::{
    ExecutorSays, FencerSays, Input,
    faulty::{Rule, broken},
};

impl World {
    // ---- executors

    /// Whether the executor of `i` may begin something: its machine runs and the ring part has fresh tokens.
    pub(crate) fn can_begin(&self, i: usize) -> bool {
        let node = &self.nodes[i];
        node.on && node.frozen.is_none() && !node.exec.queue.is_empty() && !node.exec.mute
    }

    pub(crate) fn begin(&mut self, i: usize) {
        let (since, order) = self.nodes[i].exec.queue.remove(0);
        let fresh = self.nodes[i].member.is_some() && !self.stale(i);
        let late = self.now > since + order.deadline;
        let exec = &mut self.nodes[i].exec;
        let release = order.operation.is_release();
        let same = exec.epoch.is_some_and(|(epoch, quorum)| {
            let matches = if broken(Rule::EpochByAge) {
                order.epoch.ring >= epoch.ring
            } else {
                order.epoch == epoch
            };
            matches && (quorum == Quorum::Quorate || release)
        });
        let by_age = broken(Rule::EpochByAge);
        let end = if !same {
            OrderEnd::Refused(Refusal::StaleEpoch)
        } else if late && !by_age {
            OrderEnd::Refused(Refusal::Late)
        } else if !fresh && !by_age {
            OrderEnd::Refused(Refusal::NotActing)
        } else if exec.lost && !release {
            OrderEnd::Refused(Refusal::Inquorate)
        } else {
            OrderEnd::Done(exec.run(&order))
        };
        let done = end == OrderEnd::Done(Outcome::Ok);
        if done && order.operation == Operation::Start {
            self.starts += 1;
            self.check_start(i, &order);
        }
        let Order { epoch, id, interval, .. } = order;
        if interval.is_none() {
            self.give(i, Input::Executor(ExecutorSays::Ended { epoch, id, end }));
        }
    }

    fn check_start(&mut self, i: usize, order: &Order) {
        if let Some(cfg) = self.nodes[i].cfg {
            let ring = self.cfgs[cfg].ring;
            if order.epoch.ring != ring {
                self.fail(format!("(S9) {} began under {} in ring {ring}", i + 1, order.epoch));
            }
        }
    }

    /// The executor heard no token for long, stopped what it ran by itself, and hears tokens again.
    pub(crate) fn regain(&mut self, i: usize) {
        let exec = &mut self.nodes[i].exec;
        if !exec.epoch.is_some_and(|(_, quorum)| quorum == Quorum::Quorate) || exec.stop_fails {
            return;
        }
        exec.lost = true;
        for (resource, (kind, _)) in core::mem::take(&mut exec.running) {
            let instance = InstanceReport {
                resource,
                kind,
                role: Some(Role::Stopped),
                stop_failed: false,
                failed: None,
                run: 0,
            };
            let (operation, outcome) = (Operation::Stop, Outcome::Ok);
            self.give(i, Input::Executor(ExecutorSays::Changed { operation, outcome, instance }));
        }
        self.give(i, Input::Executor(ExecutorSays::Regained));
    }

    pub(crate) fn report_due(&self, i: usize) -> bool {
        self.acts(i) && self.nodes[i].exec.report_due && !self.nodes[i].exec.mute
    }

    pub(crate) fn report(&mut self, i: usize) {
        let exec = &mut self.nodes[i].exec;
        exec.report_due = false;
        let Some((epoch, _)) = exec.epoch else { return };
        let (report, scores) = (exec.report(), exec.scores());
        exec.scored = Some(scores.clone());
        if !scores.is_empty() {
            self.give(i, Input::Executor(ExecutorSays::Scores { epoch, scores }));
        }
        self.give(i, Input::Executor(ExecutorSays::Report { epoch, report }));
    }

    pub(crate) fn scores_due(&self, i: usize) -> bool {
        let exec = &self.nodes[i].exec;
        self.acts(i) && exec.scored.as_ref().is_some_and(|said| *said != exec.scores())
    }

    pub(crate) fn say_scores(&mut self, i: usize) {
        let exec = &mut self.nodes[i].exec;
        let Some((epoch, _)) = exec.epoch else { return };
        let scores = exec.scores();
        exec.scored = Some(scores.clone());
        self.give(i, Input::Executor(ExecutorSays::Scores { epoch, scores }));
    }

    /// An inquorate executor stops by itself, or fences its machine where that fails.
    pub(crate) fn must_stop(&self, i: usize) -> bool {
        let node = &self.nodes[i];
        node.on
            && node.frozen.is_none()
            && !node.exec.running.is_empty()
            && node.exec.quorum == Some(Quorum::Inquorate)
            && !node.exec.suspended
    }

    pub(crate) fn stop_by_itself(&mut self, i: usize) {
        if self.nodes[i].exec.stop_fails {
            self.power_off(i);
        } else {
            self.nodes[i].exec.running.clear();
        }
    }

    pub(crate) fn release_due(&self, i: usize) -> bool {
        self.acts(i) && self.nodes[i].exec.leaving
    }

    pub(crate) fn release(&mut self, i: usize) {
        let exec = &mut self.nodes[i].exec;
        if exec.stop_fails && !exec.running.is_empty() {
            return;
        }
        exec.leaving = false;
        exec.running.clear();
        exec.queue.clear();
        exec.epoch = None;
        self.give(i, Input::Executor(ExecutorSays::Released));
    }

    pub(crate) fn suspended_due(&self, i: usize) -> bool {
        self.acts(i) && self.nodes[i].exec.suspended_due && !self.nodes[i].exec.mute
    }

    pub(crate) fn say_suspended(&mut self, i: usize) {
        self.nodes[i].exec.suspended_due = false;
        self.give(i, Input::Executor(ExecutorSays::Suspended));
    }

    // ---- power

    pub(crate) fn command_due(&self, i: usize) -> bool {
        self.acts(i) && !self.nodes[i].fencer.commands.is_empty()
    }

    /// The next step of the first command of the fencer of `i`.
    pub(crate) fn fence_step(&mut self, i: usize) {
        let (since, command, sent) = self.nodes[i].fencer.commands[0].clone();
        let t = usize::from(command.incident.node.as_u16()) - 1;
        let fencer = &self.nodes[i].fencer;
        let mine = fencer.epoch == Some(command.epoch)
            && !fencer.members.contains(&command.incident.node)
            && !self.stale(i);
        let expires = since + command.deadline;
        let reachable = !self.unreachable_bmc.contains(&t);
        if self.now > expires || (!sent && !mine) || (!reachable && !sent) {
            let error = fencing::DeviceError::Unreachable;
            return self.fence_end(i, &command, Err(error), sent);
        }
        let on = self.nodes[t].on;
        match command.goal {
            PowerGoal::Read => {
                let state = if on { PowerState::On } else { PowerState::Off };
                self.fence_end(i, &command, Ok(state), false);
            }
            PowerGoal::Off if !on && self.nodes[t].bmc.is_none() => {
                self.fence_end(i, &command, Ok(PowerState::Off), sent);
            }
            PowerGoal::Off if !sent => {
                self.check_shot(i, t);
                self.nodes[t].bmc = Some((command.incident.ring, expires));
                self.nodes[i].fencer.commands[0].2 = true;
            }
            PowerGoal::Off => {}
            PowerGoal::On => {
                if !on {
                    self.power_on(t);
                }
                self.fence_end(i, &command, Ok(PowerState::On), true);
            }
        }
    }

    fn fence_end(
        &mut self,
        i: usize,
        command: &FenceCommand,
        outcome: Result<PowerState, fencing::DeviceError>,
        commanded: bool,
    ) {
        self.nodes[i].fencer.commands.remove(0);
        let result = FenceResult {
            incident: command.incident,
            epoch: command.epoch,
            goal: command.goal,
            outcome,
            commanded,
            took: Duration::ZERO,
            verify: Duration::ZERO,
        };
        self.give(i, Input::Fencer(FencerSays::Ended(result)));
    }

    fn check_shot(&mut self, i: usize, t: usize) {
        self.shots += 1;
        let cfg = self.nodes[i].cfg.expect("not stale");
        let members = self.cfgs[cfg].members.clone();
        let newer = (0..self.n()).any(|j| {
            self.acts(j)
                && self.nodes[j].cfg.is_some_and(|c| {
                    c > cfg
                        && self.cfgs[c].members.len() > self.n() / 2
                        && !self.cfgs[c].members.contains(&i)
                })
        });
        if members.len() <= self.n() / 2 || newer {
            self.fail(format!("(S5) {} is shot by {} without quorum", t + 1, i + 1));
        }
        if members.contains(&t) {
            self.fail(format!("(S7) the member {} is shot by {}", t + 1, i + 1));
        }
    }

    pub(crate) fn effect_due(&self, t: usize) -> bool {
        self.nodes[t].bmc.is_some()
    }

    /// The power-off reaches its machine, or its connection was aborted at the deadline.
    pub(crate) fn effect(&mut self, t: usize) {
        let Some((incident, expires)) = self.nodes[t].bmc.take() else { return };
        if self.now > expires || !self.nodes[t].on {
            return;
        }
        let cfg = self.nodes[t].cfg;
        let in_era = cfg.is_some_and(|c| {
            !self.nodes[t].old
                && self.nodes[t].member.is_some()
                && self.cfgs[c].members.len() > self.n() / 2
                && self.cfgs[c].members.iter().any(|&j| {
                    self.nodes[j].cfg == cfg
                        && self.nodes[j].member.as_ref().is_some_and(|m| m.era_open())
                })
        });
        if in_era {
            self.fail(format!("(S7) a power-off hits {} in an open era", t + 1));
        }
        let boot = self.nodes[t].boot;
        if self.nodes[t].effects.contains(&(boot, incident)) {
            self.fail(format!("(6) two effects on {} for {incident}", t + 1));
        }
        self.nodes[t].effects.push((boot, incident));
        self.note(|| format!("power-off of {}", t + 1));
        self.power_off(t);
    }
}
