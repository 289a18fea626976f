//! One operation against one machine: read, all off, read until off.

use core::time::Duration;

use base::{
    FenceDevice, Instant,
    faulty::{Rule, broken},
    transitions,
};

use crate::{
    Answer, CallId, DeviceAction, DeviceError, FenceCommand, FenceResult, PowerGoal, PowerState,
    Wake,
};

/// Between two status reads.
pub const READ_EVERY: Duration = Duration::from_millis(250);

/// Status reads of one operation after its commands. 200 reads at 250 ms outlast the slowest BMC of SAFETY.md#O31
/// (20 s to power off, 40 s of `PoweringOff`); the deadline usually comes first.
pub const STATUS_READS_MAX: u16 = 200;

/// How often a first read that finds nobody is tried before the operation fails and another member may try.
pub const READ_TRIES_MAX: u16 = 3;

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationPhase {
    /// Nothing has been sent; is it off already?
    Reading,
    /// Waiting for the delay of a device.
    Delaying,
    /// A command is under way; with several devices all are switched off before any is read.
    SwitchingOff,
    /// Reading until off.
    Verifying,
    /// A command is under way.
    SwitchingOn,
    /// Its result has been said.
    Ended,
}

transitions! {
    /// The life of one fencing operation. `superseded` is a new configuration or the deadline.
    pub OperationPhase by OperationEvent
    [Reading, Delaying, SwitchingOff, Verifying, SwitchingOn, Ended]:
    read_on(Reading) => Delaying;
    delay_over(Delaying) => SwitchingOff;
    next_device(SwitchingOff) => Delaying;
    all_accepted(SwitchingOff) => Verifying;
    read_off(Reading | Verifying) => Ended;
    switched_on(SwitchingOn) => Ended;
    failed(Reading | SwitchingOff | Verifying | SwitchingOn) => Ended;
    superseded(Reading | Delaying | SwitchingOff | Verifying | SwitchingOn) => Ended;
}

/// What an operation wants next.
#[derive(Debug)]
pub(crate) enum Step {
    /// One session.
    Call { device: FenceDevice, action: DeviceAction },
    /// A call is under way, or nothing is due yet.
    Wait,
    /// The end.
    End(Result<PowerState, DeviceError>),
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) command: FenceCommand,
    pub(crate) phase: OperationPhase,
    pub(crate) flight: Option<(CallId, FenceDevice)>,
    pub(crate) begun_at: Instant,
    /// Delivery plus the command's deadline, never later: a late command shoots the healthy (SAFETY.md#S7).
    pub(crate) give_up_at: Instant,
    /// Which device of the level is next in this phase.
    device: usize,
    /// When the present phase may go on: the end of a delay, the next read.
    next_at: Instant,
    reads: u16,
    /// Whether a device read as on in this round of reads.
    on_seen: bool,
    commanded: bool,
    verifying_since: Option<Instant>,
    end: Option<Result<PowerState, DeviceError>>,
}

impl Operation {
    pub(crate) fn new(now: Instant, command: FenceCommand) -> Self {
        let phase = match command.goal {
            PowerGoal::Read | PowerGoal::Off => OperationPhase::Reading,
            PowerGoal::On => OperationPhase::SwitchingOn,
        };
        let mut operation = Self {
            phase,
            flight: None,
            begun_at: now,
            give_up_at: now + command.deadline,
            device: 0,
            next_at: now,
            reads: 0,
            on_seen: false,
            commanded: false,
            verifying_since: None,
            end: None,
            command,
        };
        if let Some(problem) = operation.problem() {
            operation.finish(OperationEvent::superseded, Err(problem));
        }
        operation
    }

    /// Why this command cannot even begin.
    fn problem(&self) -> Option<DeviceError> {
        let target = self.command.incident.node;
        let devices = &self.command.devices;
        if devices.is_empty() || devices.len() > crate::DEVICES_MAX {
            return Some(DeviceError::NotSent("the level has no devices, or too many".into()));
        }
        let strange = devices.iter().find(|d| d.identity.is_none() || !d.targets.contains(&target));
        strange.map(|device| {
            DeviceError::NotSent(alloc::format!(
                "device {} is not enrolled for this machine: compare its identity first",
                device.name
            ))
        })
    }

