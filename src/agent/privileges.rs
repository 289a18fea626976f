//! What the ring part asks of the kernel so that it is run in time. Each is tried; a refusal is a condition, never a
//! failed start (SAFETY.md 4.3).

use std::io;

use nix::sys::{
    mman::{MlockAllFlags, mlockall},
    resource::{Resource, getrlimit, setrlimit},
};

use nix::libc::RLIM_INFINITY;

/// Longest time that the real-time thread may compute without a wait; the kernel ends the process after it, so that a
/// loop gone wild cannot take the machine (SAFETY.md 4.3).
const RTTIME_US: u64 = 2_000_000;
/// Lowest real-time priority: above all ordinary work, below whatever else a machine holds to be real-time.
const PRIORITY: i32 = 1;

/// A privilege that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub what: &'static str,
    /// As the system said it.
    pub error: String,
}

/// Asks that this process is the last that is killed when memory runs out.
pub fn oom_protection() -> Result<(), Refusal> {
    std::fs::write("/proc/self/oom_score_adj", "-999")
        .map_err(|error| refusal("oom_score_adj -999", &error))
}

/// Keeps in memory what was touched. With `MCL_ONFAULT`: nothing is loaded that is not used.
///
/// Not tried where a limit applies: locking would succeed now and let a later allocation fail, which ends the process.
pub fn lock_memory() -> Result<(), Refusal> {
    let limited = getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft != RLIM_INFINITY);
    if limited && !may_lock() {
        let error = "RLIMIT_MEMLOCK is finite and CAP_IPC_LOCK is missing".into();
        return Err(Refusal { what: "mlockall", error });
    }
    let flags = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
    // nix has no name for it; the value is of the kernel's interface.
    let flags = flags | MlockAllFlags::from_bits_retain(nix::libc::MCL_ONFAULT);
    mlockall(flags).map_err(|errno| refusal("mlockall", &errno.into()))
}

/// Whether this process has CAP_IPC_LOCK, bit 14 of its effective capabilities.
fn may_lock() -> bool {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|capabilities| capabilities & CAP_IPC_LOCK != 0)
}

/// SCHED_RR for the calling thread, bounded by `RLIMIT_RTTIME`.
pub fn real_time() -> Result<(), Refusal> {
    setrlimit(Resource::RLIMIT_RTTIME, RTTIME_US, RTTIME_US)
        .map_err(|errno| refusal("RLIMIT_RTTIME", &errno.into()))?;
    set_scheduler().map_err(|error| refusal("SCHED_RR", &error))
}

#[expect(unsafe_code, reason = "no safe wrapper of sched_setscheduler in our crates")]
fn set_scheduler() -> io::Result<()> {
    let parameters = nix::libc::sched_param { sched_priority: PRIORITY };
    let policy = nix::libc::SCHED_RR | nix::libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is to a live, initialised value; the call keeps nothing of it.
    let result = unsafe { nix::libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn refusal(what: &'static str, error: &io::Error) -> Refusal {
    Refusal { what, error: error.to_string() }
}
