//! The machine's cgroups: freezing it whole, and finding what runs on it.
//!
//! On hosts with v1 hierarchies a machine has a group in each of them, on v2 hosts one. Inside, a
//! cgroup namespace makes that group the root: what leaves "every controller" there, as a shim
//! does, still belongs to the machine.

use crate::clock::wait_until;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One mounted hierarchy of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// `Some` names a v1 hierarchy: its mount option, e.g. `freezer` or `name=systemd`.
    pub v1: Option<String>,
}

/// All hierarchies, from a mount table.
#[must_use]
pub fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mount), Some(kind), Some(options)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let mount = PathBuf::from(mount);
        match kind {
            "cgroup2" => found.push(Hierarchy { mount, v1: None }),
            "cgroup" => {
                let is_flag = |o: &&str| {
                    ![
                        "rw",
                        "ro",
                        "nosuid",
                        "nodev",
                        "noexec",
                        "relatime",
                        "xattr",
                        "clone_children",
                    ]
                    .contains(o)
                        && !o.starts_with("release_agent=")
                };
                let controllers: Vec<&str> = options.split(',').filter(is_flag).collect();
                found.push(Hierarchy { mount, v1: Some(controllers.join(",")) });
            }
            _ => {}
        }
    }
    found
}

/// The hierarchies of this host.
pub fn of_host() -> Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("the mount table")?;
    let found = hierarchies(&mounts);
    if found.is_empty() {
        bail!("no cgroup file system is mounted: mount one at /sys/fs/cgroup");
    }
    Ok(found)
}

/// A machine's groups.
#[derive(Debug, Clone)]
pub struct MachineGroups {
    folder: PathBuf,
    hierarchies: Vec<Hierarchy>,
}

impl MachineGroups {
    /// Those of `machine` in `lab`, made or not.
    pub fn of(lab: &str, machine: &str) -> Result<Self> {
        let folder = Path::new(&format!("palisade-{lab}")).join(machine);
        Ok(Self { folder, hierarchies: of_host()? })
    }

    fn groups(&self) -> impl Iterator<Item = (PathBuf, &Hierarchy)> {
        self.hierarchies.iter().map(|h| (h.mount.join(&self.folder), h))
    }

    fn freezer(&self) -> Result<(PathBuf, &Hierarchy)> {
        let v1 = self.groups().find(|(_, h)| h.v1.as_deref() == Some("freezer"));
        v1.or_else(|| self.groups().find(|(_, h)| h.v1.is_none()))
            .context("neither a v1 freezer nor a v2 cgroup hierarchy is mounted")
    }

    /// Makes the groups anew. A real power cut leaves none, so what lies there goes first.
    pub fn create(&self) -> Result<()> {
        self.remove()?;
        for (group, hierarchy) in self.groups() {
            let made = fs::create_dir_all(&group);
            if made.is_err() && hierarchy.mount != self.freezer()?.1.mount {
                continue; // a hierarchy that is not ours to use does without
            }
            made.with_context(|| format!("making {}", group.display()))?;
            if hierarchy.v1.as_deref().is_some_and(|c| c.contains("cpuset")) {
                fill_cpuset(&hierarchy.mount, &group)?;
            }
        }
        Ok(())
    }

    /// Moves the calling process in. The freezer must take it; the others may refuse.
    pub fn join(&self) -> Result<()> {
        let (freezer, _) = self.freezer()?;
        for (group, _) in self.groups() {
            let joined = fs::write(group.join("cgroup.procs"), "0");
            if group == freezer {
                joined.with_context(|| format!("joining {}", group.display()))?;
            }
        }
        Ok(())
    }

    /// Stops everything on the machine between two instructions. Its kernel goes on answering.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Lets it go on. Fine for a machine that was not frozen, or is gone.
    pub fn thaw(&self) -> Result<()> {
        let (group, hierarchy) = self.freezer()?;
        thaw_below(&group, hierarchy.v1.is_some());
        self.set_frozen(false)
    }

