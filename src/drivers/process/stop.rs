//! Stop: ask the group, wait, kill the session, and say "stopped" only when nothing of it is left (SAFETY.md#S31).

use core::time::Duration;

use rustix::process::{Signal, kill_process, kill_process_group};
use tokio::time::{Instant, sleep};

use super::{
    proc::{self, ProcessId},
    record::Record,
    template::Template,
};

/// Between two looks. A process that ends at once costs two of them.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// After SIGKILL a process is gone at once, or it waits for something that may never come.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that still lives of a start: the shim and all of its session.
pub(super) fn living(record: &Record) -> Vec<ProcessId> {
    let shim = record.shim;
    // Another process with the shim's pid means that the session has no members any more.
    let ours = proc::stat(shim.pid).is_none_or(|stat| stat.start == shim.start);
    let mut living = if ours { proc::find(|_, stat| stat.session == shim.pid) } else { Vec::new() };
    if record.process.alive() && !living.contains(&record.process) {
        living.push(record.process);
    }
    living
}

/// Whether anything of a start lives. All of `/proc` is read only when the two that are known by name are gone.
pub(super) fn any_lives(record: &Record) -> bool {
    record.process.alive() || record.shim.alive() || !living(record).is_empty()
}

/// Whether the supervised part lives, the shim aside.
pub(super) fn runs(record: &Record) -> bool {
    record.process.alive() || living(record).iter().any(|process| *process != record.shim)
}

/// `Err` says what could not be ended. Without a template, which was lost since the start, there is only SIGKILL.
pub(super) async fn stop(record: &Record, template: Option<&Template>) -> Result<(), String> {
    if let Some(template) = template {
        // Between this look and the signal the pid could only be another's after a wrap of all pids.
        if record.process.alive()
            && let Some(group) = record.process.as_pid()
        {
            let _ = kill_process_group(group, template.stop_signal.signal());
        }
        let until = Instant::now() + template.stop_timeout;
        while record.process.alive() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
    }
    let until = Instant::now() + KILL_PATIENCE;
    loop {
        let living = living(record);
        if living.is_empty() {
            return Ok(());
        }
        let others = living.iter().any(|process| *process != record.shim);
        let late = Instant::now() >= until;
        for process in &living {
            // The shim ends by itself when its work is done; it is killed when it does not.
            if (*process != record.shim || (late && !others))
                && let Some(pid) = process.as_pid()
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if late && (others || Instant::now() >= until + KILL_PATIENCE) {
            let pids: Vec<_> = living.iter().map(|process| process.pid.to_string()).collect();
            return Err(format!("still there after SIGKILL: process {}", pids.join(", ")));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Ends a start that is broken off: a shim without a process takes the SIGTERM, one with a process sees it die.
pub(super) fn break_off(shim: ProcessId) {
    let send = |process: ProcessId, signal| {
        if let Some(pid) = process.as_pid() {
            let _ = kill_process(pid, signal);
        }
    };
    send(shim, Signal::TERM);
    for process in proc::find(|pid, stat| stat.session == shim.pid && pid != shim.pid) {
        send(process, Signal::KILL);
    }
}
