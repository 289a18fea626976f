//! What the lab needs from the host: root, a kernel with the usual parts, some Debian packages.

use crate::command::{attempt, run, said};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("haproxy", "haproxy"),
    ("ipmi_sim", "openipmi"),
    ("ipmitool", "ipmitool"),
];

/// Locked by whoever installs.
const TURN: &str = "/run/palisade-lab-install.lock";

/// Refuses, with what to do, where the lab cannot work.
pub fn require_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the lab makes namespaces, mounts and links: run it as root (sudo -E cargo lab ...)");
    }
    Ok(())
}

/// Whether a program is installed on the machine.
pub(crate) fn has(program: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).is_file())
}

/// Installs the packages that are missing. Says what it does on standard error.
pub fn packages() -> Result<()> {
    require_root()?;
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(p, _)| !has(p)).map(|(_, package)| *package).collect();
    missing.sort_unstable();
    missing.dedup();
    debian(&missing)
}

/// Installs Debian packages without starting their daemons.
pub fn debian(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    require_root()?;
    if !has("apt-get") {
        bail!(
            "missing: {}. This is no Debian: install what provides these packages' programs",
            missing.join(", ")
        );
    }
    // labs run beside each other, and dpkg and the policy below are the machine's: one installs at a time
    let turn = File::create(TURN).with_context(|| format!("creating {TURN}"))?;
    turn.lock().with_context(|| format!("locking {TURN}"))?;
    eprintln!("lab: installing {}", missing.join(", "));
    let guard = PolicyGuard::set()?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(missing);
    let tried = apt(&arguments)?;
    if !tried {
        eprintln!("lab: refreshing the lists of packages");
        if !apt(&["update"])? || !apt(&arguments)? {
            bail!("apt-get could not install {}: its output stands above", missing.join(", "));
        }
    }
    drop(guard);
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .arg("-qq")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("running apt-get")?;
    Ok(status.success())
}

/// Keeps packages from starting their daemons while they are installed, where nobody has already
/// decided about that.
struct PolicyGuard {
    ours: bool,
}

impl PolicyGuard {
    const PATH: &'static str = "/usr/sbin/policy-rc.d";

    fn set() -> Result<Self> {
        if Path::new(Self::PATH).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(Self::PATH, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(Self::PATH, fs::Permissions::from_mode(0o755))?;
        Ok(Self { ours: true })
    }
}

impl Drop for PolicyGuard {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(Self::PATH);
        }
    }
}

/// Tries what the lab does with the kernel, and names what it lacks.
pub fn kernel() -> Result<()> {
    require_root()?;
    crate::cgroup::of_host()?;
    let all = ["--net", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--"];
    let probe = |what: &str, argv: &[&str]| -> Result<()> {
        let arguments = [&all[..], argv].concat();
        let output = attempt("unshare", &arguments)?;
        if !output.status.success() {
            bail!("this kernel or container does not allow {what}: {}", said(&output));
        }
        Ok(())
    };
    probe("namespaces (net, mount, uts, ipc, pid, cgroup)", &["true"])?;
    probe("bridges", &["ip", "link", "add", "lab0", "type", "bridge"])?;
    probe("veth pairs", &["ip", "link", "add", "lab0", "type", "veth", "peer", "name", "lab1"])?;
    probe("nftables", &["nft", "add", "table", "inet", "probe"])?;
    let filesystems = run("cat", &["/proc/filesystems"])?;
    if !filesystems.lines().any(|l| l.trim_end().ends_with("overlay")) {
        let _ = attempt("modprobe", &["overlay"]);
        if !run("cat", &["/proc/filesystems"])?.contains("overlay") {
            bail!("this kernel has no overlay file system: load the module `overlay`");
        }
    }
    Ok(())
}
