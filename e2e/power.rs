//! The power button: on, off, reset, crash. What a BMC's hook calls, and what a scenario calls.
//!
//! Off = under the machine's lock: all its links down, thaw, SIGKILL pid 1, wait until it is gone,
//! remove the cables and the record. The cable goes first: with the kill alone the dying kernel
//! says FIN and RST, and every failover looks ten times better than a power cut.

use crate::clock::{monotonic_ns, wait_until};
use crate::machine::{Machine, Running};
use crate::network;
use crate::records::{self, ProcessRecord, read_json, write_json};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a killed machine may take to be gone, and a new one to report its pid 1.
const LIMIT: Duration = Duration::from_secs(10);

/// A power command's request or its effect, as the log has it (P5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerEvent {
    /// Somebody asked for this; nothing has happened yet.
    AskedOff,
    /// Somebody asked for this; nothing has happened yet.
    AskedOn,
    /// Somebody asked for this; nothing has happened yet.
    AskedReset,
    /// The host dies, still saying goodbye on the network.
    AskedCrash,
    /// All its links are down, its processes still run.
    Cut,
    /// Its pid 1, and so all of it, is gone.
    Dead,
    /// A new pid 1 runs.
    Live,
    /// It was in the wanted state already.
    Nothing,
    /// The lab was told to lie: said yes, did nothing.
    Lied,
    /// It has called reboot(2) itself: dead since a moment ago.
    Rebooted,
    /// The command failed.
    Failed,
}

/// One line of the power log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerLine {
    /// CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Whose power.
    pub machine: String,
    /// What happened.
    pub event: PowerEvent,
    /// Who asked: `bmc`, `person`, a scenario's name.
    pub caller: String,
}

