//! Leaving the agent's cgroups: a container that ends kills all processes of all its controllers (CLUSTER.md section 8).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Whether a shim leaves the cgroups of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// The agent is in no container; the machine's own groups stay in force (lab, `palisade dev`, systemd with
    /// `KillMode=process`).
    #[default]
    Stay,
    /// Into this group below the root of every hierarchy that the shim can see; `/` for the roots themselves.
    Leave {
        /// `/` or `/NAME`.
        to: String,
    },
}

/// A mounted hierarchy: its mount point and whether it has cpuset files that must be filled first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) at: PathBuf,
}

/// Mount points of cgroup file systems whose root is visible, from `/proc/self/mountinfo`.
pub(super) fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mountinfo.lines().take(4096) {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        if !matches!(kind.split(' ').next(), Some("cgroup" | "cgroup2")) {
            continue;
        }
        let Some(at) = mount.split(' ').nth(4) else { continue };
        let at = PathBuf::from(at.replace("\\040", " "));
        if !found.iter().any(|known: &Hierarchy| known.at == at) {
            found.push(Hierarchy { at });
        }
    }
    found
}

/// Moves this process; what could not be left is returned, with the reason.
pub(super) fn leave(cgroups: &Cgroups) -> Vec<String> {
    let Cgroups::Leave { to } = cgroups else { return Vec::new() };
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let name = to.trim_matches('/');
    let mut kept = Vec::new();
    for Hierarchy { at } in hierarchies(&mountinfo) {
        let group = if name.is_empty() { at.clone() } else { at.join(name) };
        if let Err(error) = enter(&at, &group) {
            kept.push(format!("{}: {error}", at.display()));
        }
    }
    kept
}

fn enter(root: &Path, group: &Path) -> io::Result<()> {
    if group != root && !group.is_dir() {
        fs::create_dir(group)?;
        // A cpuset without processors and memory takes nobody.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(root.join(file))
                && group.join(file).exists()
                && !value.trim().is_empty()
            {
                fs::write(group.join(file), value)?;
            }
        }
    }
    fs::write(group.join("cgroup.procs"), "0\n")
}
