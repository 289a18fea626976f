//! One lab: its folder, what is in it, up and down.

use crate::bmc;
use crate::machine::Machine;
use crate::network::{self, Namespaces};
use crate::records::{self, ProcessRecord, read_json, write_json};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a lab is made of. Written to `lab.json` before anything is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// Prefix of everything that the lab makes: lower case letters and digits, at most 8.
    pub name: String,
    /// Machine names, in the order of their addresses.
    pub machines: Vec<String>,
    /// From power-on to the first sign of life. 0 must work: real machines take longer.
    pub boot_delay_ms: u64,
}

impl LabSpec {
    /// Three machines n1 to n3 that boot in 6 s (SERVICES.md 1.2).
    #[must_use]
    pub fn three(name: &str) -> Self {
        let machines = ["n1", "n2", "n3"].map(str::to_owned).to_vec();
        Self { name: name.to_owned(), machines, boot_delay_ms: 6000 }
    }

    fn check(&self) -> Result<()> {
        let plain = |s: &str, max: usize| {
            !s.is_empty()
                && s.len() <= max
                && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if !plain(&self.name, 8) {
            bail!("lab name {:?}: use at most 8 lower case letters and digits", self.name);
        }
        if self.machines.is_empty() || self.machines.len() > 9 {
            bail!("a lab has 1 to 9 machines, not {}", self.machines.len());
        }
        // A port's name is machine-network, and the kernel allows 15 characters.
        if let Some(bad) = self.machines.iter().find(|m| !plain(m, 8)) {
            bail!("machine name {bad:?}: use at most 8 lower case letters and digits");
        }
        Ok(())
    }
}

/// A process on the lab's side (a BMC, etcd, the API server, an observer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What it is, e.g. `bmc-n1`; also the name of its log.
    pub name: String,
    /// Who it is.
    pub process: ProcessRecord,
}

/// Folders that each machine has for itself: the lab's own would be hidden from the machines.
const HIDDEN: [&str; 8] = ["/etc", "/var", "/root", "/run", "/tmp", "/dev", "/proc", "/sys"];

/// A lab by its folder. Cheap to make; holds nothing open.
#[derive(Debug, Clone)]
pub struct Lab {
    dir: PathBuf,
    spec: LabSpec,
}

impl Lab {
    /// The folder of the lab with this name: below `$PALISADE_LAB_DIR` or /srv/palisade-lab.
    #[must_use]
    pub fn default_dir(name: &str) -> PathBuf {
        let base = std::env::var_os("PALISADE_LAB_DIR")
            .map_or_else(|| PathBuf::from("/srv/palisade-lab"), PathBuf::from);
        base.join(name)
    }