/// Appends to the power log. One write per line, so that callers do not mix.
pub fn log(machine: &Machine, event: PowerEvent, caller: &str) -> Result<()> {
    let line = PowerLine {
        at_ns: monotonic_ns(),
        machine: machine.name().to_owned(),
        event,
        caller: caller.to_owned(),
    };
    let path = machine.lab().dir().join("power.jsonl");
    let mut text = serde_json::to_string(&line)?;
    text.push('\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

/// The power log so far.
pub fn read_log(lab_dir: &Path) -> Result<Vec<PowerLine>> {
    let text = match fs::read_to_string(lab_dir.join("power.jsonl")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context("the power log")?,
    };
    text.lines().map(|l| serde_json::from_str(l).context("a line of the power log")).collect()
}

/// One power command per machine at a time: BMCs and people call at once.
fn lock(machine: &Machine) -> Result<File> {
    let path = machine.dir().join("power.lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    file.lock()?;
    Ok(file)
}

/// Pulls the plug. Answers what it did; done when it returns.
pub fn off(machine: &Machine, caller: &str) -> Result<PowerEvent> {
    let _lock = lock(machine)?;
    log(machine, PowerEvent::AskedOff, caller)?;
    off_locked(machine, caller, true)
}

/// Kills the machine without the cut: a dying host that still says goodbye.
pub fn crash(machine: &Machine, caller: &str) -> Result<PowerEvent> {
    let _lock = lock(machine)?;
    log(machine, PowerEvent::AskedCrash, caller)?;
    off_locked(machine, caller, false)
}

/// Turns it on. Done when its pid 1 runs; it boots after that.
pub fn on(machine: &Machine, caller: &str) -> Result<PowerEvent> {
    let _lock = lock(machine)?;
    log(machine, PowerEvent::AskedOn, caller)?;
    on_locked(machine, caller)
}

/// Off, then on, whatever it was.
pub fn reset(machine: &Machine, caller: &str) -> Result<PowerEvent> {
    let _lock = lock(machine)?;
    log(machine, PowerEvent::AskedReset, caller)?;
    off_locked(machine, caller, true)?;
    on_locked(machine, caller)
}

fn off_locked(machine: &Machine, caller: &str, cable_first: bool) -> Result<PowerEvent> {
    let record: Option<Running> = read_json(&machine.running_file())?;
    let was_on = record.as_ref().is_some_and(|r| r.init.is_alive());
    let namespaces = machine.lab().namespaces();
    let switches = network::namespace_exists(&namespaces.switches());
    if cable_first && was_on && switches {
        network::pull(&namespaces, machine.name(), &network::Network::ALL)?;
        log(machine, PowerEvent::Cut, caller)?;
    }
    let groups = machine.groups()?;
    groups.thaw()?; // a v1 freezer holds even SIGKILL back
    let killed = match &record {
        Some(record) => record.init.kill_and_wait(LIMIT)?,
        None => false,
    };
    let done = if killed { PowerEvent::Dead } else { PowerEvent::Nothing };
    log(machine, done, caller)?;
    if switches && record.is_some() {
        network::unplug(&namespaces, machine.name())?;
    }
    groups.remove()?;
    records::remove(&machine.running_file())?;
    Ok(done)
}

fn on_locked(machine: &Machine, caller: &str) -> Result<PowerEvent> {
    if machine.is_on() {
        log(machine, PowerEvent::Nothing, caller)?;
        return Ok(PowerEvent::Nothing);
    }
    let namespaces = machine.lab().namespaces();
    // What a machine that died by itself has left: its ports' names must be free.
    if read_json::<Running>(&machine.running_file())?.is_some() {
        network::unplug(&namespaces, machine.name())?;
        records::remove(&machine.running_file())?;
    }
    machine.groups()?.create()?;
    let born = machine.dir().join("born.json");
    let go = machine.dir().join("go");
    records::remove(&born)?;
    records::remove(&go)?;
    let boot_id = uuid::Uuid::new_v4().to_string();
    fs::write(machine.dir().join("boot_id"), format!("{boot_id}\n"))?;
    start_init(machine)?;
    let mut init: Option<ProcessRecord> = None;
    wait_until(LIMIT, || {
        init = read_json(&born).ok().flatten();
        init.is_some()
    });
    let Some(init) = init else {
        log(machine, PowerEvent::Failed, caller)?;
        bail!("{} did not start: see {}", machine.name(), machine.log("console").display());
    };
    // Recorded before anything else: from here on `down` can end it.
    let running = Running { init, boot_id, on_at_ns: monotonic_ns() };
    write_json(&machine.running_file(), &running)?;
    let who = (machine.name(), network::machine_host(machine.index()));
    network::plug(&namespaces, who, running.init.pid, &machine.cuts()?)?;
    log(machine, PowerEvent::Live, caller)?;
    fs::write(&go, "")?;
    Ok(PowerEvent::Live)
}

/// Waits beside a machine for its own reboot(2). Inside a pid namespace that call ends pid 1 by
/// SIGHUP (restart) or SIGINT (halt, power off); firmware would boot the machine again or not.
pub fn guard(lab_dir: &Path, name: &str) -> Result<()> {
    use std::os::unix::process::ExitStatusExt;
    let lab = crate::lab::Lab::open(lab_dir)?;
    let machine = lab.machine(name)?;
    let kennel = crate::watchdog::Kennel::open(&machine)?;
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--"])
        .arg(lab.program("e2e"))
        .arg("machine-init")
        .arg(lab.dir())
        .arg(name)
        .status()
        .context("cannot run `unshare` (package util-linux)")?;
    kennel.wait();
    if status.signal() == Some(rustix::process::Signal::HUP.as_raw()) {
        let _lock = lock(&machine)?;
        log(&machine, PowerEvent::Rebooted, "machine")?;
        off_locked(&machine, "machine", false)?;
        on_locked(&machine, "machine")?;
    }
    Ok(())
}

/// Nothing of ours stays with the machine: own session, no pipe, no lock. Else the BMC waits on the
/// pipe for as long as the machine lives.
fn start_init(machine: &Machine) -> Result<()> {
    let console = OpenOptions::new().create(true).append(true).open(machine.log("console"))?;
    let status = Command::new("setsid")
        .arg("--fork")
        .arg(machine.lab().program("e2e"))
        .arg("machine-guard")
        .arg(machine.lab().dir())
        .arg(machine.name())
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .status()
        .context("cannot run `setsid` (package util-linux)")?;
    if !status.success() {
        bail!("starting {} failed: {status}", machine.name());
    }
    Ok(())
}
