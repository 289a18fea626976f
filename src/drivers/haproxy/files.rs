//! How many connections the limit of open files allows: HAProxy refuses to start where it is too low.
//!
//! Rule: fewer connections than the object wants are better than no balancer at all; that they are fewer is said
//! (`Degraded`). Source: HAProxy's configuration manual, `maxconn`, `strict-limits`: two files for each connection.

use base::Proxy;
use lifecycle::Outcome;
use rustix::process::{Resource, getrlimit};

/// Beside connections: listeners, checks, event queues, the sockets to master and administrators.
const FILES_BESIDE: u64 = 512;

/// What one process of this machine may open at most: HAProxy raises its own soft limit to the hard one.
pub(super) fn limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Connections in all that fit into the limit, at most what the object wants.
pub(super) fn connections(proxy: &Proxy, limit: u64) -> u32 {
    let fit = limit.saturating_sub(FILES_BESIDE) / 2;
    u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, proxy.connections_max)
}

/// It runs; well, or with fewer connections than were wanted.
pub(super) fn runs(proxy: &Proxy, limit: u64) -> Outcome {
    let (wanted, fit) = (proxy.connections_max, connections(proxy, limit));
    if fit == wanted {
        return Outcome::Ok;
    }
    let needed = u64::from(wanted) * 2 + FILES_BESIDE;
    let reason = format!(
        "spec.maxConnections: {wanted} need {needed} open files and the limit here is {limit}: it takes {fit}; raise the limit of \
         the agent's unit or container (LimitNOFILE), or lower maxConnections"
    );
    Outcome::Degraded { promoted: false, reason }
}