    /// A lab that was made before.
    pub fn open(dir: &Path) -> Result<Self> {
        let spec = read_json(&dir.join("lab.json"))?
            .with_context(|| format!("no lab in {}: `cargo lab up` makes one", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), spec })
    }

    /// Makes a lab and powers nothing on. What an earlier one left in this folder is ended first,
    /// by its records; the machines' disks stay. `program` is this crate's binary: machines and hooks
    /// run a copy of it.
    pub fn create(dir: &Path, spec: LabSpec, program: &Path) -> Result<Self> {
        spec.check()?;
        if let Some(hidden) = HIDDEN.iter().find(|h| dir.starts_with(h)) {
            bail!(
                "the lab's folder {} lies in {hidden}, which each machine has for itself: set \
                 PALISADE_LAB_DIR to another place",
                dir.display()
            );
        }
        crate::install::require_root()?;
        if let Ok(earlier) = Self::open(dir) {
            earlier.down().context("ending what an earlier lab left")?;
        }
        for folder in ["bin", "log", "services", "machines"] {
            fs::create_dir_all(dir.join(folder))
                .with_context(|| format!("making {}", dir.display()))?;
        }
        let lab = Self { dir: fs::canonicalize(dir)?, spec };
        for name in lab.namespaces().all() {
            if network::namespace_exists(&name) {
                bail!(
                    "namespace {name} exists and is not in this lab's records: another lab of that \
                     name is up, take another name"
                );
            }
        }
        write_json(&lab.dir.join("lab.json"), &lab.spec)?;
        // Machines run this copy: a later build must not change a running machine's init.
        lab.adopt_program(program, "e2e")?;
        network::create(&lab.namespaces(), lab.spec.machines.len() as u8)?;
        for machine in lab.machines() {
            machine.prepare()?;
            bmc::start(&lab, &machine)?;
        }
        Ok(lab)
    }

    /// Ends everything that the records name. Disks and logs stay.
    pub fn down(&self) -> Result<()> {
        for service in self.services()?.into_iter().rev() {
            self.end_service(&service.name)?;
        }
        for machine in self.machines() {
            crate::power::off(&machine, "lab-down")?;
        }
        for name in self.namespaces().all() {
            network::delete(&name)?;
        }
        Ok(())
    }

    /// Removes the lab's folder, disks included. Only of a lab that is down.
    pub fn purge(&self) -> Result<()> {
        if self.machines().iter().any(Machine::is_on) {
            bail!("a machine of {} is on: `down` first", self.dir.display());
        }
        fs::remove_dir_all(&self.dir).with_context(|| format!("removing {}", self.dir.display()))
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it is made of.
    #[must_use]
    pub const fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// Its named namespaces.
    #[must_use]
    pub fn namespaces(&self) -> Namespaces {
        Namespaces::of(&self.spec.name)
    }

    /// All machines.
    #[must_use]
    pub fn machines(&self) -> Vec<Machine> {
        (0..self.spec.machines.len()).map(|i| Machine::new(self, i as u8)).collect()
    }

    /// One machine by name.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        let index = self.spec.machines.iter().position(|m| m == name).with_context(|| {
            format!("no machine {name}: this lab has {}", self.spec.machines.join(", "))
        })?;
        Ok(Machine::new(self, index as u8))
    }

    /// A program that machines and hooks run, in the copy that the lab keeps.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Copies a program into the lab.
    pub fn adopt_program(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.program(name);
        // Renamed into place: a running program cannot be written over.
        let next = to.with_extension("next");
        fs::copy(from, &next)
            .and_then(|_| fs::rename(&next, &to))
            .with_context(|| format!("copying {} into the lab", from.display()))
    }

    /// Makes a large program of the host's visible in the lab under a fixed name.
    pub fn adopt_link(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.program(name);
        records::remove(&to)?;
        // The cache may be on another file system, or hidden from machines: then it is copied.
        if fs::hard_link(from, &to).is_ok() { Ok(()) } else { self.adopt_program(from, name) }
    }

    /// Starts a process of the lab's in a named namespace (none: the host's), records it, sends its
    /// output to a log.
    pub fn start_service(
        &self,
        name: &str,
        namespace: Option<&str>,
        argv: &[&str],
    ) -> Result<Service> {
        if let Some(earlier) = self.service(name)?
            && earlier.process.is_alive()
        {
            bail!("{name} runs already (process {})", earlier.process.pid);
        }
        let log = OpenOptions::new().create(true).append(true).open(self.service_log(name))?;
        // nsenter and env become the program itself: same process, same start time.
        let mut command = Command::new(namespace.map_or("env", |_| "nsenter"));
        if let Some(namespace) = namespace {
            command.arg(format!("--net={}", network::namespace_file(namespace).display()));
        }
        command
            .args(argv)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        let process = ProcessRecord::of(child.id() as i32)?;
        let service = Service { name: name.to_owned(), process };
        write_json(&self.service_file(name), &service)?;
        reap_in_background(child);
        Ok(service)
    }

    /// Where a service's output goes.
    #[must_use]
    pub fn service_log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(format!("{name}.log"))
    }

    fn service_file(&self, name: &str) -> PathBuf {
        self.dir.join("services").join(format!("{name}.json"))
    }

    /// The record of a service.
    pub fn service(&self, name: &str) -> Result<Option<Service>> {
        read_json(&self.service_file(name))
    }

    /// The records of all services.
    pub fn services(&self) -> Result<Vec<Service>> {
        let mut found = Vec::new();
        let Ok(entries) = fs::read_dir(self.dir.join("services")) else { return Ok(found) };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "json") {
                found.extend(read_json::<Service>(&path)?);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Ends a service and its record. One that is not there is fine.
    pub fn end_service(&self, name: &str) -> Result<()> {
        if let Some(service) = self.service(name)? {
            service.process.end(Duration::from_secs(5))?;
            records::remove(&self.service_file(name))?;
        }
        Ok(())
    }
}

/// Held by whoever makes, uses or ends the lab of this folder: two scenarios at once would end each
/// other's machines and judge each other's faults.
pub fn lock(dir: &Path) -> Result<File> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    let path = dir.with_extension("lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    file.try_lock().map_err(|_| {
        anyhow::anyhow!("another command uses the lab in {}: wait, or take --name", dir.display())
    })?;
    Ok(file)
}

/// A service that dies while we live must not stay as a zombie.
fn reap_in_background(mut child: std::process::Child) {
    std::thread::spawn(move || child.wait());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_machines_cannot_see_is_refused() {
        for dir in ["/tmp/x", "/root/x", "/var/lib/x", "/run/x"] {
            let refused =
                Lab::create(Path::new(dir), LabSpec::three("t"), Path::new("e2e")).expect_err(dir);
            assert!(refused.to_string().contains("PALISADE_LAB_DIR"), "{refused}");
        }
    }

    #[test]
    fn a_name_too_long_for_a_port_is_refused() {
        let spec = LabSpec { machines: vec!["controller1".into()], ..LabSpec::three("t") };
        assert!(spec.check().is_err());
        assert!(LabSpec::three("t").check().is_ok());
    }
}
