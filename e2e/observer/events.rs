//! What the observer writes: one JSON line per event.

use crate::clock::monotonic_ns;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// CLOCK_MONOTONIC when it happened, as near as the probe can tell.
    pub at_ns: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "kebab-case")]
pub enum What {
    /// P1: a machine has this address from now on.
    AddressAdded {
        /// Holder.
        machine: String,
        /// Which.
        address: IpAddr,
        /// Found by the dump of each second: the notification was missed.
        by_dump: bool,
    },
    /// P1: it has it no more.
    AddressRemoved {
        /// Former holder.
        machine: String,
        /// Which.
        address: IpAddr,
        /// Found by the dump of each second: the notification was missed.
        by_dump: bool,
    },
    /// P2: a machine spoke for the address without being asked.
    Announced {
        /// Which address.
        address: Ipv4Addr,
        /// Who says it has it.
        mac: String,
    },
    /// P2: who answered to one question for the address.
    Answered {
        /// Which address.
        address: Ipv4Addr,
        /// All that answered before the next question, sorted.
        macs: Vec<String>,
    },
    /// P5: a packet to a BMC.
    BmcPacket {
        /// Who sent it.
        from: Ipv4Addr,
        /// Which BMC.
        to: Ipv4Addr,
    },
    /// P3: one try. `at_ns` is its end.
    Http {
        /// When it began.
        start_ns: u64,
        /// Who answered; none if nobody did in time.
        node: Option<String>,
    },
    /// P1: an interface's carrier came or went.
    Link {
        /// Whose.
        machine: String,
        /// Which.
        interface: String,
        /// Carrier.
        up: bool,
    },
    /// Pid 1 of a machine is gone, and all of it with it.
    MachineGone {
        /// Which.
        machine: String,
    },
    /// A machine runs and is watched from now on.
    MachineSeen {
        /// Which.
        machine: String,
    },
    /// A probe ended by itself: what comes after proves nothing.
    ProbeFailed {
        /// Which.
        probe: String,
        /// Why.
        error: String,
    },
    /// P4: a watched thing runs. `at_ns` is its start time in the kernel's ticks (10 ms).
    ProcessStarted {
        /// Where.
        machine: String,
        /// What.
        label: String,
        /// Host pid.
        pid: i32,
    },
    /// P4: it has ended.
    ProcessStopped {
        /// Where.
        machine: String,
        /// What.
        label: String,
        /// Host pid.
        pid: i32,
    },
    /// All probes have been started.
    Watching,
}

/// The file that all probes write to.
#[derive(Debug)]
pub struct Log {
    file: Mutex<File>,
}

impl Log {
    /// An empty one.
    pub fn create(path: &Path) -> Result<Arc<Self>> {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        Ok(Arc::new(Self { file: Mutex::new(file) }))
    }

    /// Something happened now.
    pub fn write(&self, what: What) {
        self.write_at(monotonic_ns(), what);
    }

    /// Something happened then.
    pub fn write_at(&self, at_ns: u64, what: What) {
        let Ok(mut line) = serde_json::to_string(&Event { at_ns, what }) else { return };
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            eprintln!("observer: cannot write events: {error}");
            std::process::exit(1); // an observer that forgets is worse than none
        }
    }
}

/// The newest events only, cheaply: those in the last `bytes` of the file.
pub fn read_tail(path: &Path, bytes: u64) -> Result<Vec<Event>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    // The first and the last line may be halves.
    let mut events: Vec<Event> =
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    events.sort_by_key(|e| e.at_ns);
    Ok(events)
}

/// Reads a file of events. A last line that is cut off by the observer's end is left out.
pub fn read(path: &Path) -> Result<Vec<Event>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut events: Vec<Event> = whole
        .lines()
        .map(|l| serde_json::from_str(l).with_context(|| format!("event {l}")))
        .collect::<Result<_>>()?;
    events.sort_by_key(|e| e.at_ns);
    Ok(events)
}
