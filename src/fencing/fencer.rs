//! The fencer: five verbs over operations, at most one for each machine.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::time::Duration;

use base::{
    Epoch, Instant, NodeId,
    faulty::{Rule, broken},
};

use crate::{
    Answer, CallId, DeviceAction, DeviceCall, DeviceError, FenceCommand, Incident, OperationEvent,
    Output, PowerGoal, Wake,
    operation::{Operation, Step},
};

/// Operations at once; one for each other member of the largest cluster that one member may have to fence alone.
pub const OPERATIONS_MAX: usize = 64;

/// The times that a fencer lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Configured token timeout; half of it is how old a token may be when something is sent.
    pub token: Duration,
}

/// Carries out the fencing commands of one member.
///
/// Call a `handle_*`, then [`Self::poll_output`] until `None`, then [`Self::poll_timeout`]. Extra calls do nothing.
#[derive(Debug)]
pub struct Fencer {
    settings: Settings,
    epoch: Option<Epoch>,
    members: Vec<NodeId>,
    token_at: Option<Instant>,
    operations: BTreeMap<NodeId, Operation>,
    next_call: u64,
    /// What was due by then has been done or is blocked.
    turned_at: Instant,
    outputs: VecDeque<Output>,
}

impl Fencer {
    /// A fencer that accepts nothing until it is given an epoch and a token.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            epoch: None,
            members: Vec::new(),
            token_at: None,
            operations: BTreeMap::new(),
            next_call: 1,
            turned_at: Instant::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// The ring part installed a regular configuration with these members: every operation is aborted, the next
    /// coordinator decides anew (CLUSTER.md section 6).
    pub fn handle_configuration(&mut self, now: Instant, members: Vec<NodeId>) {
        self.epoch = None;
        self.members = members;
        self.abort_all(now, "a new configuration was installed");
    }

    /// The era of the configuration is open.
    pub fn handle_epoch(&mut self, now: Instant, epoch: Epoch) {
        if self.epoch != Some(epoch) {
            self.abort_all(now, "another coordinator decides");
        }
        self.epoch = Some(epoch);
        self.turn(now);
    }

    /// Who counts as a member changed within the configuration (an eviction was delivered or ended). Operations against
    /// others go on; one against a member ends.
    pub fn handle_members(&mut self, now: Instant, members: Vec<NodeId>) {
        self.members = members;
        self.turn(now);
    }

    /// The ring part's socket closed.
    pub fn handle_ring_closed(&mut self, now: Instant) {
        self.epoch = None;
        self.abort_all(now, "the ring part is gone");
    }

    /// The ring part saw a token at `seen_at` on this machine's boot-time clock.
    pub fn handle_token(&mut self, now: Instant, seen_at: Instant) {
        let seen_at = seen_at.min(now);
        self.token_at = Some(self.token_at.map_or(seen_at, |at| at.max(seen_at)));
        self.turn(now);
    }

    /// The cluster's times changed.
    pub fn handle_settings(&mut self, now: Instant, settings: Settings) {
        self.settings = settings;
        self.turn(now);
    }

    /// A command was delivered. Its deadline counts from here. A repetition of the one in progress changes nothing;
    /// while one is in progress, another command against the same machine is refused.
    pub fn handle_command(&mut self, now: Instant, command: FenceCommand) {
        let node = command.incident.node;
        if let Some(running) = self.operations.get(&node) {
            if running.same_command(&command) {
                return;
            }
            return self.refuse(now, command, "another operation on this machine is in progress");
        }
        if self.operations.len() >= OPERATIONS_MAX {
            return self.refuse(now, command, "too many operations at once");
        }
        if let Err(why) = self.authority(&command) {
            return self.refuse(now, command, why);
        }
        self.operations.insert(node, Operation::new(now, command));
        self.turn(now);
    }

    /// Evidence stands for this incident: what is under way against the machine ends, unless it turns the power on.
    pub fn handle_evidence(&mut self, now: Instant, incident: Incident) {
        if let Some(operation) = self.operations.get_mut(&incident.node)
            && operation.command.incident == incident
            && operation.command.goal != PowerGoal::On
        {
            let error = Err(DeviceError::NotSent("evidence stands for this incident".into()));
            operation.finish(OperationEvent::superseded, error);
        }
        self.turn(now);
    }

