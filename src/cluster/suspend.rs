//! `suspend` (CLUSTER.md section 5): neither fencing nor recovery, addresses for ever, watchdogs off, until all are back.
//!
//! Invariants, in the order in which they hold:
//! 1. From its delivery nothing is ordered and nobody is shot, and no watchdog counts as armed.
//! 2. When every member has said that its disk holds that, it stands. Only then, and only when its disk holds that too, a
//!    member tells its executor and its fencer: who stops nothing by itself must be known as such to whoever opens an era
//!    without it, or the self-fencing bound would pay its debt while it serves.
//! 3. When every executor has carried it out it is answered, and the rings stop.
//! 4. A watchdog is armed again only when the disk holds that the suspension is over.
//!
//! It ends in the first era after its own in which all voters have reported, or by `Resume`. One that did not come to
//! stand may all the same stand at a member that went away at the last moment: it blocks until all voters are here.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::time::Duration;

use base::{Instant, NodeId};

use crate::{
    ExecutorDo, FencerDo, Output, Phase, Reason, RequestKind, apply::Effect, durable::After,
    member::Member, state::State, wire::Message,
};

/// From the answer to the end of the ring: time for the others to hear what this member heard last, and for the mirror to
/// show it.
const RING_GOES_ON: Duration = Duration::from_secs(2);

/// Whose words have come in the open era.
#[derive(Debug, Default)]
pub(crate) struct Agreeing {
    held: BTreeSet<NodeId>,
    done: BTreeSet<NodeId>,
}

/// What this member has told its parts, and what becomes of its ring.
#[derive(Debug, Default)]
pub(crate) struct Suspension {
    /// Executor and fencer are to be suspended. Follows what the disk holds.
    told: bool,
    /// The change of that is being written.
    writing: bool,
    /// When the ring is to stop.
    stop_at: Option<Instant>,
    /// It has stopped.
    pub(crate) stopped: bool,
}

impl Suspension {
    pub(crate) fn restored(state: Option<&State>) -> Self {
        Self { told: state.is_some_and(State::suspension_stands), ..Self::default() }
    }

    pub(crate) const fn told(&self) -> bool {
        self.told
    }
}

impl State {
    /// Held by all disks.
    pub(crate) const fn suspension_stands(&self) -> bool {
        self.suspended && self.suspended_in.is_some()
    }

    /// A person asks for it.
    pub(crate) fn suspend(&mut self) -> Result<(), String> {
        let here = |node: &NodeId| self.members.get(node).is_some_and(|m| !m.left && !m.leaving);
        let away: Vec<String> =
            self.voters.keys().filter(|n| !here(n)).map(|n| format!("node {n}")).collect();
        if !away.is_empty() {
            return Err(format!(
                "{} is not in the cluster and would not know of it: start its agent and wait until `palisade status` shows \
                 it online, or take it out of `spec.members`; then say it again",
                away.join(", ")
            ));
        }
        let busy = self.members.keys().find(|n| {
            let power = self.asked.contains_key(n) || self.evicted.contains_key(n);
            power || self.intents.contains_key(n)
        });
        if let Some(node) = busy {
            return Err(format!(
                "node {node} is about to be powered off; wait until `palisade status` shows it online again, then say it \
                 again"
            ));
        }
        if self.change.is_some() {
            return Err("members are just being added or removed; try again in a moment".into());
        }
        if !self.suspended {
            self.suspended = true;
            self.suspended_in = None;
            // From here on no bound is evidence about anybody.
            for voter in self.voters.values_mut() {
                voter.watchdog = None;
            }
        }
        Ok(())
    }

    /// It is over.
    pub(crate) fn resume(&mut self, out: &mut Vec<Effect>) {
        if self.suspended {
            self.suspended = false;
            self.suspended_in = None;
            out.push(Effect::Resumed);
        }
    }

    /// A member has reported: a suspension of an earlier era ends with the last one.
    pub(crate) fn resume_when_all_are_back(&mut self, out: &mut Vec<Effect>) {
        let earlier = self.suspended_in.is_some_and(|era| era < self.position.era);
        let back = |node: &NodeId| self.members.get(node).is_some_and(|m| m.reported);
        if self.suspended && earlier && self.voters.keys().all(back) {
            self.resume(out);
        }
    }

