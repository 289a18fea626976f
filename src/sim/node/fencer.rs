//! Glue around `fencing`: commands in, sessions with BMCs out.

use std::{collections::BTreeMap, time::Duration};

use base::{Instant, NodeId};
use cluster::{FencerDo, FencerSays};
use fencing::{
    Answer, CallId, DeviceAction, DeviceCall, DeviceError, FenceCommand, Fencer, Output,
    PowerState, Settings,
};

use super::{Context, Effect, Message};
use crate::fact::{Fact, Part};

/// No level gets less time than this.
const LEVEL_LEAST: Duration = Duration::from_secs(1);

/// The fencer process.
pub struct FencerPart {
    fencer: Fencer,
    sessions: BTreeMap<CallId, DeviceCall>,
    /// Commands that were handed in, and when the ring part gave them: for the facts.
    asked: BTreeMap<NodeId, (FenceCommand, Instant)>,
}

impl FencerPart {
    /// Starts, and says whether this machine's watchdog is armed.
    pub fn start(ctx: &mut Context<'_>) -> Self {
        let fencer = Fencer::new(Settings { token: ctx.params.token });
        let part = Self { fencer, sessions: BTreeMap::new(), asked: BTreeMap::new() };
        part.say_watchdog(ctx);
        part
    }

    pub(super) fn handle(&mut self, ctx: &mut Context<'_>, message: Message) {
        let now = ctx.local;
        match message {
            Message::FencerDo(order, at) => self.obey(ctx, order, at),
            Message::Token { seen_at, .. } => self.fencer.handle_token(now, seen_at),
            Message::RingClosed => self.fencer.handle_ring_closed(now),
            Message::LoggedIn(call) => self.transmit(ctx, call),
            Message::Closed(call, answer) => {
                self.sessions.remove(&call);
                self.fencer.handle_answer(now, call, answer);
            }
            _ => {}
        }
        self.drain(ctx);
    }

    pub(super) fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        self.fencer.handle_timeout(ctx.local);
        self.drain(ctx);
    }

    /// The epoch in which it sends.
    pub fn epoch(&self) -> Option<base::Epoch> {
        self.fencer.epoch()
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        self.fencer.poll_timeout().map(|(at, _)| at)
    }

    fn obey(&mut self, ctx: &mut Context<'_>, order: FencerDo, at: Instant) {
        let now = ctx.local;
        match order {
            FencerDo::Install { epoch, quorate, mut members, evicted } => {
                members.retain(|node| !evicted.contains(node));
                if quorate && self.fencer.epoch() == Some(epoch) {
                    self.fencer.handle_members(now, members);
                } else {
                    self.fencer.handle_configuration(now, members);
                    if quorate {
                        self.fencer.handle_epoch(now, epoch);
                    }
                }
                // the ring part may have started after this one
                self.say_watchdog(ctx);
            }
            FencerDo::Carry(mut command) => {
                let FenceCommand { incident, epoch, goal, deadline, .. } = command;
                let deadline_us = u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX);
                ctx.log.fact(Fact::FenceAsked { by: ctx.node, incident, epoch, goal, deadline_us });
                self.asked
                    .entry(incident.node)
                    .and_modify(|asked| {
                        if asked.0 != command {
                            *asked = (command.clone(), at);
                        }
                    })
                    .or_insert_with(|| (command.clone(), at));
                self.say(ctx, FencerSays::Started { incident, epoch });
                command.deadline = command.deadline.saturating_sub(now.since(at));
                self.fencer.handle_command(now, command);
            }
            FencerDo::Drop(incident) => self.fencer.handle_evidence(now, incident),
            FencerDo::AbortAll => self.fencer.handle_ring_closed(now),
            FencerDo::Suspend | FencerDo::Resume => {
                let yes = order == FencerDo::Suspend;
                if ctx.kernel.watchdog_off != yes {
                    ctx.kernel.watchdog_off = yes;
                    ctx.log.fact(Fact::WatchdogOff { node: ctx.node, yes });
                }
                self.say_watchdog(ctx);
            }
        }
    }

    /// Right before a command leaves the machine: asked once more.
    fn transmit(&mut self, ctx: &mut Context<'_>, id: CallId) {
        let Some(call) = self.sessions.get(&id) else { return };
        let (target, action) = (call.target, call.action);
        if action != DeviceAction::Read {
            if !self.fencer.permits(ctx.local, id) {
                self.sessions.remove(&id);
                let error = DeviceError::NotSent("withdrawn before it was sent".into());
                self.fencer.handle_answer(ctx.local, id, Err(error));
                return;
            }
            let late = self.asked.get(&target).is_none_or(|(command, at)| {
                // what the objects say, whatever the command says
                let devices = &ctx.params.revision.devices;
                let device = devices.iter().find(|d| d.device.targets.contains(&target));
                let most = device.map_or(command.deadline, |d| d.device.delay + d.timeout);
                ctx.local.since(*at) > command.deadline.min(most.max(LEVEL_LEAST))
            });
            ctx.log.fact(Fact::FenceSent { by: ctx.node, target, call: id.0, action, late });
        }
        ctx.effects.push(Effect::Transmit { call: id, target, action });
    }

    fn drain(&mut self, ctx: &mut Context<'_>) {
        while let Some(output) = self.fencer.poll_output() {
            match output {
                Output::Call(call) => {
                    let (by, target) = (ctx.node, call.target);
                    let (id, action) = (call.id.0, call.action);
                    ctx.log.fact(Fact::Session { by, target, call: id, action });
                    ctx.effects.push(Effect::Session(call.clone()));
                    self.sessions.insert(call.id, call);
                }
                Output::Abort(call) => {
                    self.sessions.remove(&call);
                }
                Output::Result(result) => {
                    self.asked.remove(&result.incident.node);
                    ctx.log.fact(Fact::FenceEnded {
                        by: ctx.node,
                        incident: result.incident,
                        goal: result.goal,
                        off: result.outcome == Ok(PowerState::Off),
                        commanded: result.commanded,
                    });
                    ctx.log.note(|| format!("{} fencer: {:?}", ctx.node, result.outcome));
                    self.say(ctx, FencerSays::Ended(result));
                }
            }
        }
    }

    /// What is read from the device.
    fn say_watchdog(&self, ctx: &mut Context<'_>) {
        let timeout = ctx.params.watchdog().filter(|_| !ctx.kernel.watchdog_off);
        self.say(ctx, FencerSays::Watchdog { timeout });
    }

    fn say(&self, ctx: &mut Context<'_>, says: FencerSays) {
        ctx.effects.push(Effect::Tell(Part::Ring, Message::FencerSays(says)));
    }
}

/// What a session answers, for the world's model of BMCs.
pub fn session_answer(action: DeviceAction, state: PowerState) -> Answer {
    if action == DeviceAction::Read { Answer::Power(state) } else { Answer::Accepted }
}
