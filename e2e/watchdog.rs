//! The watchdog of a lab machine: a socket beside it, outside of its freezer, that resets it.

use crate::clock::monotonic_ns;
use crate::machine::Machine;
use crate::power;
use anyhow::{Context, Result};
use base::Instant;
use drivers::watchdog::proto::{Dog, LINE_BYTES_MAX};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How late it may bark.
const TICK: Duration = Duration::from_millis(20);

/// Where a machine's watchdog listens; the machine sees the same path.
#[must_use]
pub fn socket(machine: &Machine) -> PathBuf {
    machine.dir().join("watchdog.sock")
}

fn now() -> Instant {
    Instant(monotonic_ns() / 1000)
}

/// One life of a watchdog, as long as one life of its machine.
#[derive(Debug)]
pub struct Kennel {
    dog: Arc<Mutex<Dog>>,
    barking: Arc<Mutex<()>>,
}

impl Kennel {
    /// Listens, disarmed.
    pub fn open(machine: &Machine) -> Result<Self> {
        let path = socket(machine);
        crate::records::remove(&path)?;
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("the watchdog's socket {}", path.display()))?;
        let this = Self { dog: Arc::default(), barking: Arc::default() };
        let dog = Arc::clone(&this.dog);
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let dog = Arc::clone(&dog);
                thread::spawn(move || listen(&dog, &stream));
            }
        });
        let (dog, barking, machine) =
            (Arc::clone(&this.dog), Arc::clone(&this.barking), machine.clone());
        thread::spawn(move || {
            while !dog.lock().unwrap_or_else(PoisonError::into_inner).handle_timeout(now()) {
                thread::sleep(TICK);
            }
            // Held to the end: whoever waits for this machine waits until it is on again.
            let _busy = barking.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = power::reset(&machine, "watchdog") {
                eprintln!("watchdog: {error:#}");
            }
        });
        Ok(this)
    }

    /// Returns when no reset is under way.
    pub fn wait(&self) {
        drop(self.barking.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn listen(dog: &Mutex<Dog>, stream: &UnixStream) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        if !matches!(read, Ok(n) if n > 0) {
            return; // a connection that ends changes nothing
        }
        let answer = dog.lock().unwrap_or_else(PoisonError::into_inner).handle_line(now(), &line);
        if let Some(answer) = answer
            && (&*stream).write_all(answer.as_bytes()).is_err()
        {
            return;
        }
    }
}
