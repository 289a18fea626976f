//! The power of one machine as its controller sees it: five states, two of which take time and one of which waits.

use core::time::Duration;

use base::Instant;

/// What somebody presses, by the network or with a finger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Off and on again; nothing on a machine that is off.
    Cycle,
    /// Power off, at once and without asking.
    Off,
    /// Power on.
    On,
}

/// What a controller that knows the words says about the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// On.
    On,
    /// Told to go off; something may still run.
    PoweringOff,
    /// Off, and nothing runs.
    Off,
    /// Told to go on; off still.
    PoweringOn,
}

/// What is to be done with the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End everything that runs on it, then call [`Chassis::handle_cut`]: until then the power reads as on.
    Cut,
    /// Let it boot. Follows a cut or the making of a chassis that was off.
    Start,
}

/// How long the board takes. Real ones: 0.3 to 20 s (SAFETY.md#O31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From an accepted power-off to the end of the power.
    pub off: Duration,
    /// From an accepted power-on to the power.
    pub on: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    On,
    /// Still on.
    GoingOff {
        at: Instant,
        again: bool,
    },
    /// The machine is being ended; still reads as on.
    Cutting {
        again: bool,
    },
    Off,
    /// Still off.
    GoingOn {
        at: Instant,
    },
}

/// Five verbs: `handle_command`, `handle_cut`, `handle_timeout`, `poll_effect`, `poll_timeout`; spurious calls do nothing.
#[derive(Debug)]
pub struct Chassis {
    state: State,
    timing: Timing,
    effect: Option<Effect>,
}

impl Chassis {
    /// With power, its machine running, or without both.
    #[must_use]
    pub const fn new(on: bool, timing: Timing) -> Self {
        Self { state: if on { State::On } else { State::Off }, timing, effect: None }
    }

    /// What it says when it is asked.
    #[must_use]
    pub const fn power(&self) -> bool {
        matches!(self.state, State::On | State::GoingOff { .. } | State::Cutting { .. })
    }

    /// The same in four words.
    #[must_use]
    pub const fn reading(&self) -> Power {
        match self.state {
            State::On => Power::On,
            State::GoingOff { .. } | State::Cutting { .. } => Power::PoweringOff,
            State::Off => Power::Off,
            State::GoingOn { .. } => Power::PoweringOn,
        }
    }

    /// Pressing again what is under way changes nothing; the newest of two different wishes wins.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        self.state = match (command, self.state) {
            (Command::Off, State::On) => {
                State::GoingOff { at: now + self.timing.off, again: false }
            }
            (Command::Cycle, State::On) => {
                State::GoingOff { at: now + self.timing.off, again: true }
            }
            (Command::Off, State::GoingOff { at, .. }) => State::GoingOff { at, again: false },
            (Command::Cycle, State::GoingOff { at, .. }) => State::GoingOff { at, again: true },
            (Command::Off, State::Cutting { .. }) => State::Cutting { again: false },
            (Command::On | Command::Cycle, State::Cutting { .. }) => State::Cutting { again: true },
            (Command::Off, State::GoingOn { .. }) => State::Off,
            (Command::On, State::Off) => State::GoingOn { at: now + self.timing.on },
            // A power-off that was not carried out yet is taken back.
            (Command::On, State::GoingOff { .. }) => State::On,
            (_, unchanged) => unchanged,
        };
    }

    /// Nothing runs on the machine any more.
    pub fn handle_cut(&mut self, now: Instant) {
        if let State::Cutting { again } = self.state {
            self.state =
                if again { State::GoingOn { at: now + self.timing.on } } else { State::Off };
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::GoingOff { at, again } if now >= at => {
                self.state = State::Cutting { again };
                self.effect = Some(Effect::Cut);
            }
            State::GoingOn { at } if now >= at => {
                self.state = State::On;
                self.effect = Some(Effect::Start);
            }
            _ => {}
        }
    }

    /// What is to be done, once.
    #[must_use]
    pub const fn poll_effect(&mut self) -> Option<Effect> {
        self.effect.take()
    }

    /// When to call `handle_timeout`.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::GoingOff { at, .. } | State::GoingOn { at } => Some(at),
            State::On | State::Cutting { .. } | State::Off => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing =
        Timing { off: Duration::from_millis(300), on: Duration::from_millis(1000) };

    const fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    //= SAFETY.md#S4
    //= type=test
    #[test]
    fn it_reads_on_until_the_machine_has_ended() {
        let mut chassis = Chassis::new(true, TIMING);
        chassis.handle_command(at(0), Command::Off);
        chassis.handle_command(at(200), Command::Off);
        assert!(chassis.power(), "accepted is not off");
        assert_eq!(chassis.poll_timeout(), Some(at(300)), "a repetition does not begin anew");
        chassis.handle_timeout(at(299));
        assert_eq!(chassis.poll_effect(), None, "silence");
        chassis.handle_timeout(at(300));
        assert_eq!(chassis.poll_effect(), Some(Effect::Cut));
        assert_eq!(chassis.poll_effect(), None, "once");
        assert!(chassis.power(), "the machine is still ending");
        chassis.handle_cut(at(350));
        assert!(!chassis.power());
        chassis.handle_command(at(400), Command::Off);
        assert_eq!(chassis.poll_timeout(), None, "off is off");
    }

    #[test]
    fn on_takes_its_time_and_boots_once() {
        let mut chassis = Chassis::new(false, TIMING);
        chassis.handle_command(at(0), Command::Cycle);
        assert_eq!(chassis.poll_timeout(), None, "a cycle wakes nobody");
        chassis.handle_command(at(0), Command::On);
        chassis.handle_command(at(500), Command::On);
        chassis.handle_timeout(at(999));
        assert!(!chassis.power());
        chassis.handle_timeout(at(1000));
        assert!(chassis.power());
        assert_eq!(chassis.poll_effect(), Some(Effect::Start));
        chassis.handle_command(at(1100), Command::On);
        chassis.handle_timeout(at(9000));
        assert_eq!(chassis.poll_effect(), None, "it runs already");
    }

    #[test]
    fn a_cycle_comes_back_unless_somebody_wants_it_off() {
        for (last, comes_back) in
            [(Command::Cycle, true), (Command::On, true), (Command::Off, false)]
        {
            let mut chassis = Chassis::new(true, TIMING);
            chassis.handle_command(at(0), Command::Cycle);
            chassis.handle_timeout(at(300));
            assert_eq!(chassis.poll_effect(), Some(Effect::Cut));
            chassis.handle_command(at(310), last);
            chassis.handle_cut(at(320));
            assert!(!chassis.power());
            assert_eq!(chassis.poll_timeout().is_some(), comes_back, "{last:?}");
        }
    }

    #[test]
    fn the_newest_wish_wins() {
        let mut chassis = Chassis::new(true, TIMING);
        chassis.handle_command(at(0), Command::Off);
        chassis.handle_command(at(100), Command::On);
        chassis.handle_timeout(at(5000));
        assert_eq!((chassis.power(), chassis.poll_effect()), (true, None));
        let mut chassis = Chassis::new(false, TIMING);
        chassis.handle_command(at(0), Command::On);
        chassis.handle_command(at(100), Command::Off);
        chassis.handle_timeout(at(5000));
        assert_eq!((chassis.power(), chassis.poll_effect()), (false, None));
    }
}
