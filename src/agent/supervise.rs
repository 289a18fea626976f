//! `palisade agent`: starts the three parts and watches them.
//!
//! Invariants: a part that ends is started again, alone, after a growing pause; the parts end with this process (the
//! kernel sees to it), resources do not; a signal to end goes to the ring part first, so that it can say good-bye while
//! executor and fencer still answer.

use std::{
    io,
    process::ExitStatus,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

/// First pause after a part ended; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A part that ran this long begins with the first pause again.
const SETTLED: Duration = Duration::from_secs(10);
/// For the ring part's good-bye, then for each of the others.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

/// The three, in the order in which they are started. The ring is ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Resources.
    Executor,
    /// Power and watchdog.
    Fencer,
    /// Network and state.
    Ring,
}

impl Part {
    /// All, in the order of their start.
    pub const ALL: [Self; 3] = [Self::Executor, Self::Fencer, Self::Ring];

    /// As it stands in arguments, names of sockets and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executor => "executor",
            Self::Fencer => "fencer",
            Self::Ring => "ring",
        }
    }
}

struct Watched {
    part: Part,
    child: Option<Child>,
    started: Instant,
    pause: Duration,
    again_at: Option<Instant>,
}

/// Runs until a signal ends it, or until the ring part says by exit code 3 or 5 that the member has left for good, or
/// cannot go on. `parts` are
/// started here, the others elsewhere on this machine; `command` makes the command line of a part.
pub async fn run(parts: &[Part], command: impl Fn(Part) -> Command) -> io::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut watched: Vec<Watched> = Vec::new();
    for part in Part::ALL {
        // A part that runs elsewhere has no child and no time to start it again, for ever.
        let child = if parts.contains(&part) { Some(command(part).spawn()?) } else { None };
        watched.push(Watched {
            part,
            child,
            started: Instant::now(),
            pause: PAUSE_MIN,
            again_at: None,
        });
    }
    loop {
        let wake = watched.iter().filter_map(|part| part.again_at).min();
        let (executor, fencer, ring) = three(&mut watched);
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            status = ended(&mut executor.child) => executor.ended(status),
            status = ended(&mut fencer.child) => fencer.ended(status),
            status = ended(&mut ring.child) => {
                let code = status.as_ref().ok().and_then(|status| status.code());
                let over = [(LEFT, Ended::Left), (GONE, Ended::Gone)];
                if let Some((_, ended)) = over.into_iter().find(|(over, _)| code == Some((*over).into())) {
                    ring.child = None;
                    stop(&mut watched).await;
                    return Ok(ended);
                }
                ring.ended(status);
            }
            () = until(wake) => {
                for part in &mut watched {
                    if part.again_at.is_some_and(|at| at <= Instant::now()) {
                        part.again(command(part.part));
                    }
                }
            }
        }
    }
    stop(&mut watched).await;
    Ok(Ended::Stopped)
}

/// Exit code of a ring part whose member cannot go on, and has not left cleanly: the agent ends, and whoever watches it
/// starts it again.
pub const GONE: u8 = 5;

/// Exit code of a ring part whose member has left for good: it is not started again.
pub const LEFT: u8 = 3;

/// Why [`run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The member cannot go on.
    Gone,
    /// The member left the cluster; it holds nothing.
    Left,
    /// A signal.
    Stopped,
}

fn three(watched: &mut [Watched]) -> (&mut Watched, &mut Watched, &mut Watched) {
    match watched {
        [executor, fencer, ring] => (executor, fencer, ring),
        _ => unreachable!("`run` makes exactly three"),
    }
}

async fn ended(child: &mut Option<Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Watched {
    fn ended(&mut self, status: io::Result<ExitStatus>) {
        let lasted = self.started.elapsed();
        self.child = None;
        if lasted > SETTLED {
            self.pause = PAUSE_MIN;
        }
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::error!(part = self.part.name(), %status, lasted_ms = lasted.as_millis(),
            pause_ms = self.pause.as_millis(), "a part of the agent ended and is started again");
        self.again_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    fn again(&mut self, mut command: Command) {
        self.again_at = None;
        self.started = Instant::now();
        match command.spawn() {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                tracing::error!(part = self.part.name(), %error, "a part of the agent cannot be started");
                self.again_at = Some(Instant::now() + self.pause);
            }
        }
    }
}

/// The ring first: it announces how long it is away. Then the others; resources go on running.
async fn stop(watched: &mut [Watched]) {
    for part in watched.iter_mut().rev() {
        let Some(child) = &mut part.child else { continue };
        let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) else { continue };
        if kill(Pid::from_raw(pid), Signal::SIGTERM).is_err() {
            continue;
        }
        if tokio::time::timeout(GOODBYE_MAX, child.wait()).await.is_err() {
            tracing::warn!(part = part.part.name(), "did not end in 5 s and is killed");
            let _ = child.kill().await;
        }
    }
}

/// Exit code of a ring part that starts again with another revision.
pub const AGAIN: u8 = 4;

/// Called by a part as the first thing: it ends when its supervisor does, however that ends.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::other("the supervisor is gone already"));
    }
    Ok(())
}
