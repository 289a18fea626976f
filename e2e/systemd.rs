//! Machines whose pid 1 is the host's systemd, in the machine's own namespaces and with the machine's own units.
//!
//! What the host's systemd would start is masked: only the bus and what the machine's boot list names run on it.

use crate::lab::Lab;
use crate::machine::{BootEntry, Machine};
use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = "/lib/systemd/systemd";
/// What it boots to.
const TARGET: &str = "palisade-lab.target";
/// Folders with units of the host's.
const FOLDERS: [&str; 2] = ["/usr/lib/systemd/system", "/etc/systemd/system"];
/// Targets that any service reaches; what the host hangs on them is not the machine's.
const REACHED: [&str; 5] =
    ["sysinit.target", "local-fs.target", "sockets.target", "timers.target", "multi-user.target"];
/// Of that, what the machine has too.
const KEPT: [&str; 2] = ["dbus.service", "dbus.socket"];
/// Devices that every machine has.
const DEVICES: [&str; 7] = ["null", "zero", "full", "random", "urandom", "tty", "kmsg"];

/// From its next boot on a machine that is off boots systemd, with these entries as units; `others` are units that lie on
/// its disk already.
pub fn enable(machine: &Machine, entries: &[BootEntry], others: &[&str]) -> Result<()> {
    if !Path::new(PROGRAM).is_file() {
        bail!("no {PROGRAM} on this host: install systemd, of which only its programs are used");
    }
    let units = machine.disk("etc/systemd/system");
    fs::create_dir_all(&units)?;
    for target in REACHED {
        for unit in wanted_by(target)? {
            mask(&units, &unit)?;
        }
    }
    fs::create_dir_all(machine.disk("etc/systemd/system.conf.d"))?;
    // No journal on the machine; a unit of the boot list writes to its own log.
    let manager = "[Manager]\nDefaultStandardOutput=null\nDefaultStandardError=null\n";
    fs::write(machine.disk("etc/systemd/system.conf.d/lab.conf"), manager)?;
    fs::write(machine.disk("etc/fstab"), "")?;
    let mut wants: Vec<String> = entries.iter().map(|e| format!("{}.service", e.name)).collect();
    wants.extend(others.iter().map(|unit| (*unit).to_owned()));
    let target = format!(
        "[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=dbus.service {}\n",
        wants.join(" ")
    );
    fs::write(units.join(TARGET), target)?;
    for entry in entries {
        fs::write(units.join(format!("{}.service", entry.name)), unit(machine, entry))?;
    }
    fs::write(marker(machine), "").context("the machine's marker")
}

fn marker(machine: &Machine) -> std::path::PathBuf {
    machine.dir().join("systemd")
}

/// Whether it does.
#[must_use]
pub fn is_enabled(machine: &Machine) -> bool {
    marker(machine).exists()
}

/// It boots the lab's own pid 1 again.
pub fn disable(machine: &Machine) -> Result<()> {
    crate::records::remove(&marker(machine))
}

fn wanted_by(target: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(format!("{folder}/{target}.wants")) else { continue };
        for entry in entries {
            found.extend(entry?.file_name().to_str().map(str::to_owned));
        }
    }
    found.retain(|unit| !KEPT.contains(&unit.as_str()));
    Ok(found)
}

fn mask(units: &Path, unit: &str) -> Result<()> {
    let link = units.join(unit);
    let _ = fs::remove_file(&link);
    symlink("/dev/null", &link).with_context(|| format!("masking {unit}"))
}

/// A boot entry as a unit. What it has started goes on when it ends itself, as on a real node: containers outlive containerd.
fn unit(machine: &Machine, entry: &BootEntry) -> String {
    let mut text = format!("[Unit]\nDescription={} (lab)\n[Service]\n", entry.name);
    for (name, value) in &entry.env {
        let _ = writeln!(text, "Environment=\"{name}={value}\"");
    }
    let _ = writeln!(text, "ExecStart={}", entry.argv.join(" "));
    let log = machine.log(&entry.name);
    let _ = writeln!(text, "StandardOutput=append:{0}\nStandardError=append:{0}", log.display());
    text += "Delegate=yes\nKillMode=process\n";
    match entry.restart_ms {
        Some(ms) => {
            let _ = writeln!(text, "Restart=always\nRestartSec={ms}ms");
        }
        None => text += "Type=oneshot\nRemainAfterExit=yes\n",
    }
    text
}

/// Pid 1 of the machine becomes systemd. Returns only when it cannot.
pub fn become_init(lab: &Lab, machine: &Machine) -> Result<Infallible> {
    own_devices()?;
    // As on a real machine, where systemd does it: what is mounted later is seen by who asked for that (HostToContainer).
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>)
        .context("making mounts shared")?;
    eprintln!("{} of {}: systemd", machine.name(), lab.dir().display());
    let error = Command::new(PROGRAM)
        .args(["--system", "--log-target=console", "--log-level=info"])
        .arg(format!("--unit={TARGET}"))
        .env_clear()
        .env("container", "lab")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C")
        .exec();
    Err(error).with_context(|| format!("becoming {PROGRAM}"))
}

/// Systemd makes sockets and links in /dev: the host's must not see them.
fn own_devices() -> Result<()> {
    const NONE: Option<&str> = None;
    let new = Path::new("/run/dev");
    fs::create_dir_all(new)?;
    let mounted = |kind: &str, at: &Path, options: &str| {
        mount(Some(kind), at, Some(kind), MsFlags::MS_NOSUID, Some(options))
            .with_context(|| format!("mounting {kind} on {}", at.display()))
    };
    mounted("tmpfs", new, "mode=755")?;
    for name in DEVICES {
        let (from, to) = (Path::new("/dev").join(name), new.join(name));
        if from.exists() {
            fs::write(&to, "")?;
            mount(Some(&from), &to, NONE, MsFlags::MS_BIND, NONE)
                .with_context(|| format!("binding {}", from.display()))?;
        }
    }
    for (folder, mode) in [("shm", 0o1777), ("pts", 0o755), ("mqueue", 0o1777)] {
        fs::create_dir(new.join(folder))?;
        fs::set_permissions(new.join(folder), fs::Permissions::from_mode(mode))?;
    }
    mounted("devpts", &new.join("pts"), "newinstance,ptmxmode=0666,mode=620")?;
    mounted("tmpfs", &new.join("shm"), "mode=1777")?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (to, name) in links {
        symlink(to, new.join(name))?;
    }
    mount(Some(new), "/dev", NONE, MsFlags::MS_MOVE, NONE).context("moving /dev into place")
}