    /// Opening an era with all voters: what had not come to stand stands nowhere, and is void.
    pub(crate) fn void_half_a_suspension(&mut self, all_here: bool) {
        if self.suspended && self.suspended_in.is_none() && all_here {
            self.suspended = false;
        }
    }

    /// Whose word a suspension waits for.
    fn concerned(&self) -> BTreeSet<NodeId> {
        self.members.keys().chain(self.voters.keys()).copied().collect()
    }
}

impl Member {
    /// After each message of the open era: the same on every member, since all have heard the same.
    pub(crate) fn agree_on_suspension(&mut self, now: Instant, from: NodeId, body: &Message) {
        let (Some(installed), Some(state)) = (&mut self.installed, &mut self.state) else { return };
        match body {
            Message::SuspendHeld => drop(installed.suspending.held.insert(from)),
            Message::SuspendDone => drop(installed.suspending.done.insert(from)),
            _ => {}
        }
        if !state.suspended {
            return;
        }
        let all = state.concerned();
        let mut note = None;
        if state.suspended_in.is_none()
            && installed.suspending.held.is_superset(&all)
            // what is in flight ends in its own time: its end would be lost with the ring
            && state.pending.is_empty()
        {
            state.suspended_in = Some(state.position.era);
            note = Some("every disk holds the suspension: no fencing and no recovery");
        }
        let done = state.suspension_stands() && installed.suspending.done.is_superset(&all);
        if let Some(text) = note {
            self.record(Phase::Note, None, text.into());
        }
        if !done {
            return;
        }
        if self.suspension.stop_at.is_none() && !self.suspension.stopped {
            self.suspension.stop_at = Some(now + RING_GOES_ON);
        }
        // whoever asks again meanwhile, too
        let asks = self.asks.iter().filter(|(_, kind)| matches!(kind, RequestKind::Suspend));
        for id in asks.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.asks.remove(&id);
            self.out.push_back(Output::Answer { id, result: Ok(()) });
        }
    }

    /// Parts hear of it when the disk holds it, both ways.
    pub(crate) fn follow_suspension(&mut self, now: Instant) {
        let stands = self.state.as_ref().is_some_and(State::suspension_stands);
        if stands != self.suspension.told && !self.suspension.writing {
            self.suspension.writing = true;
            self.persist_state(After::Suspension(stands));
        }
        if !stands {
            self.suspension.stop_at = None;
        } else if self.suspension.stop_at.is_some_and(|at| at <= now) {
            self.suspension.stop_at = None;
            self.suspension.stopped = true;
            self.out.push_back(Output::StopRing);
        }
    }

    /// The disk holds that the suspension stands, or that it is over.
    pub(crate) fn suspension_durable(&mut self, stands: bool) {
        self.suspension.writing = false;
        if self.state.as_ref().is_some_and(State::suspension_stands) == stands {
            self.suspension.told = stands;
            self.tell_suspension();
        }
    }

    /// To both parts; to each new life of them, too.
    pub(crate) fn tell_suspension(&mut self) {
        if self.suspension.told {
            self.watchdog = None;
        }
        let (executor, fencer) = if self.suspension.told {
            (ExecutorDo::Suspend, FencerDo::Suspend)
        } else {
            (ExecutorDo::Resume, FencerDo::Resume)
        };
        self.out.push_back(Output::Executor(executor));
        self.out.push_back(Output::Fencer(fencer));
    }

    /// The executor has made its addresses permanent.
    pub(crate) fn executor_is_suspended(&mut self) {
        if self.suspension.told && self.era_open() {
            self.say(&Message::SuspendDone);
        }
    }

    /// The state says that it is over. Watchdogs that were never disarmed count again from here.
    pub(crate) fn resumed(&mut self) {
        self.record(Phase::Note, None, "the suspension is over".into());
        if !self.suspension.told && self.watchdog.is_some() {
            let timeout = self.watchdog;
            self.say(&Message::Watchdog { timeout });
        }
    }

    /// Whether the ring was stopped by a suspension: this life of the member hears nothing any more.
    pub const fn ring_stopped(&self) -> bool {
        self.suspension.stopped
    }

    /// Executor and fencer of this machine are suspended.
    pub const fn is_suspended(&self) -> bool {
        self.suspension.told
    }

    pub(crate) fn suspension_wakes(&self) -> Option<(Instant, Reason)> {
        self.suspension.stop_at.map(|at| (at, Reason::RingStops))
    }
}
