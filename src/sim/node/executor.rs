//! Glue around `lifecycle`: orders in, driver calls out.

use std::collections::BTreeMap;

use base::Instant;
use cluster::{ExecutorDo, ExecutorSays};
use lifecycle::{Answer, Call, CallId, Executor, Found, Operation, Outcome, Output, Quorum, Token};

use super::{Context, Effect, Message};
use crate::{
    fact::{Fact, Part},
    params::{DATABASE, is_exclusive, kind_of, promoted, wish},
};

/// A driver call that has not ended.
#[derive(Debug)]
struct Job {
    call: Call,
    /// Whether its effect has happened.
    effected: bool,
    /// What to answer whatever the kernel shows.
    refused: bool,
}

/// The executor process.
pub struct ExecutorPart {
    executor: Executor,
    jobs: BTreeMap<CallId, Job>,
}

impl ExecutorPart {
    /// Starts on a machine: what drivers find and what the record of this boot says.
    pub fn start(ctx: &mut Context<'_>) -> Self {
        let mut names = ctx.kernel.all();
        names.extend(ctx.kernel.record.keys().cloned());
        names.sort();
        names.dedup();
        let found = names
            .into_iter()
            .map(|resource| Found {
                kind: kind_of(&resource),
                exclusive: is_exclusive(&resource)
                    || ctx.kernel.record.get(&resource).is_some_and(|(_, exclusive)| *exclusive),
                recorded: ctx.kernel.record.contains_key(&resource),
                resource,
            })
            .collect();
        let settings = ctx.params.executor();
        let mut executor = Executor::new(ctx.local, settings, found);
        if ctx.kernel.suspended {
            executor.handle_suspend(ctx.local);
        }
        let mut part = Self { executor, jobs: BTreeMap::new() };
        part.drain(ctx);
        part
    }

    pub(super) fn handle(&mut self, ctx: &mut Context<'_>, message: Message) {
        let now = ctx.local;
        match message {
            Message::ExecutorDo(order, at) => self.obey(ctx, order, at),
            Message::Token { seen_at, era_open } => {
                self.executor.handle_token(now, Token { seen_at, era_open });
            }
            Message::RingClosed => self.executor.handle_ring_closed(now),
            Message::Due(call) => self.effect(ctx, call),
            Message::Done(call, answer) => self.done(ctx, call, answer),
            _ => {}
        }
        self.drain(ctx);
    }