    /// Freezes one process alone, so that not even SIGKILL ends it. Only a v1 freezer can do that:
    /// answers whether this host has one. `thaw` and power-off end it.
    pub fn freeze_alone(&self, pid: i32) -> Result<bool> {
        let (group, hierarchy) = self.freezer()?;
        if hierarchy.v1.is_none() {
            return Ok(false);
        }
        let own = group.join(format!("stuck-{pid}"));
        fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
        fs::write(own.join("cgroup.procs"), pid.to_string()).context("moving the process")?;
        fs::write(own.join("freezer.state"), "FROZEN").context("freezing the process")?;
        Ok(true)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let (group, hierarchy) = self.freezer()?;
        let v1 = hierarchy.v1.is_some();
        let (file, value) = match (v1, frozen) {
            (true, true) => ("freezer.state", "FROZEN"),
            (true, false) => ("freezer.state", "THAWED"),
            (false, true) => ("cgroup.freeze", "1"),
            (false, false) => ("cgroup.freeze", "0"),
        };
        match fs::write(group.join(file), value) {
            Err(error) if !frozen && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.with_context(|| format!("writing {value} to {}", group.display()))?,
        }
        let reached = wait_until(Duration::from_secs(5), || {
            let (file, sign) = match (v1, frozen) {
                (true, _) => ("freezer.state", value),
                (false, true) => ("cgroup.events", "frozen 1"),
                (false, false) => ("cgroup.events", "frozen 0"),
            };
            fs::read_to_string(group.join(file)).is_ok_and(|t| t.lines().any(|l| l == sign))
        });
        if !reached {
            bail!("{} did not become {value} in 5 s", group.display());
        }
        Ok(())
    }

    /// Host pids of everything on the machine, sub-groups included. Empty when it is off.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        if let Ok((group, _)) = self.freezer() {
            collect(&group, &mut pids);
        }
        pids
    }

    /// Removes the groups, deepest first.
    pub fn remove(&self) -> Result<()> {
        for (group, hierarchy) in self.groups() {
            remove_tree(&group).with_context(|| format!("removing {}", group.display()))?;
            if let Some(parent) = group.parent()
                && parent != hierarchy.mount
            {
                let _ = fs::remove_dir(parent); // the last machine takes the lab's group along
            }
        }
        Ok(())
    }
}

/// A v1 cpuset takes no process before it has cores and memory nodes.
fn fill_cpuset(mount: &Path, group: &Path) -> Result<()> {
    let Some(lab) = group.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = fs::read_to_string(mount.join(file))?;
        for folder in [lab, group] {
            fs::write(folder.join(file), value.trim())
                .with_context(|| format!("filling {}", folder.join(file).display()))?;
        }
    }
    Ok(())
}

fn thaw_below(group: &Path, v1: bool) {
    for child in folders(group) {
        thaw_below(&child, v1);
        let (file, value) = if v1 { ("freezer.state", "THAWED") } else { ("cgroup.freeze", "0") };
        let _ = fs::write(child.join(file), value); // gone meanwhile: as good
    }
}

fn collect(group: &Path, pids: &mut Vec<i32>) {
    if let Ok(text) = fs::read_to_string(group.join("cgroup.procs")) {
        pids.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()));
    }
    for child in folders(group) {
        collect(&child, pids);
    }
}

fn folders(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect()
}

fn remove_tree(group: &Path) -> Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for child in folders(group) {
        remove_tree(&child)?;
    }
    // The kernel lets go of the last process a moment after it is dead.
    let mut last = Ok(());
    wait_until(Duration::from_secs(2), || {
        last = fs::remove_dir(group);
        last.is_ok() || !group.exists()
    });
    Ok(last?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_shows_both_kinds_and_names_the_controllers() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/freezer cgroup rw,nosuid,relatime,freezer 0 0\n\
            cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
            cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let names: Vec<_> = hierarchies(mounts).into_iter().map(|h| h.v1).collect();
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(names, [some("freezer"), some("cpu,cpuacct"), some("name=systemd"), None]);
    }

    /// Runs in the host's v2 hierarchy, which hybrid hosts mount beside the v1 ones.
    #[test]
    #[ignore = "needs root: cargo lab test lab"]
    fn a_v2_freezer_stops_and_lets_go() {
        let mut groups = MachineGroups::of("tv2", "m").expect("hierarchies");
        groups.hierarchies.retain(|h| h.v1.is_none());
        groups.create().expect("a group");
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("cat runs");
        let (group, _) = groups.freezer().expect("a v2 group");
        fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("moved");
        assert_eq!(groups.processes(), [child.id() as i32]);
        groups.freeze().expect("frozen");
        use std::io::{Read, Write};
        child.stdin.as_mut().expect("a pipe").write_all(b"x").expect("written");
        let mut out = child.stdout.take().expect("a pipe");
        let reader = std::thread::spawn(move || out.read_exact(&mut [0]));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!reader.is_finished(), "a frozen process echoes nothing");
        groups.thaw().expect("thawed");
        reader.join().expect("no panic").expect("echoed");
        child.kill().expect("killed");
        child.wait().expect("reaped");
        groups.remove().expect("removed");
    }
}
