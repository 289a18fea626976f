//! What an agent counts, by Prometheus conventions.
//!
//! Handles are atomics: the ring's loop sets them without a lock, the HTTP task reads them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base::Instant;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::status::Phases;

/// Without a turn of the ring's loop for this long the agent counts as dead for `/healthz`.
const TURN_AGE_MAX: Duration = Duration::from_secs(10);

/// One label, named by its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// Why.
    pub reason: &'static str,
}

/// One label, named by its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Phase {
    /// Which part of a failover.
    pub phase: &'static str,
}

/// One label, named by its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// How it ended.
    pub outcome: &'static str,
}

/// One label, named by its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Condition {
    /// Its type, one of [`crate::conditions`].
    pub condition: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What `/healthz` and `/readyz` read.
    pub health: Health,
    /// Members of the last regular configuration.
    pub ring_members: Gauge,
    /// 1 when this component has the majority.
    pub quorate: Gauge,
    /// 1 when the era is open.
    pub era_open: Gauge,
    /// Sequence of the newest era that was open here.
    pub era_sequence: Gauge,
    /// 1 when this member coordinates.
    pub coordinator: Gauge,
    /// Regular configurations installed.
    pub configurations: Counter,
    /// Datagrams taken in.
    pub received: Counter,
    /// Datagrams sent.
    pub sent: Counter,
    /// Datagrams dropped.
    pub dropped: Family<Reason, Counter>,
    /// Own execution gaps longer than half of the token timeout.
    pub gaps: Counter,
    /// Length of those gaps.
    pub gap_seconds: Histogram,
    /// Time of one durable write.
    pub persist_seconds: Histogram,
    /// Writes that failed and are tried again.
    pub persist_failures: Counter,
    /// Voters that owe evidence.
    pub debts: Gauge,
    /// Ended fencing commands that this member carried out.
    pub fencing: Family<Outcome, Counter>,
    /// Parts of failovers seen by this member as coordinator.
    pub failover_seconds: Family<Phase, Histogram>,
    /// 1 for each condition that this member says about itself.
    pub conditions: Family<Condition, Gauge>,
    /// Instances that run here.
    pub instances: Gauge,
}

/// From 0.5 ms to 16 s.
fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0,
    ])
}

impl Metrics {
    /// Registers all of them.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("palisade");
        let info = Family::<Version, Gauge>::default();
        info.get_or_create(&Version { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("agent_build", "Version of the agent, as a label", info);
        let metrics = Self {
            registry,
            health: Health::default(),
            ring_members: Gauge::default(),
            quorate: Gauge::default(),
            era_open: Gauge::default(),
            era_sequence: Gauge::default(),
            coordinator: Gauge::default(),
            configurations: Counter::default(),
            received: Counter::default(),
            sent: Counter::default(),
            dropped: Family::default(),
            gaps: Counter::default(),
            gap_seconds: seconds(),
            persist_seconds: seconds(),
            persist_failures: Counter::default(),
            debts: Gauge::default(),
            fencing: Family::default(),
            failover_seconds: Family::new_with_constructor(seconds),
            conditions: Family::default(),
            instances: Gauge::default(),
        };
        metrics.register()
    }

    fn register(mut self) -> Self {
        let r = &mut self.registry;
        r.register(
            "ring_members",
            "Members of the last regular configuration",
            self.ring_members.clone(),
        );
        r.register(
            "ring_quorate",
            "1 when this component has the majority of the voters",
            self.quorate.clone(),
        );
        r.register("era_open", "1 when the era is open and orders count", self.era_open.clone());
        r.register(
            "era_sequence",
            "Ring sequence of the newest era that was open here",
            self.era_sequence.clone(),
        );
        r.register(
            "coordinator",
            "1 when this member coordinates its component",
            self.coordinator.clone(),
        );
        r.register(
            "ring_configurations",
            "Regular configurations installed",
            self.configurations.clone(),
        );
        r.register("ring_datagrams_received", "Datagrams taken in", self.received.clone());
        r.register("ring_datagrams_sent", "Datagrams sent", self.sent.clone());
        r.register(
            "ring_datagrams_dropped",
            "Datagrams dropped before they had any effect",
            self.dropped.clone(),
        );
        r.register(
            "agent_gaps",
            "Times that the ring's loop was not run for longer than half of the token timeout",
            self.gaps.clone(),
        );
        r.register_with_unit(
            "agent_gap",
            "Length of such gaps",
            Unit::Seconds,
            self.gap_seconds.clone(),
        );
        r.register_with_unit(
            "state_write",
            "Time of one durable write to the state directory",
            Unit::Seconds,
            self.persist_seconds.clone(),
        );
        r.register(
            "state_write_failures",
            "Writes to the state directory that failed and are tried again",
            self.persist_failures.clone(),
        );
        r.register("debts", "Voters that owe evidence", self.debts.clone());
        r.register(
            "fencing_commands",
            "Fencing commands that this member carried out",
            self.fencing.clone(),
        );
        r.register_with_unit(
            "failover_phase",
            "Parts of failovers that this member saw",
            Unit::Seconds,
            self.failover_seconds.clone(),
        );
        r.register(
            "condition",
            "1 for each condition that this member says about itself",
            self.conditions.clone(),
        );
        r.register(
            "resource_instances",
            "Instances that run on this member",
            self.instances.clone(),
        );
        self
    }

    /// The parts of a failover that this member coordinated and that is over.
    pub fn failover(&self, phases: &Phases) {
        for (phase, ms) in phases.parts() {
            if let Some(ms) = ms {
                let part = self.failover_seconds.get_or_create(&Phase { phase });
                part.observe(Duration::from_millis(ms).as_secs_f64());
            }
        }
    }

    /// The text that `/metrics` serves.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(8 * 1024);
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Freshness of the ring's loop, for probes and for the watchdog.
#[derive(Debug, Default)]
pub struct Health {
    turn: AtomicU64,
    ready: AtomicBool,
}

impl Health {
    /// The ring's loop began a turn.
    pub fn turn(&self, now: Instant) {
        self.turn.store(now.0, Ordering::Relaxed);
    }

    /// The member is in an open era, or in none that could open one (inquorate members are not ready).
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// When the last turn began.
    pub fn last_turn(&self) -> Instant {
        Instant(self.turn.load(Ordering::Relaxed))
    }

    /// For `/healthz`.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        let turn = self.last_turn();
        if turn == Instant::ZERO || now.since(turn) > TURN_AGE_MAX {
            return Err("the ring's loop does not turn".into());
        }
        Ok(())
    }

    /// For `/readyz`.
    pub fn ready(&self, now: Instant) -> Result<(), String> {
        self.alive(now)?;
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("this member is in no open era; see `palisade status`".into())
        }
    }
}
