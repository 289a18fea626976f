//! The one clock that deadlines are counted on (CLUSTER.md section 4): `CLOCK_BOOTTIME`, which goes on while the
//! machine sleeps, so that a command held back by a suspend is late when it wakes.

use base::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Microseconds since boot.
pub(crate) fn boottime() -> Instant {
    let now = clock_gettime(ClockId::Boottime);
    // Never negative on Linux; a kernel that said otherwise would be at its own beginning.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let micros = u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
    Instant(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