    /// What is to be done now.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if let Some(end) = self.end.take() {
            return Step::End(end);
        }
        if self.flight.is_some() {
            return Step::Wait;
        }
        if self.phase == OperationPhase::Delaying && self.next_at <= now {
            self.go(OperationEvent::delay_over);
        }
        let action = match self.phase {
            OperationPhase::Delaying => return Step::Wait,
            OperationPhase::Reading | OperationPhase::Verifying if self.next_at > now => {
                return Step::Wait;
            }
            OperationPhase::Reading | OperationPhase::Verifying => DeviceAction::Read,
            OperationPhase::SwitchingOff => DeviceAction::SwitchOff,
            OperationPhase::SwitchingOn => DeviceAction::SwitchOn,
            OperationPhase::Ended => return Step::Wait,
        };
        match self.command.devices.get(self.device) {
            Some(device) => Step::Call { device: device.clone(), action },
            None => Step::End(Err(DeviceError::Protocol("no such device".into()))),
        }
    }

    /// The call was made.
    pub(crate) fn called(&mut self, call: CallId, device: FenceDevice) {
        self.commanded |= self.phase == OperationPhase::SwitchingOff;
        self.flight = Some((call, device));
    }

    /// A device answered.
    pub(crate) fn answered(&mut self, now: Instant, answer: Result<Answer, DeviceError>) {
        self.flight = None;
        match (self.phase, answer) {
            (OperationPhase::Reading | OperationPhase::Verifying, Ok(Answer::Power(state))) => {
                self.on_seen |= state == PowerState::On;
                self.device += 1;
                if self.device == self.command.devices.len() {
                    self.round_read(now);
                }
            }
            (OperationPhase::Reading | OperationPhase::Verifying, Err(error)) => {
                self.read_failed(now, error);
            }
            (OperationPhase::SwitchingOff, answer) => self.switched_off(now, answer),
            (OperationPhase::SwitchingOn, Ok(_)) => {
                self.device += 1;
                if self.device == self.command.devices.len() {
                    self.finish(OperationEvent::switched_on, Ok(PowerState::On));
                }
            }
            (OperationPhase::SwitchingOn, Err(error)) => {
                self.finish(OperationEvent::failed, Err(error));
            }
            (OperationPhase::Reading | OperationPhase::Verifying, Ok(Answer::Accepted)) => {
                let error = DeviceError::Protocol("a read was answered as a command".into());
                self.finish(OperationEvent::failed, Err(error));
            }
            (OperationPhase::Delaying | OperationPhase::Ended, _) => {}
        }
    }

    /// All devices of the level were read.
    fn round_read(&mut self, now: Instant) {
        let on = core::mem::take(&mut self.on_seen);
        self.device = 0;
        match (self.phase, on) {
            (_, false) => self.finish(OperationEvent::read_off, Ok(PowerState::Off)),
            (OperationPhase::Reading, true) if self.command.goal == PowerGoal::Read => {
                self.finish(OperationEvent::failed, Ok(PowerState::On));
            }
            (OperationPhase::Reading, true) => {
                self.go(OperationEvent::read_on);
                self.next_at = now + self.delay();
            }
            (_, true) => self.read_again(now, DeviceError::NotOff, STATUS_READS_MAX),
        }
    }

    fn read_failed(&mut self, now: Instant, error: DeviceError) {
        self.device = 0;
        self.on_seen = false;
        let lasting = matches!(
            error,
            DeviceError::Authentication
                | DeviceError::WrongIdentity(_)
                | DeviceError::NoCredentials
                | DeviceError::NotSent(_)
        );
        let tries = match self.phase {
            _ if lasting => 0,
            OperationPhase::Verifying => STATUS_READS_MAX,
            _ => READ_TRIES_MAX,
        };
        self.read_again(now, error, tries);
    }

    fn read_again(&mut self, now: Instant, otherwise: DeviceError, tries: u16) {
        self.reads += 1;
        if self.reads >= tries {
            self.finish(OperationEvent::failed, Err(otherwise));
        } else {
            self.next_at = now + READ_EVERY;
        }
    }

    fn switched_off(&mut self, now: Instant, answer: Result<Answer, DeviceError>) {
        let timeout_is_success = (cfg!(feature = "sabotage-timeout-is-success")
            || broken(Rule::TimeoutIsSuccess))
            && matches!(answer, Err(DeviceError::Unreachable));
        let accepted_is_success =
            (cfg!(feature = "sabotage-no-read-back") || broken(Rule::NoReadBack)) && answer.is_ok();
        match answer {
            _ if timeout_is_success || accepted_is_success => {
                self.finish(OperationEvent::superseded, Ok(PowerState::Off));
            }
            // read in a session after the command's: verified where it is the only device
            Ok(Answer::Power(PowerState::Off)) if self.command.devices.len() == 1 => {
                self.go(OperationEvent::all_accepted);
                self.finish(OperationEvent::read_off, Ok(PowerState::Off));
            }
            // silence says nothing: it may have been carried out, only a read tells
            Ok(_) | Err(DeviceError::Unreachable) => {
                self.device += 1;
                if self.device == self.command.devices.len() {
                    self.go(OperationEvent::all_accepted);
                    self.device = 0;
                    self.reads = 0;
                    self.next_at = now;
                    self.verifying_since = Some(now);
                } else {
                    self.go(OperationEvent::next_device);
                    self.next_at = now + self.delay();
                }
            }
            Err(error) => self.finish(OperationEvent::failed, Err(error)),
        }
    }

    fn delay(&self) -> Duration {
        self.command.devices.get(self.device).map_or(Duration::ZERO, |d| d.delay)
    }

    /// Ends the operation with this result, said by the next [`Self::step`].
    pub(crate) fn finish(
        &mut self,
        event: OperationEvent,
        result: Result<PowerState, DeviceError>,
    ) {
        if self.phase != OperationPhase::Ended {
            self.go(event);
            self.end = Some(result);
        }
    }

    fn go(&mut self, event: OperationEvent) {
        self.phase = event.apply(self.phase).unwrap_or(OperationPhase::Ended);
    }

    /// When the present phase may go on, and why.
    pub(crate) fn due(&self) -> Option<(Instant, Wake)> {
        match self.phase {
            _ if self.flight.is_some() => None,
            OperationPhase::Delaying => Some((self.next_at, Wake::Delay)),
            OperationPhase::Reading | OperationPhase::Verifying => Some((self.next_at, Wake::Read)),
            _ => None,
        }
    }

    pub(crate) fn result(
        &self,
        now: Instant,
        outcome: Result<PowerState, DeviceError>,
    ) -> FenceResult {
        FenceResult {
            incident: self.command.incident,
            epoch: self.command.epoch,
            goal: self.command.goal,
            outcome,
            commanded: self.commanded,
            took: now.since(self.begun_at),
            verify: self.verifying_since.map_or(Duration::ZERO, |at| now.since(at)),
        }
    }

    /// Devices in use, so that no second session is opened with one of them.
    pub(crate) fn uses(&self, device: &FenceDevice) -> bool {
        self.flight.as_ref().is_some_and(|(_, used)| used.name == device.name)
    }

    /// What the deadline means here: off was asked and not seen, or nobody answered.
    pub(crate) fn late(&self) -> DeviceError {
        match self.phase {
            OperationPhase::Verifying | OperationPhase::SwitchingOff => DeviceError::NotOff,
            _ => DeviceError::Unreachable,
        }
    }

    /// Whether this is the same command once more.
    pub(crate) fn same_command(&self, other: &FenceCommand) -> bool {
        self.command.incident == other.incident
            && self.command.epoch == other.epoch
            && self.command.goal == other.goal
            && self.command.devices == other.devices
    }
}
