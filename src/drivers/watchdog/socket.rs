//! The lab's watchdog, for machines without `/dev/watchdog`. See `proto.rs` for its words.

use core::time::Duration;
use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use super::{
    Armed, Watchdog, WatchdogError,
    proto::{self, LINE_BYTES_MAX, Word},
};

/// The other end is on the same machine and does nothing else.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// A connection to the lab's watchdog, made anew when it broke.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    stream: Option<UnixStream>,
}

impl Socket {
    /// Connects when it is first used.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().into(), stream: None }
    }

    fn say(&mut self, word: Word) -> io::Result<&mut UnixStream> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = UnixStream::connect(&self.path)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                // A watchdog that does not read is none: say so rather than wait.
                stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                stream
            }
        };
        // Kept only when the word went out whole.
        (&stream).write_all(word.encode().as_bytes())?;
        Ok(self.stream.insert(stream))
    }

    fn ask(&mut self, word: Word) -> Result<Armed, WatchdogError> {
        let answer = self.say(word).and_then(read_line);
        let line = answer.inspect_err(|_| self.stream = None)?;
        match proto::parse_answer(&line) {
            Some(Some(timeout)) => Ok(Armed::For(timeout)),
            Some(None) => Ok(Armed::Not),
            None => {
                self.stream = None;
                Err(WatchdogError::Strange(String::from_utf8_lossy(&line).into_owned()))
            }
        }
    }
}

fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(LINE_BYTES_MAX);
    let mut byte = [0];
    while line.len() < LINE_BYTES_MAX {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
        if byte == *b"\n" {
            break;
        }
    }
    Ok(line)
}

impl Watchdog for Socket {
    fn arm(&mut self, timeout: Duration) -> Result<(), WatchdogError> {
        match self.ask(Word::Arm(timeout))? {
            Armed::For(got) if got == timeout => Ok(()),
            Armed::For(got) => Err(WatchdogError::OtherTimeout { wanted: timeout, got }),
            Armed::Not => Err(WatchdogError::Strange("disarmed".into())),
        }
    }

    fn feed(&mut self) -> Result<(), WatchdogError> {
        Ok(self.say(Word::Feed).map(drop)?)
    }

    fn armed(&mut self) -> Result<Armed, WatchdogError> {
        self.ask(Word::Status)
    }

    fn disarm(&mut self) -> Result<(), WatchdogError> {
        match self.ask(Word::Disarm)? {
            Armed::Not => Ok(()),
            Armed::For(_) => Err(WatchdogError::NoWayOut),
        }
    }
}
