//! `palisade dev machine`: the first process of a machine of a box; all others are below it.
//!
//! Invariants: it is the reaper of its descendants, so nothing of the machine escapes it; when its standard input ends
//! (the box let go, or was killed) it ends everything and then itself. It takes three words: `freeze`, `thaw`, `off`.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use agent::state::DirLock;
use anyhow::{Context as _, Result};
use drivers::process::descendants;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    signal::unix::{SignalKind, signal},
};

use super::{
    objects::{CLUSTER, NAMESPACE},
    plan::{Folder, write_private},
};

/// For an earlier life of the machine to end.
const END_MAX: Duration = Duration::from_secs(10);
/// Between two looks for what is left.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// As a service manager would.
const RESTART_AFTER: Duration = Duration::from_millis(100);
/// Rounds of stopping whatever still runs; each finds less.
const ROUNDS_MAX: u32 = 1000;

/// Which machine.
#[derive(clap::Args)]
pub(crate) struct Args {
    name: base::NodeName,
}

pub(super) fn run(folder: &Folder, args: &Args) -> Result<()> {
    set_child_subreaper(Some(getpid())).context("not the reaper of its descendants")?;
    let dir = folder.machine(&args.name);
    // An earlier life of this machine may still be ending, if its box was killed.
    let _power = DirLock::take(&dir, "power.lock", END_MAX)
        .map_err(|_| anyhow::anyhow!("an earlier life of {} does not end", args.name))?;
    fresh_boot(&dir).with_context(|| format!("booting {}", args.name))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(live(folder, args));
    // Whatever ended it: nothing of the machine stays.
    end_all();
    // The thread that reads standard input may wait for ever.
    runtime.shutdown_background();
    result
}

/// What a power cut loses is gone, and this boot has a name of its own.
fn fresh_boot(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir.join("run")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    write_private(&dir.join("boot-id"), format!("{}\n", uuid::Uuid::new_v4()).as_bytes())
}

async fn live(folder: &Folder, args: &Args) -> Result<()> {
    // A terminal that goes away, or a person's Ctrl-C: the box decides what becomes of its machines.
    let mut terminate = signal(SignalKind::terminate())?;
    let _hangup = signal(SignalKind::hangup())?;
    let _interrupt = signal(SignalKind::interrupt())?;
    let mut child = signal(SignalKind::child())?;
    let mut words = BufReader::new(tokio::io::stdin()).lines();
    let mut agent = start(folder, args)?;
    loop {
        tokio::select! {
            word = words.next_line() => {
                match word.ok().flatten().as_deref() {
                    Some("freeze") => stop_all(),
                    Some("thaw") => signal_all(Signal::CONT),
                    Some("off") | None => return Ok(()),
                    Some(_) => continue,
                }
                let mut out = std::io::stdout().lock();
                writeln!(out, "done").and_then(|()| out.flush())?;
            }
            _ = terminate.recv() => return Ok(()),
            _ = child.recv() => {
                if reap(agent) {
                    tokio::time::sleep(RESTART_AFTER).await;
                    agent = start(folder, args)?;
                }
            }
        }
    }
}

/// The agent, as its unit would start it.
fn start(folder: &Folder, args: &Args) -> Result<Pid> {
    let dir = folder.machine(&args.name);
    let log = OpenOptions::new().create(true).append(true).open(folder.agent_log(&args.name))?;
    let child = agent::own_program()
        .args(["agent", "--node-name", args.name.as_str()])
        .args(["--namespace", NAMESPACE, "--cluster", CLUSTER, "--kubeconfig"])
        .arg(dir.join("kubeconfig"))
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--config")
        .arg(dir.join("agent.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("the agent cannot be started")?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process has an id")
}

/// Takes the word of everybody who ended; whether the agent was among them.
fn reap(agent: Pid) -> bool {
    let mut ended = false;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        ended |= agent == pid && (status.exited() || status.signaled());
    }
    ended
}

fn signal_all(signal: Signal) {
    for process in descendants(getpid().as_raw_nonzero().get()) {
        if let Some(pid) = Pid::from_raw(process.pid) {
            // Who is gone already needs nothing.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Until two looks find the same: what was being made in between is stopped too.
fn stop_all() {
    let mut before = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let now = descendants(getpid().as_raw_nonzero().get());
        if now == before {
            return;
        }
        signal_all(Signal::STOP);
        before = now;
    }
}

fn end_all() {
    static ENDED: AtomicBool = AtomicBool::new(false);
    if ENDED.swap(true, Ordering::Relaxed) {
        return;
    }
    for _ in 0..ROUNDS_MAX {
        signal_all(Signal::KILL);
        let left = descendants(getpid().as_raw_nonzero().get());
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if left.is_empty() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    eprintln!("palisade dev: processes of this machine cannot be ended");
}
