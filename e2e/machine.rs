//! One machine: its disk, its identity, what it starts at boot, its cables, what runs on it now.

use crate::cgroup::MachineGroups;
use crate::lab::Lab;
use crate::network::{self, Network};
use crate::records::{ProcessRecord, read_json, write_json};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Host folders of which each machine has its own version, kept over power cuts.
pub const DISK_FOLDERS: [&str; 3] = ["etc", "var", "root"];

/// A machine that is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its pid 1, seen from the host.
    pub init: ProcessRecord,
    /// What it reads from /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// When the power came on.
    pub on_at_ns: u64,
}

/// One program that a machine starts at boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// Also the name of its log.
    pub name: String,
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    /// Added to a small fixed environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Started again this long after it ended, as a unit with Restart=always is. None: once.
    #[serde(default)]
    pub restart_ms: Option<u64>,
}

/// One machine of a lab. Cheap to make; holds nothing open.
#[derive(Debug, Clone)]
pub struct Machine {
    lab: Lab,
    index: u8,
}

impl Machine {
    pub(crate) fn new(lab: &Lab, index: u8) -> Self {
        Self { lab: lab.clone(), index }
    }

    /// Its lab.
    #[must_use]
    pub const fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Its place in the lab's list.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// Its name, host name and node name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.lab.spec().machines[usize::from(self.index)]
    }

    /// Its folder in the lab.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.lab.dir().join("machines").join(self.name())
    }

    /// Its address on a network.
    #[must_use]
    pub const fn address(&self, network: Network) -> Ipv4Addr {
        network.address(network::machine_host(self.index))
    }

    /// The address of its BMC.
    #[must_use]
    pub const fn bmc_address(&self) -> Ipv4Addr {
        Network::Bmc.address(network::bmc_host(self.index))
    }

    /// Its groups.
    pub fn groups(&self) -> Result<MachineGroups> {
        MachineGroups::of(&self.lab.spec().name, self.name())
    }

    /// The host folder in which a path of its own disk is found, e.g. `etc/hosts`. Written only
    /// while it is off: the upper half of a mounted overlay is not ours to change.
    #[must_use]
    pub fn disk(&self, path: &str) -> PathBuf {
        let (top, rest) = path.split_once('/').unwrap_or((path, ""));
        self.dir().join("disk").join(top).join("upper").join(rest)
    }

    /// Its root as it sees it, while it is on.
    pub fn root(&self) -> Result<PathBuf> {
        let running = self.running()?.with_context(|| format!("{} is off", self.name()))?;
        Ok(PathBuf::from(format!("/proc/{}/root", running.init.pid)))
    }

    /// Makes its disk and writes its identity, once: an identity outlives everything.
    pub fn prepare(&self) -> Result<()> {
        for top in DISK_FOLDERS {
            for half in ["upper", "work"] {
                fs::create_dir_all(self.dir().join("disk").join(top).join(half))?;
            }
        }
        fs::create_dir_all(self.dir().join("log"))?;
        fs::create_dir_all(self.disk("etc/palisade"))?;
        let mut hosts = String::from("127.0.0.1 localhost\n");
        for machine in self.lab.machines() {
            hosts += &format!("{} {}\n", machine.address(Network::Mgmt), machine.name());
        }
        hosts += &format!("{} vip\n", Network::Public.address(network::VIP_HOST));
        fs::write(self.disk("etc/hosts"), hosts)?;
        fs::write(self.disk("etc/hostname"), format!("{}\n", self.name()))?;
        let fresh = || uuid::Uuid::new_v4();
        self.write_once("etc/machine-id", &format!("{}\n", fresh().simple()))?;
        self.write_once("etc/palisade/system-uuid", &format!("{}\n", fresh()))?;
        if !self.dir().join("boot.json").exists() {
            self.set_boot_list(&[])?;
        }
        Ok(())
    }

    fn write_once(&self, path: &str, text: &str) -> Result<()> {
        let file = self.disk(path);
        if !file.exists() {
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        Ok(())
    }

    /// What it has in place of the DMI's system UUID; its BMC says the same.
    pub fn system_uuid(&self) -> Result<uuid::Uuid> {
        let text = fs::read_to_string(self.disk("etc/palisade/system-uuid"))?;
        text.trim().parse().with_context(|| format!("system UUID of {}", self.name()))
    }

    /// What it starts at its next boot.
    pub fn set_boot_list(&self, entries: &[BootEntry]) -> Result<()> {
        write_json(&self.dir().join("boot.json"), &entries)
    }

    /// The list as it stands.
    pub fn boot_list(&self) -> Result<Vec<BootEntry>> {
        Ok(read_json(&self.dir().join("boot.json"))?.unwrap_or_default())
    }

    /// Its record, if it is on.
    pub fn running(&self) -> Result<Option<Running>> {
        let record: Option<Running> = read_json(&self.running_file())?;
        Ok(record.filter(|r| r.init.is_alive()))
    }

    /// Whether it is on. A frozen machine is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.running().is_ok_and(|r| r.is_some())
    }

    pub(crate) fn running_file(&self) -> PathBuf {
        self.dir().join("running.json")
    }

    /// A command that will run on the machine, outside of its freezer: it would hang in there.
    pub fn command(&self, argv: &[&str]) -> Result<Command> {
        let running = self
            .running()?
            .with_context(|| format!("{} is off: `cargo lab power {0} on`", self.name()))?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", running.init.pid))
            .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--"])
            .args(argv);
        Ok(command)
    }

    /// Runs a command on the machine to its end; its output if it succeeded.
    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        let output = self.command(argv)?.stdin(std::process::Stdio::null()).output()?;
        if !output.status.success() {
            anyhow::bail!(
                "{}: `{}`: {}",
                self.name(),
                argv.join(" "),
                crate::command::said(&output)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Stops everything on it; its kernel goes on answering ARP and ping.
    pub fn freeze(&self) -> Result<()> {
        self.groups()?.freeze()
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.groups()?.thaw()
    }

    /// Pulls cables. They stay pulled over a power cycle.
    pub fn cut(&self, networks: &[Network]) -> Result<()> {
        let mut cut = self.cuts()?;
        cut.extend(networks);
        self.set_cuts(cut)?;
        if self.is_on() {
            network::pull(&self.lab.namespaces(), self.name(), networks)?;
        }
        Ok(())
    }

    /// Puts cables back.
    pub fn heal(&self, networks: &[Network]) -> Result<()> {
        let mut cut = self.cuts()?;
        cut.retain(|n| !networks.contains(n));
        self.set_cuts(cut)?;
        if self.is_on() {
            network::heal(&self.lab.namespaces(), self.name(), networks)?;
        }
        Ok(())
    }

    /// The cables that are pulled now.
    pub fn cuts(&self) -> Result<Vec<Network>> {
        Ok(read_json(&self.dir().join("cuts.json"))?.unwrap_or_default())
    }

    fn set_cuts(&self, mut cut: Vec<Network>) -> Result<()> {
        cut.sort_unstable();
        cut.dedup();
        write_json(&self.dir().join("cuts.json"), &cut)
    }

    /// Host pids of what runs on it whose arguments contain `part`, oldest first.
    #[must_use]
    pub fn processes_with(&self, part: &str) -> Vec<i32> {
        let Ok(groups) = self.groups() else { return Vec::new() };
        let mut found = groups.processes();
        found.retain(|pid| arguments(*pid).iter().any(|a| a.contains(part)));
        found.sort_unstable();
        found
    }

    /// The output of something on its boot list.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir().join("log").join(format!("{name}.log"))
    }
}

/// A process's arguments; none for the dead.
#[must_use]
pub fn arguments(pid: i32) -> Vec<String> {
    let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
    bytes
        .unwrap_or_default()
        .split(|b| *b == 0)
        .filter(|a| !a.is_empty())
        .map(|a| String::from_utf8_lossy(a).into_owned())
        .collect()
}

/// An agent that runs all that it has: the process that init started, ring, executor and fencer.
pub const AGENT_PROCESSES: usize = 4;

/// Whether these are the arguments of the product's program: init starts it by its path, its children have its name alone.
#[must_use]
pub fn is_ours(arguments: &[String]) -> bool {
    arguments.first().is_some_and(|program| program.rsplit('/').next() == Some("palisade"))
}
