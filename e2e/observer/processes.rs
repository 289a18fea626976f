//! P4: what really runs where, by the machines' cgroups; ends by pidfd, to the microsecond.

use super::events::{Log, What};
use crate::lab::Lab;
use crate::machine::arguments;
use crate::records::{ProcessRecord, Stat};
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Between two looks. Something that lives shorter than this may go unseen.
const LOOK_EVERY_MS: u64 = 20;
/// A process may still become another program for this long after it was first seen.
const YOUNG: Duration = Duration::from_secs(2);
/// Clock ticks per second of /proc's times: fixed for user space on Linux.
const TICKS_PER_S: u64 = 100;

struct Known {
    start_ticks: u64,
    first_seen: Instant,
    /// Watched: its machine, label and handle.
    watched: Option<(String, String, OwnedFd)>,
}

/// Watches for ever.
pub fn watch(lab: &Lab, labels: &[(String, String)], log: &Log) -> Result<()> {
    if labels.is_empty() {
        return Ok(());
    }
    let mut known: BTreeMap<i32, Known> = BTreeMap::new();
    let machines: Vec<_> = lab
        .machines()
        .into_iter()
        .map(|m| m.groups().map(|groups| (m, groups)))
        .collect::<Result<_>>()?;
    loop {
        let mut present = BTreeMap::new();
        for (machine, groups) in &machines {
            for pid in groups.processes() {
                present.insert(pid, machine.name().to_owned());
            }
        }
        for (pid, machine) in &present {
            look(*pid, machine, labels, &mut known, log);
        }
        known.retain(|pid, k| k.watched.is_some() || present.contains_key(pid));
        wait_for_ends(&mut known, log)?;
    }
}

fn look(
    pid: i32,
    machine: &str,
    labels: &[(String, String)],
    known: &mut BTreeMap<i32, Known>,
    log: &Log,
) {
    let Some(stat) = Stat::read(pid) else { return };
    let entry = known.entry(pid).or_insert_with(|| Known {
        start_ticks: stat.start_ticks,
        first_seen: Instant::now(),
        watched: None,
    });
    if entry.watched.is_some() || entry.first_seen.elapsed() > YOUNG || stat.state == 'Z' {
        return;
    }
    let argv = arguments(pid);
    let label = labels.iter().find(|(_, part)| argv.iter().take(2).any(|a| a.ends_with(part)));
    let Some((label, _)) = label else { return };
    let Some(handle) = ProcessRecord::of(pid).ok().and_then(|r| r.open()) else { return };
    // Ticks count from boot; the host does not suspend, so that is CLOCK_MONOTONIC.
    let at_ns = entry.start_ticks * (1_000_000_000 / TICKS_PER_S);
    log.write_at(
        at_ns,
        What::ProcessStarted { machine: machine.to_owned(), label: label.clone(), pid },
    );
    entry.watched = Some((machine.to_owned(), label.clone(), handle));
}

fn wait_for_ends(known: &mut BTreeMap<i32, Known>, log: &Log) -> Result<()> {
    let ended: Vec<i32> = {
        let handles: Vec<(i32, &OwnedFd)> = known
            .iter()
            .filter_map(|(pid, k)| k.watched.as_ref().map(|(_, _, handle)| (*pid, handle)))
            .collect();
        let mut fds: Vec<PollFd<'_>> =
            handles.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: (LOOK_EVERY_MS * 1_000_000) as i64 };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for processes to end"),
        }
        let over = |fd: &PollFd<'_>| !fd.revents().is_empty();
        handles.iter().zip(&fds).filter(|(_, fd)| over(fd)).map(|((pid, _), _)| *pid).collect()
    };
    for pid in ended {
        if let Some((machine, label, _)) = known.remove(&pid).and_then(|k| k.watched) {
            log.write(What::ProcessStopped { machine, label, pid });
        }
    }
    Ok(())
}
