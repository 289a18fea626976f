//! One agent, run to its end or killed with everything in its process group.

use core::time::Duration;
use std::{
    collections::BTreeMap, ffi::OsString, io, path::Path, process::ExitStatus, process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

use crate::process::Cgroups;

/// `ocf_exit_reason` of OCF's shell functions puts it before the one line that is meant for people.
pub(super) const REASON: &str = "ocf-exit-reason:";
/// What an agent left running may hold its output open for ever: what the agent itself wrote is there already.
const REST_WITHIN: Duration = Duration::from_millis(50);
const LAST_BYTES: usize = 4096;

/// What is kept of the output; the rest is read and dropped, so that nobody waits for a full pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// All; more than so many bytes breaks it off.
    Whole(usize),
    /// The end of it.
    Last,
}

#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("it could not be started: {0}")]
    NotStarted(io::Error),
    #[error("it printed more than {0} bytes and was killed")]
    TooMuch(usize),
    #[error("its end was not seen: {0}")]
    Lost(io::Error),
}

/// Kills the process group when dropped before its leader was reaped: the number belongs to nobody else until then.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.take() {
            // Gone already is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// A program that leaves our surroundings and becomes the agent: `palisade shim --leave [CGROUP] -- PROGRAM ACTION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program, and the words before `--leave`.
    pub shim: Vec<OsString>,
    /// Which cgroups it leaves.
    pub cgroups: Cgroups,
}

impl Launch {
    fn command(launch: &Option<Self>, program: &Path, action: &str) -> Command {
        let words = launch.as_ref().and_then(|launch| launch.shim.split_first().zip(Some(launch)));
        let Some(((shim, words), launch)) = words else {
            let mut command = Command::new(program);
            command.arg(action);
            return command;
        };
        let mut command = Command::new(shim);
        command.args(words).arg("--leave");
        if let Cgroups::Leave { to } = &launch.cgroups {
            command.arg(to);
        }
        command.arg("--").arg(program).arg(action);
        command
    }
}

/// Runs it. Dropped before its end, it kills what it began.
pub(super) async fn run(
    launch: &Option<Launch>,
    program: &Path,
    action: &str,
    environment: &BTreeMap<String, String>,
    keep: Keep,
) -> Result<Ended, RunError> {
    let mut command = Launch::command(launch, program, action);
    command.env_clear().envs(environment).current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(RunError::NotStarted)?;
    // Declared after the child, so dropped before it.
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = {
        let reading = async {
            tokio::try_join!(read(out, &mut stdout, keep), read(err, &mut stderr, Keep::Last))
        };
        tokio::pin!(reading);
        let first = tokio::select! {
            status = child.wait() => Some(status),
            read = &mut reading => { read?; None }
        };
        match (first, keep) {
            // Closed its output and runs on.
            (None, _) => child.wait().await.inspect(|_| group.0 = None),
            (Some(status), Keep::Whole(_)) => {
                group.0 = None;
                reading.await?;
                status
            }
            (Some(status), Keep::Last) => {
                group.0 = None;
                // What is missing after it is only missing in a reason.
                let _ = timeout(REST_WITHIN, reading).await;
                status
            }
        }
    };
    Ok(Ended { status: status.map_err(RunError::Lost)?, stdout, stderr })
}

async fn read(
    pipe: Option<impl AsyncRead + Unpin>,
    kept: &mut Vec<u8>,
    keep: Keep,
) -> Result<(), RunError> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut piece = vec![0; 4096];
    loop {
        // A pipe that cannot be read has nothing more to say.
        let Ok(got @ 1..) = pipe.read(&mut piece).await else { return Ok(()) };
        kept.extend_from_slice(&piece[..got]);
        match keep {
            Keep::Whole(max) if kept.len() > max => return Err(RunError::TooMuch(max)),
            Keep::Last if kept.len() > LAST_BYTES => {
                kept.drain(..kept.len() - LAST_BYTES);
            }
            Keep::Whole(_) | Keep::Last => {}
        }
    }
}

/// Without a line whose beginning is lost: what is hidden in it would not be found.
fn whole_lines(kept: &[u8]) -> &[u8] {
    if kept.len() < LAST_BYTES {
        return kept;
    }
    let end = kept.iter().position(|byte| *byte == b'\n').map_or(kept.len(), |at| at + 1);
    &kept[end..]
}

/// The line for people: the last reason it gave, otherwise the last line that it printed.
pub(super) fn said(ended: &Ended) -> String {
    let stderr = String::from_utf8_lossy(whole_lines(&ended.stderr));
    let stdout = String::from_utf8_lossy(whole_lines(&ended.stdout));
    let reason = stderr.lines().rev().find_map(|line| line.trim().strip_prefix(REASON));
    let last = |text: &'_ str| {
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    };
    let line = reason.map(|line| line.trim().to_owned());
    let line = line.or_else(|| last(&stderr)).or_else(|| last(&stdout)).unwrap_or_default();
    // Cut to its length after secrets are gone from it.
    line.chars().filter(|c| !c.is_control()).collect()
}