    /// A device answered. Answers to aborted calls are ignored.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        call: CallId,
        answer: Result<Answer, DeviceError>,
    ) {
        // at the deadline it is too late for good news as well: the result has been counted as a timeout elsewhere
        self.turn(now);
        let operation = self
            .operations
            .values_mut()
            .find(|o| o.flight.as_ref().is_some_and(|(id, _)| *id == call));
        if let Some(operation) = operation {
            operation.answered(now, answer);
        }
        self.turn(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.turn(now);
    }

    /// The next effect.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and why. What was due and waits for a fresh token or for a device wakes at
    /// its deadline: tokens and answers are handled as they come.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        let wishes = self
            .operations
            .values()
            .flat_map(|o| [o.due(), Some((o.give_up_at, Wake::Deadline))])
            .flatten();
        wishes.filter(|(at, _)| *at > self.turned_at).min()
    }

    /// Whether the command of this call may leave the machine now. Drivers ask right before each transmission, because
    /// a login may have taken long (CLUSTER.md section 4).
    #[must_use]
    pub fn permits(&self, now: Instant, call: CallId) -> bool {
        self.operations.values().any(|o| {
            o.flight.as_ref().is_some_and(|(id, _)| *id == call)
                && self.authority(&o.command).is_ok()
                && self.is_fresh(now)
                && !self.is_late(now, o)
        })
    }

    /// The installed epoch.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Whether anything is in progress.
    pub fn is_idle(&self) -> bool {
        self.operations.is_empty()
    }

    /// Epoch and membership, as they stand now.
    fn authority(&self, command: &FenceCommand) -> Result<(), &'static str> {
        if self.epoch != Some(command.epoch) {
            return Err("its epoch is not the installed one");
        }
        if self.members.contains(&command.incident.node) {
            return Err("the target is a member");
        }
        Ok(())
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.token_at.is_some_and(|at| now.since(at) <= self.settings.token / 2)
    }

    fn is_late(&self, now: Instant, operation: &Operation) -> bool {
        now >= operation.give_up_at && !no_deadline()
    }

    fn refuse(&mut self, now: Instant, command: FenceCommand, why: &str) {
        let operation = Operation::new(now, command);
        let result = operation.result(now, Err(DeviceError::NotSent(why.into())));
        self.outputs.push_back(Output::Result(result));
    }

    fn abort_all(&mut self, now: Instant, why: &str) {
        for operation in self.operations.values_mut() {
            let error = Err(DeviceError::NotSent(why.into()));
            operation.finish(OperationEvent::superseded, error);
        }
        self.turn(now);
    }

    /// Everything that follows from the time and the state. Idempotent.
    fn turn(&mut self, now: Instant) {
        self.turned_at = now;
        let nodes: Vec<NodeId> = self.operations.keys().copied().collect();
        for node in nodes {
            self.advance(now, node);
        }
    }

    /// One step of one operation.
    fn advance(&mut self, now: Instant, node: NodeId) {
        let Some(operation) = self.operations.get(&node) else { return };
        let obstacle = if self.is_late(now, operation) {
            Some(operation.late())
        } else {
            self.authority(&operation.command).err().map(|why| DeviceError::NotSent(why.into()))
        };
        let Some(operation) = self.operations.get_mut(&node) else { return };
        if let Some(error) = obstacle {
            operation.finish(OperationEvent::superseded, Err(error));
        }
        match operation.step(now) {
            Step::Wait => {}
            Step::End(outcome) => {
                let result = operation.result(now, outcome);
                if let Some((call, _)) = operation.flight.take() {
                    self.outputs.push_back(Output::Abort(call));
                }
                self.operations.remove(&node);
                self.outputs.push_back(Output::Result(result));
            }
            Step::Call { device, action } => {
                let in_use = self.operations.values().any(|o| o.uses(&device));
                if self.is_fresh(now) && !in_use {
                    self.call(now, node, device, action);
                }
            }
        }
    }

    fn call(
        &mut self,
        now: Instant,
        node: NodeId,
        device: base::FenceDevice,
        action: DeviceAction,
    ) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let Some(operation) = self.operations.get_mut(&node) else { return };
        let within =
            if no_deadline() { Duration::from_secs(600) } else { operation.give_up_at.since(now) };
        operation.called(id, device.clone());
        self.outputs.push_back(Output::Call(DeviceCall {
            id,
            target: node,
            device,
            action,
            within,
        }));
    }
}

/// Faulty rule: a command may be sent however late.
fn no_deadline() -> bool {
    cfg!(feature = "sabotage-no-fence-deadline") || broken(Rule::NoDeadline)
}
