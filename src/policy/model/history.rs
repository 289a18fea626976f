//! Operation history: what was done with a resource on a node, and how it went.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

/// Everything recorded of one resource on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceHistory {
    /// The resource, with the instance number where history has one (`db:0`).
    pub resource: String,
    /// Agent class, for resources that are no longer configured.
    pub class: String,
    /// Agent provider.
    pub provider: String,
    /// Agent type.
    pub agent: String,
    /// The container that this resource ran in, if any.
    pub container: Option<String>,
    /// Since when the node holds the resource locked over its shutdown.
    pub shutdown_lock: Option<i64>,
    /// The operations, in any order.
    pub operations: Vec<OperationRecord>,
}

/// One recorded operation. Of each operation and interval, only the last is kept, plus the last failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationRecord {
    /// Record name, for example `db_monitor_10000` or `db_last_failure_0`.
    pub id: String,
    /// `start`, `stop`, `monitor`, `promote`, `demote`, `notify`, `migrate_to`, ...
    pub operation: String,
    /// Zero for one that does not recur.
    pub interval_ms: u64,
    /// Order among the records of one node; -1 while pending.
    pub call_id: i64,
    /// How it ended.
    pub status: OperationStatus,
    /// The agent's exit code.
    pub exit_code: i32,
    /// The exit code that was expected, if known.
    pub expected_code: Option<i32>,
    /// When it was started, in seconds since 1970.
    pub last_run: Option<i64>,
    /// When its result last changed.
    pub last_change: Option<i64>,
    /// Source node of a migration.
    pub migrate_source: Option<String>,
    /// Target node of a migration.
    pub migrate_target: Option<String>,
    /// Digests of the parameters in use at that time.
    pub digests: ParameterDigests,
    /// Number of the transition that ordered it, if known.
    pub transition: Option<i64>,
    /// The writer's feature set, for example `3.19.0`.
    pub feature_set: String,
}

/// Digests of the parameters of an operation; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParameterDigests {
    /// Over all parameters.
    pub all: String,
    /// Over those that demand a restart.
    pub restart: String,
    /// Names that `restart` covers, or that the agent can reload, as the writer listed them.
    pub restart_names: Vec<String>,
    /// Whether the writer listed no names, not even that there are none: then `restart` is over all parameters.
    pub restart_unlisted: bool,
    /// Over those that are not secret.
    pub nonprivate: String,
    /// Names that `nonprivate` leaves out.
    pub private_names: Vec<String>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OperationStatus {
    /// Still running.
    Pending,
    /// Ended with an exit code.
    #[default]
    Done,
    /// Given up before it ran.
    Cancelled,
    /// Did not end in time.
    TimedOut,
    /// The agent knows no such operation.
    NotSupported,
    /// Failed outside the agent.
    Error,
    /// Failed, and no retry makes sense on this node.
    ErrorHard,
    /// Failed, and no retry makes sense anywhere.
    ErrorFatal,
    /// The agent is not installed.
    NotInstalled,
    /// The executor could not be reached.
    NotConnected,
    /// The result is of no use.
    Invalid,
}

impl ResourceHistory {
    /// Empty history of a resource.
    #[must_use]
    pub fn of(resource: &str, class: &str, provider: &str, agent: &str) -> Self {
        Self {
            resource: resource.to_string(),
            class: class.to_string(),
            provider: provider.to_string(),
            agent: agent.to_string(),
            ..Self::default()
        }
    }

    /// Adds an operation that ended with `exit_code`, after all recorded before.
    #[must_use]
    pub fn with_done(mut self, operation: &str, interval_ms: u64, exit_code: i32) -> Self {
        let call_id = self.operations.iter().map(|op| op.call_id).max().unwrap_or(0) + 1;
        self.operations.push(OperationRecord {
            id: alloc::format!("{}_{operation}_{interval_ms}", self.resource),
            operation: operation.to_string(),
            interval_ms,
            call_id,
            exit_code,
            ..OperationRecord::default()
        });
        self
    }
}
