//! The words of the lab's watchdog, and its own half as a state machine.
//!
//! A Unix stream socket, one line a message, at most 64 bytes each, ASCII, ended by a newline:
//!
//! | to the watchdog | answer |
//! |---|---|
//! | `arm MILLISECONDS` (1 to 600000) | `armed MILLISECONDS` |
//! | `feed` | none |
//! | `status` | `armed MILLISECONDS` or `disarmed` |
//! | `disarm` | `disarmed` |
//! | anything else | `error`, and nothing changes |
//!
//! MILLISECONDS after the last `arm` or `feed` the machine is killed, once. A connection that ends changes nothing: who
//! dies without `disarm` is killed. A second connection is served beside the first, as a restarted agent's is.

use core::time::Duration;

use base::Instant;

/// Longest line, newline included.
pub const LINE_BYTES_MAX: usize = 64;
/// Longest timeout.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// A message to the watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Start, or change the timeout; counts as a feed.
    Arm(Duration),
    /// Still alive.
    Feed,
    /// Are you armed?
    Status,
    /// Stop.
    Disarm,
}

impl Word {
    /// One line.
    pub fn encode(self) -> String {
        match self {
            Self::Arm(timeout) => format!("arm {}\n", timeout.as_millis()),
            Self::Feed => "feed\n".into(),
            Self::Status => "status\n".into(),
            Self::Disarm => "disarm\n".into(),
        }
    }

    /// Reads one line, with or without its newline; `None` for anything that is not exactly a word.
    pub fn parse(line: &[u8]) -> Option<Self> {
        match line.strip_suffix(b"\n").unwrap_or(line) {
            b"feed" => Some(Self::Feed),
            b"status" => Some(Self::Status),
            b"disarm" => Some(Self::Disarm),
            line => millis(line.strip_prefix(b"arm ")?).map(Self::Arm),
        }
    }
}

/// Reads an answer: the timeout in force, `Some(None)` for disarmed.
pub fn parse_answer(line: &[u8]) -> Option<Option<Duration>> {
    match line.strip_suffix(b"\n").unwrap_or(line) {
        b"disarmed" => Some(None),
        line => millis(line.strip_prefix(b"armed ")?).map(Some),
    }
}

fn millis(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || digits.len() > 6 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    let timeout = Duration::from_millis(millis);
    (timeout > Duration::ZERO && timeout <= TIMEOUT_MAX).then_some(timeout)
}

/// The watchdog's half. Five verbs: `handle_line`, `handle_timeout`, `poll_timeout`; the answer comes at once.
#[derive(Debug, Default)]
pub struct Dog {
    armed: Option<(Duration, Instant)>,
    barked: bool,
}

impl Dog {
    /// One line came; the answer to it.
    #[must_use]
    pub fn handle_line(&mut self, now: Instant, line: &[u8]) -> Option<String> {
        match Word::parse(line) {
            Some(Word::Arm(timeout)) => self.armed = Some((timeout, now)),
            Some(Word::Feed) => {
                if let Some((_, fed)) = &mut self.armed {
                    *fed = now;
                }
                return None;
            }
            Some(Word::Status) => {}
            Some(Word::Disarm) => self.armed = None,
            None => return Some("error\n".into()),
        }
        Some(match self.armed {
            Some((timeout, _)) => format!("armed {}\n", timeout.as_millis()),
            None => "disarmed\n".into(),
        })
    }

    /// True once, when the machine is to be killed.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let late = self.armed.is_some_and(|(timeout, fed)| now >= fed + timeout);
        let bark = late && !self.barked;
        self.barked |= late;
        bark
    }

    /// When to call `handle_timeout`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.armed.filter(|_| !self.barked).map(|(timeout, fed)| fed + timeout)
    }

    /// The machine was powered on again: nobody has armed it yet.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}
