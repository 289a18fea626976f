//! What the lab has started, written down so that it can be ended, and nothing else with it.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// A process of the host's, named so that a reused pid is never mistaken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its pid as the host sees it.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks from boot to its start.
    pub start_ticks: u64,
    /// The host's boot id: after a reboot all records are about the dead.
    pub host_boot: String,
}

impl ProcessRecord {
    /// Describes a process that runs now.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = Stat::read(pid).with_context(|| format!("process {pid} is gone already"))?;
        Ok(Self { pid, start_ticks: stat.start_ticks, host_boot: host_boot_id()? })
    }

    /// Whether that very process still runs. A zombie is dead.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_some_and(|s| s.start_ticks == self.start_ticks && s.state != 'Z')
            && host_boot_id().is_ok_and(|boot| boot == self.host_boot)
    }

    /// A handle that stays bound to this process, or nothing if it is dead.
    #[must_use]
    pub fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after opening: the handle cannot be of a later process with the same pid.
        self.is_alive().then_some(fd)
    }

    /// Sends a signal. Answers whether there was anybody to take it.
    pub fn signal(&self, signal: Signal) -> Result<bool> {
        let Some(fd) = self.open() else { return Ok(false) };
        match pidfd_send_signal(&fd, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("signal to process {}", self.pid)),
        }
    }

    /// Kills it and waits until it is gone. A process that is gone already is no error.
    pub fn kill_and_wait(&self, limit: Duration) -> Result<bool> {
        let Some(fd) = self.open() else { return Ok(false) };
        if pidfd_send_signal(&fd, Signal::KILL).is_err() && !self.is_alive() {
            return Ok(false);
        }
        wait_gone(&fd, limit)
            .then_some(true)
            .with_context(|| format!("process {} outlived SIGKILL for {limit:?}", self.pid))
    }

    /// Asks it to end, and kills it when it has not within `limit`.
    pub fn end(&self, limit: Duration) -> Result<()> {
        let Some(fd) = self.open() else { return Ok(()) };
        self.signal(Signal::TERM)?;
        if !wait_gone(&fd, limit) {
            self.kill_and_wait(Duration::from_secs(5))?;
        }
        Ok(())
    }
}

/// Waits until the process behind the handle has ended.
#[must_use]
pub fn wait_gone(pidfd: &OwnedFd, limit: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: limit.as_secs().min(3600) as i64,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&timeout)), Ok(n) if n > 0)
}

/// The two fields of `/proc/PID/stat` that tell one process from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `D`, `T`, `Z` and so on.
    pub state: char,
    /// Clock ticks from boot to its start.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads it, if there is such a process.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Counted after the *last* `)`: a program's name may hold spaces and parentheses.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let start_ticks = fields.nth(18)?.parse().ok()?;
        Some(Self { state, start_ticks })
    }
}

/// The boot id of the kernel that all of the lab shares.
pub fn host_boot_id() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("the boot id")?;
    Ok(text.trim().to_owned())
}

/// Writes a record so that a reader never sees half of it.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let next = path.with_extension("next");
    fs::write(&next, serde_json::to_vec_pretty(value)?)
        .and_then(|()| fs::rename(&next, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// Reads a record; nothing where there is none.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged: remove it", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Removes a record; none there is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 3";
        assert_eq!(Stat::parse(line), Some(Stat { state: 'S', start_ticks: 4711 }));
    }

    #[test]
    fn a_reused_pid_is_not_the_recorded_process() {
        let mut own = ProcessRecord::of(std::process::id() as i32).expect("this process runs");
        assert!(own.is_alive());
        own.start_ticks += 1;
        assert!(!own.is_alive());
        assert!(!own.signal(Signal::KILL).expect("nobody is there to refuse"));
    }

    #[test]
    fn a_child_is_killed_and_its_zombie_counts_as_dead() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let record = ProcessRecord::of(child.id() as i32).expect("it runs");
        assert!(record.kill_and_wait(Duration::from_secs(5)).expect("it can be killed"));
        assert!(!record.is_alive());
        assert!(!record.kill_and_wait(Duration::from_secs(5)).expect("twice is no error"));
        child.wait().expect("reaped");
    }
}
