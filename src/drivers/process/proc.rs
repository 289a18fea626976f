//! Who is who in `/proc`: a pid alone names nobody, a pid and its start time do (SERVICES.md 1.2).

use std::fs;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// One process, for as long as the machine is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The kernel's number, used again after its end.
    pub pid: i32,
    /// Clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

/// What one line of `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) start: u64,
}

/// Fields count from the last `)`: a program may have spaces and brackets in its name.
pub(crate) fn parse_stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // state 3, parent 4, group 5, session 6, .. start 22
    let start = fields.nth(15)?.parse().ok()?;
    Some(Stat { state, parent, session, start })
}

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Who started it, or has taken it in.
#[cfg(test)]
pub(crate) fn parent(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.parent)
}

impl Stat {
    /// A zombie runs nothing and holds nothing.
    pub(crate) const fn alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

impl ProcessId {
    /// Who has this pid now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, start: stat.start })
    }

    /// Whether it is still this one, and alive.
    pub(crate) fn alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && stat.alive())
    }

    pub(crate) fn as_pid(self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// Opaque, unlike the token of any other process of this boot.
    pub(crate) const fn token(self) -> u64 {
        // A pid has at most 22 bits.
        (self.start << 22) ^ self.pid as u64
    }
}

/// Living processes below this one, however deep, as they are at one look.
pub fn descendants(of: i32) -> Vec<ProcessId> {
    let mut parents = std::collections::BTreeMap::<i32, Vec<ProcessId>>::new();
    for process in find(|_, _| true) {
        if let Some(stat) = stat(process.pid) {
            parents.entry(stat.parent).or_default().push(process);
        }
    }
    let (mut all, mut next) = (Vec::new(), vec![of]);
    while let Some(parent) = next.pop() {
        // Each list is taken once: what changes while it is read cannot make a circle.
        for child in parents.remove(&parent).unwrap_or_default() {
            next.push(child.pid);
            all.push(child);
        }
    }
    all
}

/// Living processes for which `of` says yes, `/proc` order.
pub(crate) fn find(of: impl Fn(i32, &Stat) -> bool) -> Vec<ProcessId> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| {
            let stat = stat(pid)?;
            (stat.alive() && of(pid, &stat)).then_some(ProcessId { pid, start: stat.start })
        })
        .collect()
}
