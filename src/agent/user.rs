//! The ring part gives root up: it parses what comes from the network, so what takes it over should find nothing (CLUSTER.md
//! section 8).
//!
//! It starts as root, because a container's capabilities are lost to a user who is not, and file capabilities need the right to
//! gain privileges, which the chart denies; and because a unit of the machine is the same program. As root, and before anything
//! is read from a network, it opens what needs a right: the local socket in root's folder, the state directory by a child
//! (`state::far`), the sockets of probes (NET_RAW), its memory (IPC_LOCK) and its priority (SYS_NICE). After that it needs one:
//!
//! - `IPC_LOCK`: pages that it touches later are locked too, and where RLIMIT_MEMLOCK is finite the kernel refuses them, which
//!   ends the process, to whoever lacks it.
//!
//! The ring's own sockets need none: their port is 1024 or higher, so they are bound again without root when an address comes
//! back. What a new revision changes beyond that is a new process, which is root again.
//!
//! Invariants: all threads change, or the process ends; nothing gives root back (no saved id, no capability, no_new_privs).

use std::{fs, io};

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
    set_no_new_privs,
};

use crate::config::RingUser;

/// What is kept; see the module's words.
const KEPT: CapabilitySet = CapabilitySet::IPC_LOCK;

/// Called by the only thread before it starts others: they inherit it.
pub fn prepare() -> io::Result<()> {
    set_no_new_privs(true)?;
    Ok(set_keep_capabilities(true)?)
}

/// Called by one thread for all. Each other thread calls [`confine`] after it.
pub fn give_root_up(user: RingUser) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let done = setgroups(&[gid])
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid));
    done.map_err(|error| {
        let text = format!(
            "the ring part cannot become {}:{} ({error}): give it CAP_SETUID and CAP_SETGID, or take ring_user out of the configuration",
            user.uid, user.gid
        );
        io::Error::other(text)
    })?;
    confine()?;
    for thread in fs::read_dir("/proc/self/task")? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or("");
        if line.split_whitespace().any(|word| word != user.uid.to_string()) {
            return Err(io::Error::other("a thread of the ring part is root still"));
        }
    }
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("the ring part can become root again"));
    }
    Ok(())
}

/// Leaves the calling thread what is needed still, if it has it.
pub fn confine() -> io::Result<()> {
    let kept = capabilities(None)?.permitted & KEPT;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
