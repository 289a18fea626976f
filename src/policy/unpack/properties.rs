//! Cluster properties as values.

use crate::model::{INFINITY, Model, parse_bool, parse_interval_ms, parse_score};

use super::rules::{Context, resolve};

/// What happens without quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuorumPolicy {
    Stop,
    Freeze,
    Ignore,
    Demote,
    Fence,
}

/// What node health does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthStrategy {
    None,
    MigrateOnRed,
    OnlyGreen,
    Progressive,
    Custom,
}

/// How resources are spread over nodes that are otherwise equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// By number; capacities say nothing.
    Default,
    /// By number, where there is room.
    Utilization,
    /// On as few nodes as have room.
    Minimal,
    /// By what is left of capacities, where there is room.
    Balanced,
}

/// Cluster properties.
#[derive(Clone, Debug)]
pub(crate) struct Properties {
    pub(crate) fencing: bool,
    pub(crate) fence_off: bool,
    pub(crate) startup_fencing: bool,
    pub(crate) concurrent_fencing: bool,
    pub(crate) quorum_policy: QuorumPolicy,
    pub(crate) symmetric: bool,
    pub(crate) stop_all: bool,
    pub(crate) stop_removed: bool,
    pub(crate) cancel_removed: bool,
    pub(crate) remove_after_stop: bool,
    pub(crate) maintenance: bool,
    pub(crate) probes: bool,
    pub(crate) shutdown_lock: bool,
    pub(crate) shutdown_lock_limit_ms: u64,
    pub(crate) health: HealthStrategy,
    pub(crate) health_base: i32,
    pub(crate) health_green: i32,
    pub(crate) health_yellow: i32,
    pub(crate) health_red: i32,
    pub(crate) node_pending_timeout_ms: u64,
    pub(crate) strategy: Strategy,
}

impl Properties {
    pub(crate) fn read(model: &Model) -> Self {
        let values = resolve(&model.properties, &Context::cluster(model));
        let text = |names: &[&str]| names.iter().find_map(|name| values.get(*name).copied());
        let truth = |names: &[&str], default| text(names).and_then(parse_bool).unwrap_or(default);
        let ms = |names: &[&str]| text(names).and_then(parse_interval_ms).unwrap_or(0);
        let fencing = truth(&["fencing-enabled", "stonith-enabled"], true);
        let quorum_policy = match text(&["no-quorum-policy"]) {
            Some("ignore") => QuorumPolicy::Ignore,
            Some("freeze") => QuorumPolicy::Freeze,
            Some("demote") => QuorumPolicy::Demote,
            Some("fence" | "suicide") if fencing && (model.had_quorum || model.quorate) => {
                QuorumPolicy::Fence
            }
            _ => QuorumPolicy::Stop,
        };
        let health = match text(&["node-health-strategy"]) {
            Some("migrate-on-red") => HealthStrategy::MigrateOnRed,
            Some("only-green") => HealthStrategy::OnlyGreen,
            Some("progressive") => HealthStrategy::Progressive,
            Some("custom") => HealthStrategy::Custom,
            _ => HealthStrategy::None,
        };
        let colour = |name: &str, default| text(&[name]).and_then(parse_score).unwrap_or(default);
        let (green, yellow, red) = match health {
            HealthStrategy::MigrateOnRed => (0, 0, -INFINITY),
            HealthStrategy::OnlyGreen => (0, -INFINITY, -INFINITY),
            _ => (
                colour("node-health-green", 0),
                colour("node-health-yellow", 0),
                colour("node-health-red", -INFINITY),
            ),
        };
        Self {
            fencing,
            fence_off: matches!(
                text(&["fencing-action", "stonith-action"]),
                Some("off" | "poweroff")
            ),
            startup_fencing: truth(&["startup-fencing"], true),
            concurrent_fencing: truth(&["concurrent-fencing"], true),
            quorum_policy,
            symmetric: truth(&["symmetric-cluster"], true),
            stop_all: truth(&["stop-all-resources"], false),
            stop_removed: truth(&["stop-removed-resources", "stop-orphan-resources"], true),
            cancel_removed: truth(
                &["cancel-removed-actions", "stop-removed-actions", "stop-orphan-actions"],
                true,
            ),
            remove_after_stop: truth(&["remove-after-stop"], false),
            maintenance: truth(&["maintenance-mode"], false),
            probes: truth(&["enable-startup-probes"], true),
            shutdown_lock: truth(&["shutdown-lock"], false),
            shutdown_lock_limit_ms: ms(&["shutdown-lock-limit"]),
            health,
            health_base: colour("node-health-base", 0),
            health_green: green,
            health_yellow: yellow,
            health_red: red,
            node_pending_timeout_ms: ms(&["node-pending-timeout"]),
            strategy: match text(&["placement-strategy"]) {
                Some("utilization") => Strategy::Utilization,
                Some("minimal") => Strategy::Minimal,
                Some("balanced") => Strategy::Balanced,
                _ => Strategy::Default,
            },
        }
    }
}
