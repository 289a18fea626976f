//! What the executor of this machine says, and how its member leaves.
//!
//! Invariant: whatever the executor may have missed it is told again, so that it never acts on what is over.

use alloc::{format, string::String, vec::Vec};

use base::{Instant, NodeId};

use crate::{
    ExecutorDo, ExecutorSays, FencerDo, Output, Phase,
    member::{Leaving, Member},
    report::{cut, cut_end, packed},
    wire::{self, Change, Message},
};

impl Member {
    pub(crate) fn executor(&mut self, now: Instant, says: ExecutorSays) {
        let epoch_now = self.installed.as_ref().and_then(crate::era::Installed::epoch);
        match says {
            ExecutorSays::Report { epoch, report } => {
                if Some(epoch) == epoch_now && self.era_open() && self.leaving != Leaving::Said {
                    self.say_report(report);
                }
            }
            ExecutorSays::Scores { epoch, scores } => self.say_scores(epoch, scores),
            ExecutorSays::Ended { epoch, id, end } => {
                if Some(epoch) == epoch_now && self.era_open() {
                    self.say(&Message::Ended { id, end: cut_end(end) });
                }
            }
            ExecutorSays::Announcing { resource, kind, station } if self.era_open() => {
                self.say(&Message::Announcing { resource, kind, station });
            }
            ExecutorSays::Sees { resource, station } if self.era_open() => {
                self.say(&Message::Sees { resource, station });
            }
            // Said again as long as nobody sees it.
            ExecutorSays::Announcing { .. } | ExecutorSays::Sees { .. } => {}
            ExecutorSays::Changed { operation, mut outcome, mut instance } => {
                cut(&mut outcome);
                instance.failed.iter_mut().for_each(cut);
                let number = self.next_change;
                self.next_change += 1;
                let wall = self.wall_now(now);
                self.push_change(Change { number, operation, outcome, instance, wall });
                self.unsaid_changes = true;
            }
            ExecutorSays::Restarted => self.brief_executor(now),
            ExecutorSays::Regained => self.unreport(),
            ExecutorSays::SelfFencing { reason } => {
                let text = format!("this machine fences itself: {}", wire::short(&reason));
                self.record(Phase::Note, None, text);
            }
            ExecutorSays::Released => self.released(),
            ExecutorSays::Suspended => self.executor_is_suspended(),
        }
    }

    /// A new life of the executor knows of no configuration, and tokens alone would keep it in quorum for ever: it is told
    /// where this member stands, quorate or not, and what else it must know (SAFETY.md#S11, CLUSTER.md section 8).
    fn brief_executor(&mut self, now: Instant) {
        // before any word of quorum, which would start to count
        self.tell_suspension();
        if let Some(installed) = &self.installed {
            let ring = installed.configuration.ring;
            let transitional = installed.transitional;
            let inquorate = installed.merged.as_ref().is_some_and(|m| !m.quorate);
            let quorate = !transitional && !inquorate && self.has_quorum(&installed.members());
            let quorum = crate::era::quorum(quorate);
            self.out.push_back(Output::Executor(ExecutorDo::Void { ring, quorum }));
            if inquorate && !transitional {
                self.take_epoch(now);
            }
            self.unreport();
        }
        if self.leaving == Leaving::Releasing || self.halted.is_some() {
            self.out.push_back(Output::Executor(ExecutorDo::Leave));
        }
    }

    /// What it said in this era is void; it takes the epoch when all have heard so.
    fn unreport(&mut self) {
        if self.era_open() {
            self.say(&Message::Unreported);
        }
    }

    /// Executor and fencer get the epoch: when the era is open here, or when there is no quorum.
    pub(crate) fn take_epoch(&mut self, now: Instant) {
        let Some(installed) = &self.installed else { return };
        let Some(epoch) = installed.epoch() else { return };
        let quorate = installed.is_open();
        let members = installed.members();
        let evicted: Vec<NodeId> = match &self.state {
            Some(state) if quorate => state.evicted.keys().copied().collect(),
            _ => Vec::new(),
        };
        let quorum = crate::era::quorum(quorate);
        self.carry(now, Output::Executor(ExecutorDo::TakeEpoch { epoch, quorum }));
        self.carry(now, Output::Fencer(FencerDo::Install { epoch, quorate, members, evicted }));
    }

    /// Changes are said in an open era, in order, and again in each until they were applied.
    pub(crate) fn say_changes(&mut self) {
        if !self.era_open() || self.leaving == Leaving::Said {
            self.unsaid_changes = !self.changes.is_empty();
            return;
        }
        if !core::mem::take(&mut self.unsaid_changes) {
            return;
        }
        for message in packed(self.changes.iter().cloned()) {
            self.say(&message);
        }
    }

    // ---- leaving

    pub(crate) fn leave_when_empty(&mut self) {
        if self.leaving != Leaving::Draining {
            return;
        }
        let me = self.config.me;
        let holds = self.era_open()
            && self.state.as_ref().is_some_and(|s| {
                let runs = s
                    .instances
                    .iter()
                    .any(|((_, n), i)| *n == me && i.role.is_none_or(base::Role::is_active));
                // Alone there is nobody to move to.
                (runs || s.pending.values().any(|p| p.node == me)) && s.members.len() > 1
            });
        if !holds {
            self.leaving = Leaving::Releasing;
            self.out.push_back(Output::Executor(ExecutorDo::Leave));
        }
    }

    fn released(&mut self) {
        if self.leaving != Leaving::Releasing {
            return;
        }
        let incarnation = self.config.incarnation;
        if self.acts_in_ring() {
            self.say(&Message::Leave { incarnation });
            self.leaving = Leaving::Said;
        } else {
            self.leaving = Leaving::Said;
            let reason = String::from("left: nothing is held here, and no ring heard it");
            if self.installed.is_none() {
                self.out.push_back(Output::LeaveRing { reason });
            }
        }
    }

    /// The configuration changed before the leave was delivered: it is the only word still said.
    pub(crate) fn resay_leave(&mut self, ring: base::RingId) {
        let body = Message::Leave { incarnation: self.config.incarnation };
        let payload = wire::encode_message(ring, &body);
        self.out.push_back(Output::Multicast { payload, guarantee: body.guarantee() });
    }
}
