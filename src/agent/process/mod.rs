//! The agent as processes: `palisade agent` starts and watches three more of itself (CLUSTER.md section 8).
//!
//! Invariants: each part runs one thread with a small runtime (the ring one more for what may wait); a part ends with
//! its supervisor; whatever runs as a resource does not.

mod before;
mod executor;
mod fencer;
mod machine;
mod ring;
mod stand_in;

use std::{ffi::OsString, io, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

pub(crate) use before::be_led;
pub use machine::{Machine, RealProber};
pub use stand_in::StandInProber;

use crate::{
    config::Options,
    http,
    ipc::{Admitted, Listener, Port},
    metrics::Health,
    own_program,
    run_dir::Entry,
    state::{DirLock, keep, make_private},
    supervise::{self, Ended, Part},
};

/// A new agent waits for an old one to go: a surging DaemonSet overlaps by 60 to 260 ms, a slow stop takes seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// Parts of one agent follow each other quickly.
const PART_LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How an agent process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Done,
    /// With this code, which the supervisor understands.
    Code(u8),
}

/// Which process this is.
#[derive(Clone, Debug)]
pub enum Role {
    /// Starts and watches the others. `arguments` are its own, to be given on.
    Supervisor {
        /// Which of the three; the others have a supervisor of their own on this machine (containers, CLUSTER.md section 8).
        parts: Vec<Part>,
        /// As they were given, without the program's name.
        arguments: Vec<OsString>,
        /// What follows when the member has left for good.
        after_leave: AfterLeave,
    },
    /// Lets the paths at which a ring part of the version before looks for its fencer lead to this version's, and ends: for
    /// the fencer's pod, whose fencer does not see the run directory.
    LinkOldPaths,
    /// Keeps the state directory for a ring part that is not root.
    Disk {
        /// The ring part.
        parent: u32,
    },
    /// Reads Secrets for the fencer and ends.
    Secrets {
        /// The fencer.
        parent: u32,
    },
    /// One of the three, started by the process with this id.
    Part {
        /// Which.
        part: Part,
        /// Its supervisor.
        parent: u32,
    },
}

/// What an agent does whose member has said the clean leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterLeave {
    /// It ends with 0: a unit with `Restart=on-failure` stays ended.
    End,
    /// It stays as it is, alive and not ready, until it is told to end: a kubelet would start it again, and the member would
    /// join again.
    Stay,
}

/// Runs one process of the agent to its end.
pub fn main(options: Options, role: Role) -> io::Result<Exit> {
    match role {
        Role::Supervisor { parts, arguments, after_leave } => {
            supervisor(&options, &parts, &arguments, after_leave)
        }
        Role::LinkOldPaths => {
            options
                .run_dir()
                .make(options.ring_user().map(|user| user.gid))
                .map_err(io::Error::other)?;
            options.run_dir().link_old_path(Entry::Fencer)?;
            Ok(Exit::Done)
        }
        Role::Disk { parent } => {
            supervise::end_with_parent(parent)?;
            keep(&options.state_dir, PART_LOCK_PATIENCE)?;
            Ok(Exit::Done)
        }
        Role::Secrets { parent } => {
            supervise::end_with_parent(parent)?;
            crate::secrets::child(&options)
        }
        Role::Part { part, parent } => {
            supervise::end_with_parent(parent)?;
            match part {
                Part::Executor => executor::main(options),
                Part::Fencer => fencer::main(options),
                Part::Ring => ring::main(options),
            }
        }
    }
}

fn supervisor(
    options: &Options,
    parts: &[Part],
    arguments: &[OsString],
    after_leave: AfterLeave,
) -> io::Result<Exit> {
    // Parts in containers of their own do not see the whole state directory: there the lock of each part excludes a second one.
    let whole = Part::ALL.iter().all(|part| parts.contains(part));
    let _lock = if whole {
        make_private(&options.state_dir).map_err(io::Error::other)?;
        let lock = DirLock::take(&options.state_dir, "agent.lock", LOCK_PATIENCE);
        Some(lock.map_err(io::Error::other)?)
    } else {
        None
    };
    let parent = std::process::id().to_string();
    let command = |part: Part| {
        let mut command = tokio::process::Command::from(own_program());
        command
            .args(arguments)
            .args(["--part", part.name(), "--parent", &parent])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    };
    let names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
    tracing::info!(cluster = options.cluster_key(), parts = names.join(","), "the agent starts");
    let runtime = runtime()?;
    match runtime.block_on(supervise::run(parts, command))? {
        Ended::Stopped => Ok(Exit::Done),
        Ended::Gone => {
            tracing::error!("this member is out of the ring, not by its own wish; the agent ends");
            Ok(Exit::Code(1))
        }
        Ended::Left if after_leave == AfterLeave::End => {
            tracing::info!("this member has left the cluster; the agent ends");
            Ok(Exit::Done)
        }
        Ended::Left => {
            tracing::info!(
                "this member has left the cluster and stays out of it; take its machine's label, or start the agent again"
            );
            runtime.block_on(async {
                let health = health_of_part(options.config.metrics_listen);
                health.set_idle(Some("this member has left the cluster for good"));
                asked_to_end().await
            })?;
            Ok(Exit::Done)
        }
    }
}

/// For a child of this part, which gets the same options.
pub(crate) fn arguments_of_child(part: &str) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut given = std::env::args_os().skip(1);
    while let Some(word) = given.next() {
        if word == "--part" || word == "--parent" {
            given.next();
        } else {
            arguments.push(word);
        }
    }
    for (name, value) in [("--part", part.to_owned()), ("--parent", std::process::id().to_string())]
    {
        arguments.extend([name.into(), value.into()]);
    }
    arguments
}

/// One thread; two more at most, for moments, where the system has no other way than to wait.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(256 * 1024)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
}

/// Until the supervisor says that it is time.
async fn asked_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        // From a terminal everybody gets it; the supervisor's word follows.
        _ = async { loop { interrupt.recv().await; } } => {}
    }
    Ok(())
}

/// Accepts connections on a part's socket and gives them on as ports.
async fn accept<Out, In>(
    path: PathBuf,
    admitted: Admitted,
    ports: mpsc::Sender<Port<Out, In>>,
) -> io::Result<()>
where
    Out: serde::Serialize + Send + Sync + 'static,
    In: serde::de::DeserializeOwned + Send + 'static,
{
    let listener = Listener::bind(&path, admitted)?;
    loop {
        match listener.accept().await {
            Ok(stream) => {
                if ports.send(Port::over(stream)).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What a part beside the ring says of itself, served if the configuration says where.
fn health_of_part(listen: Option<std::net::SocketAddr>) -> Arc<Health> {
    let health = Arc::new(Health::default());
    if let Some(address) = listen {
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            if let Err(error) = http::serve_health(address, health).await {
                tracing::error!(%error, "health is not served");
            }
        });
    }
    health
}