    pub(super) fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        self.executor.handle_timeout(ctx.local);
        self.drain(ctx);
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        self.executor.poll_timeout().map(|(at, _)| at)
    }

    /// Whether the watchdog's feeder gets its answer.
    pub fn answers_watchdog(&self) -> bool {
        self.executor.answers_watchdog()
    }

    fn obey(&mut self, ctx: &mut Context<'_>, order: ExecutorDo, at: Instant) {
        let now = ctx.local;
        match order {
            ExecutorDo::Settings(settings) => self.executor.handle_settings(now, settings),
            ExecutorDo::Void { quorum, .. } => self.executor.handle_configuration(now, quorum),
            ExecutorDo::TakeEpoch { epoch, quorum } => {
                let quorate = quorum == Quorum::Quorate;
                ctx.log.fact(Fact::Epoch { node: ctx.node, epoch, quorate });
                self.executor.handle_epoch(now, epoch, quorum);
            }
            ExecutorDo::Carry(mut order) => {
                order.deadline = order.deadline.saturating_sub(now.since(at));
                self.executor.handle_order(now, order);
            }
            ExecutorDo::Detach(span) => self.executor.handle_detach(now, span),
            ExecutorDo::Suspend => {
                self.note_suspended(ctx, true);
                self.executor.handle_suspend(now);
            }
            ExecutorDo::Resume => {
                self.note_suspended(ctx, false);
                self.executor.handle_resume(now);
            }
            ExecutorDo::Leave => self.executor.handle_leave(now),
            // announcements have no model here
            ExecutorDo::LookFor { .. } | ExecutorDo::SeenAt { .. } => {}
        }
    }

    /// On record before it is done: a restarted executor must neither stop what a suspended one keeps, nor keep what one
    /// that is no longer suspended would stop.
    fn note_suspended(&self, ctx: &mut Context<'_>, yes: bool) {
        if ctx.kernel.suspended != yes {
            ctx.kernel.suspended = yes;
            ctx.log.fact(Fact::Suspended { node: ctx.node, yes });
        }
    }

    /// The moment of the system call: asked once more.
    fn effect(&mut self, ctx: &mut Context<'_>, id: CallId) {
        let permitted = self.executor.permits(ctx.local, id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let resource = &job.call.resource;
        match job.call.operation {
            Operation::Start | Operation::Promote if !permitted => job.refused = true,
            Operation::Start => {
                let expires = ctx.local + job.call.lifetime;
                let expires_at = ctx.clock.world(expires);
                let exclusive = is_exclusive(resource);
                ctx.kernel.start(ctx.log, resource, &job.call.kind, exclusive, expires_at);
                job.effected = true;
            }
            Operation::Stop => {
                ctx.kernel.stop(ctx.log, resource, "stopped");
                ctx.kernel.record.remove(resource);
                job.effected = true;
            }
            Operation::Promote => {
                ctx.kernel.promote(ctx.log, resource);
                job.effected = true;
            }
            Operation::Demote => ctx.kernel.demote(ctx.log, resource, "demoted"),
            _ => {}
        }
    }

    fn done(&mut self, ctx: &mut Context<'_>, id: CallId, answer: Option<Answer>) {
        let Some(job) = self.jobs.remove(&id) else { return };
        let Call { resource, operation, order, .. } = job.call;
        let run = ctx.kernel.run(&resource);
        let seen = match (operation, run) {
            (Operation::Stop, 0) => Outcome::Ok,
            (_, 0) if job.refused => {
                Outcome::Failed { code: 1, reason: "no longer permitted".into() }
            }
            (_, 0) => Outcome::NotRunning,
            (Operation::Promote, _) if job.refused => {
                Outcome::Failed { code: 1, reason: "no longer permitted".into() }
            }
            (Operation::Stop, _) => Outcome::Failed { code: 1, reason: "still there".into() },
            (Operation::Probe | Operation::Monitor, _) if ctx.kernel.is_promoted(&resource) => {
                Outcome::RunningPromoted
            }
            (_, _) => Outcome::Ok,
        };
        let mut answer = answer.unwrap_or_else(|| Answer::new(seen, run));
        if resource.as_str() == DATABASE && run != 0 {
            // what is said in a call counts at its end, as on a machine
            answer.wish = wish(ctx.node, ctx.now, ctx.params.moods_until)
                .map_or(lifecycle::Wish::None, lifecycle::Wish::Score);
        }
        let good = matches!(answer.outcome, Outcome::Ok | Outcome::RunningPromoted);
        if let (Operation::Demote | Operation::Stop, true) = (operation, good) {
            let (resource, operation) = (promoted(&resource), Operation::Stop);
            ctx.log.fact(Fact::Answered { node: ctx.node, resource, operation, order, good });
        }
        ctx.log.fact(Fact::Answered { node: ctx.node, resource, operation, order, good });
        self.executor.handle_answer(ctx.local, id, answer);
    }

    fn drain(&mut self, ctx: &mut Context<'_>) {
        while let Some(output) = self.executor.poll_output() {
            match output {
                Output::Call(call) => {
                    let promotion = call.operation == Operation::Promote;
                    ctx.log.fact(Fact::Began {
                        node: ctx.node,
                        resource: match promotion {
                            true => promoted(&call.resource),
                            false => call.resource.clone(),
                        },
                        operation: call.operation,
                        order: call.order,
                        exclusive: promotion || is_exclusive(&call.resource),
                    });
                    ctx.effects.push(Effect::Drive(call.clone()));
                    self.jobs.insert(call.id, Job { call, effected: false, refused: false });
                }
                Output::Cancel(call) => self.cancel(ctx, call),
                Output::OrderEnd { epoch, id, end } => {
                    self.say(ctx, ExecutorSays::Ended { epoch, id, end });
                }
                Output::Changed { operation, outcome, instance } => {
                    self.say(ctx, ExecutorSays::Changed { operation, outcome, instance });
                }
                Output::Report { epoch, report } => {
                    let runs = |i: &&lifecycle::InstanceReport| i.role != Some(base::Role::Stopped);
                    let mut running: Vec<base::ResourceId> =
                        report.instances.iter().filter(runs).map(|i| i.resource.clone()).collect();
                    let leads =
                        |i: &&lifecycle::InstanceReport| i.role == Some(base::Role::Promoted);
                    running.extend(
                        report.instances.iter().filter(leads).map(|i| promoted(&i.resource)),
                    );
                    ctx.log.fact(Fact::Reported { node: ctx.node, epoch, running });
                    self.say(ctx, ExecutorSays::Report { epoch, report });
                }
                Output::Scores { epoch, scores } => {
                    let score = scores.first().map(|said| said.score);
                    ctx.log.fact(Fact::Wished { node: ctx.node, ring: epoch.ring, score });
                    self.say(ctx, ExecutorSays::Scores { epoch, scores });
                }
                Output::RenewAddress { resource, lifetime, .. } => {
                    let at = lifetime.map(|lifetime| ctx.clock.world(ctx.local + lifetime));
                    ctx.kernel.renew(&resource, at);
                }
                Output::Regained => self.say(ctx, ExecutorSays::Regained),
                Output::Suspended => self.say(ctx, ExecutorSays::Suspended),
                Output::Released => {
                    ctx.log.fact(Fact::Released { node: ctx.node });
                    self.say(ctx, ExecutorSays::Released);
                }
                Output::SelfFence(reason) => {
                    let reason = reason.to_string();
                    self.say(ctx, ExecutorSays::SelfFencing { reason });
                    ctx.effects.push(Effect::Reboot);
                }
            }
        }
    }

    /// Nothing of the call takes effect any more; what was being started is killed.
    fn cancel(&mut self, ctx: &mut Context<'_>, call: CallId) {
        if let Some(job) = self.jobs.remove(&call)
            && matches!(job.call.operation, Operation::Start | Operation::Promote)
            && job.effected
        {
            ctx.kernel.stop(ctx.log, &job.call.resource, "start broken off");
        }
    }

    fn say(&self, ctx: &mut Context<'_>, says: ExecutorSays) {
        ctx.effects.push(Effect::Tell(Part::Ring, Message::ExecutorSays(says)));
    }
}
