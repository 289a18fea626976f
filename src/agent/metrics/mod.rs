//! What an agent counts, by Prometheus conventions. Names are contracts: add, don't change.
//!
//! Handles are atomics: the ring's loop sets them without a lock, the HTTP task reads them. What is said of other members
//! and of resources is this member's view; of resources only the coordinator speaks, so that each is said once.

mod health;
mod labels;

use std::time::{Duration, SystemTime};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use self::labels::Build;
pub use self::{
    health::Health,
    labels::{
        Condition, Done, Kind, Link, NodeState, Outcome, Phase, Reason, Resource, Said, Series,
        State,
    },
};
use crate::status::Phases;

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What `/healthz` and `/readyz` read.
    pub health: Health,
    /// What the ring does.
    pub ring: Ring,
    /// What is agreed on.
    pub cluster: Cluster,
    /// Machines that are powered off.
    pub fencing: Fencing,
    /// What runs.
    pub resources: Resources,
    /// The mirror of all this.
    pub api: Api,
    /// This agent itself.
    pub own: Own,
    /// Parts of failovers seen by this member as coordinator.
    pub failover_seconds: Family<Phase, Histogram>,
}

/// What the ring does.
#[derive(Debug)]
pub struct Ring {
    /// Members of the last regular configuration.
    pub members: Gauge,
    /// 1 when this component has the majority.
    pub quorate: Gauge,
    /// 1 for where the protocol stands.
    pub state: Series<State>,
    /// Regular configurations installed.
    pub configurations: Counter,
    /// Datagrams taken in.
    pub received: Counter,
    /// Datagrams sent.
    pub sent: Counter,
    /// Datagrams dropped.
    pub dropped: Family<Reason, Counter>,
    /// What came over each link, before it is checked.
    pub links: Family<Link, Counter>,
    /// From one token to the next.
    pub rotation_seconds: Histogram,
    /// Tokens that did not come in time.
    pub tokens_lost: Counter,
    /// Tokens sent again.
    pub tokens_resent: Counter,
    /// Messages sent again on request.
    pub messages_resent: Counter,
    /// Authentic messages that had no effect.
    pub messages_refused: Family<Reason, Counter>,
}

/// What is agreed on.
#[derive(Debug)]
pub struct Cluster {
    /// Voters of the accepted revision.
    pub voters: Gauge,
    /// 1 when the era is open.
    pub era_open: Gauge,
    /// Sequence of the newest era that was open here.
    pub era_sequence: Gauge,
    /// Eras that opened.
    pub era_changes: Counter,
    /// 1 when this member coordinates.
    pub coordinator: Gauge,
    /// Voters that owe evidence.
    pub debts: Gauge,
    /// 1 for the state of each member.
    pub nodes: Series<NodeState>,
    /// Objects of which the engine says each condition.
    pub conditions: Series<Said>,
}

/// Machines that are powered off.
#[derive(Debug)]
pub struct Fencing {
    /// Ended commands that this member carried out.
    pub commands: Family<Outcome, Counter>,
    /// Commands that this member began.
    pub attempts: Counter,
    /// How long they took, reading back included.
    pub seconds: Family<Outcome, Histogram>,
    /// When one was last successful here.
    pub last_success: Gauge,
    /// Operations without evidence.
    pub open: Gauge,
    /// Of these, those whose last try failed or was not verified.
    pub failing: Gauge,
    /// 1 when the cluster powers machines off at all.
    pub enabled: Gauge,
    /// Members that no device can power off.
    pub gaps: Gauge,
}

/// What runs.
#[derive(Debug)]
pub struct Resources {
    /// Instances that run here.
    pub here: Gauge,
    /// Instances of each that run, as the coordinator sees it.
    pub running: Series<Resource>,
    /// Failures of each that count.
    pub failures: Series<Resource>,
    /// Instances of each whose stop failed.
    pub stop_failed: Series<Resource>,
    /// 1 for each that waits for something.
    pub blocked: Series<Resource>,
    /// What the executor of this machine was ordered to do.
    pub operation_seconds: Family<Done, Histogram>,
    /// Failures that the executor reported without being asked.
    pub changes: Counter,
}

/// The mirror of all this.
#[derive(Debug)]
pub struct Api {
    /// 1 when the last look found it.
    pub reachable: Gauge,
    /// When that was.
    pub last_contact: Gauge,
    /// Writes that it took.
    pub writes: Family<Kind, Counter>,
    /// Writes that it did not take.
    pub failures: Family<Kind, Counter>,
}

/// This agent itself.
#[derive(Debug)]
pub struct Own {
    /// Own execution gaps longer than half of the token timeout.
    pub gaps: Counter,
    /// Length of those gaps.
    pub gap_seconds: Histogram,
    /// Time of one durable write.
    pub persist_seconds: Histogram,
    /// Writes that failed and are tried again.
    pub persist_failures: Counter,
    /// 1 for each condition that this member says about itself.
    pub conditions: Family<Condition, Gauge>,
    /// 1 when the machine's configuration names a watchdog.
    pub watchdog_configured: Gauge,
    /// 1 when it is proven armed.
    pub watchdog_armed: Gauge,
    /// What the device says.
    pub watchdog_timeout: Gauge,
    /// Times that the executor began to take its own machine down.
    pub self_fencings: Counter,
}

/// From 0.5 ms to 16 s.
fn fast() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0,
    ])
}

/// From 10 ms to two minutes: what drivers and BMCs take.
fn slow() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 120.0])
}

/// Makes metrics and registers each where it is made.
struct Maker(Registry);

impl Maker {
    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        let made = Gauge::default();
        self.0.register(name, help, made.clone());
        made
    }

    fn counter(&mut self, name: &str, help: &str) -> Counter {
        let made = Counter::default();
        self.0.register(name, help, made.clone());
        made
    }

    fn counters<L>(&mut self, name: &str, help: &str) -> Family<L, Counter>
    where
        L: Clone + std::hash::Hash + Eq + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
    {
        let made = Family::default();
        self.0.register(name, help, made.clone());
        made
    }

    fn gauges(&mut self, name: &str, help: &str) -> Family<Condition, Gauge> {
        let made = Family::default();
        self.0.register(name, help, made.clone());
        made
    }

    fn series<L>(&mut self, name: &str, help: &str) -> Series<L>
    where
        L: Clone + std::hash::Hash + Ord + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
    {
        let made = Series::default();
        self.0.register(name, help, made.family());
        made
    }

    /// `_seconds` is added to its name.
    fn seconds(&mut self, name: &str, help: &str, made: Histogram) -> Histogram {
        self.0.register_with_unit(name, help, Unit::Seconds, made.clone());
        made
    }

    /// `_seconds` is added to its name.
    fn all_seconds<L>(
        &mut self,
        name: &str,
        help: &str,
        of: fn() -> Histogram,
    ) -> Family<L, Histogram>
    where
        L: Clone + std::hash::Hash + Eq + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
    {
        let made: Family<L, Histogram> = Family::new_with_constructor(of);
        self.0.register_with_unit(name, help, Unit::Seconds, made.clone());
        made
    }
}

impl Metrics {
    /// Registers all of them.
    pub fn new() -> Self {
        let mut m = Maker(Registry::with_prefix("palisade"));
        let info = Family::<Build, Gauge>::default();
        info.get_or_create(&Build { version: env!("CARGO_PKG_VERSION"), part: "agent" }).set(1);
        m.0.register("build_info", "Version of the program, as a label", info);
        m.gauge("agent_start_timestamp_seconds", "When the ring part was started").set(unix_now());
        let (ring, cluster, fencing) =
            (Ring::new(&mut m), Cluster::new(&mut m), Fencing::new(&mut m));
        let (resources, api, own) = (Resources::new(&mut m), Api::new(&mut m), Own::new(&mut m));
        let failover_seconds =
            m.all_seconds("failover_phase", "Parts of failovers that this member saw", fast);
        let health = Health::default();
        let made = Self {
            registry: m.0,
            health,
            ring,
            cluster,
            fencing,
            resources,
            api,
            own,
            failover_seconds,
        };
        made.begin();
        made
    }

    /// A family is silent until its first event, and an alert cannot tell that from an agent that is away: those whose labels
    /// are known begin at zero.
    fn begin(&self) {
        for why in totem::frame::Dropped::ALL {
            drop(self.ring.dropped.get_or_create(&Reason { reason: why.label() }));
        }
        for outcome in ["ok", "failed"] {
            drop(self.fencing.commands.get_or_create(&Outcome { outcome }));
            drop(self.fencing.seconds.get_or_create(&Outcome { outcome }));
            for operation in ["start", "stop"] {
                let done = Done { operation, outcome };
                drop(self.resources.operation_seconds.get_or_create(&done));
            }
        }
        for (phase, _) in Phases::default().parts() {
            drop(self.failover_seconds.get_or_create(&Phase { phase }));
        }
        for condition in crate::conditions::ALL {
            drop(self.own.conditions.get_or_create(&Condition { condition }));
        }
        for kind in crate::kubernetes::mirror::Kind::ALL {
            let kind = Kind { kind: kind.word() };
            drop(self.api.writes.get_or_create(&kind));
            drop(self.api.failures.get_or_create(&kind));
        }
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
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        base::exposition::classic(&text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Seconds since 1970, for gauges only: nothing is decided by it.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Ring {
    fn new(m: &mut Maker) -> Self {
        Self {
            members: m.gauge("ring_members", "Members of the last regular configuration"),
            quorate: m
                .gauge("ring_quorate", "1 when this component has the majority of the voters"),
            state: m.series("ring_state", "1 for where the membership protocol stands"),
            configurations: m.counter("ring_configurations", "Regular configurations installed"),
            received: m.counter("ring_datagrams_received", "Datagrams taken in"),
            sent: m.counter("ring_datagrams_sent", "Datagrams sent"),
            dropped: m
                .counters("ring_datagrams_dropped", "Datagrams dropped before they had any effect"),
            links: m.counters(
                "ring_link_datagrams_received",
                "Datagrams that came from a member over a link, before they were checked",
            ),
            rotation_seconds: m.seconds(
                "ring_token_rotation",
                "From one token of a ring to the next",
                fast(),
            ),
            tokens_lost: m.counter("ring_tokens_lost", "Tokens that did not come in their time"),
            tokens_resent: m.counter("ring_tokens_resent", "Tokens sent again"),
            messages_resent: m.counter(
                "ring_messages_resent",
                "Messages sent again because a member asked for them",
            ),
            messages_refused: m
                .counters("ring_messages_refused", "Authentic messages that had no effect"),
        }
    }
}

impl Cluster {
    fn new(m: &mut Maker) -> Self {
        Self {
            voters: m.gauge("quorum_voters", "Voters of the accepted revision"),
            era_open: m.gauge("era_open", "1 when the era is open and orders count"),
            era_sequence: m
                .gauge("era_sequence", "Ring sequence of the newest era that was open here"),
            era_changes: m.counter("era_changes", "Eras that opened here"),
            coordinator: m.gauge("coordinator", "1 when this member coordinates its component"),
            debts: m.gauge("debts", "Voters that owe evidence"),
            nodes: m.series("node_state", "1 for the state of each member, as this one sees it"),
            conditions: m.series(
                "cluster_conditions",
                "Objects of which the engine says this, as this member sees it",
            ),
        }
    }
}

impl Fencing {
    fn new(m: &mut Maker) -> Self {
        Self {
            commands: m.counters(
                "fencing_commands",
                "Ended fencing commands that this member carried out",
            ),
            attempts: m.counter("fencing_attempts", "Fencing commands that this member began"),
            seconds: m.all_seconds(
                "fencing_command",
                "Duration of fencing commands, reading the power back included",
                slow,
            ),
            last_success: m.gauge(
                "fencing_last_success_timestamp_seconds",
                "When a fencing command of this member was last verified; 0: not since it started",
            ),
            open: m.gauge(
                "fencing_operations_open",
                "Fencing operations without evidence, as this member sees it",
            ),
            failing: m.gauge(
                "fencing_operations_failing",
                "Open fencing operations whose last try failed or could not be verified",
            ),
            enabled: m.gauge("fencing_enabled", "1 when the cluster powers lost machines off"),
            gaps: m.gauge(
                "fencing_members_without_device",
                "Members that no usable device can power off",
            ),
        }
    }
}

impl Resources {
    fn new(m: &mut Maker) -> Self {
        Self {
            here: m.gauge("resource_instances", "Instances that run on this member"),
            running: m.series("resource_running", "Instances of a resource that run; said by the coordinator of those that are to run"),
            failures: m.series("resource_failures", "Failures of a resource that count; said by the coordinator"),
            stop_failed: m.series("resource_stop_failed", "Instances of a resource whose stop failed; said by the coordinator"),
            blocked: m.series("resource_blocked", "1 for a resource that waits for something; said by the coordinator"),
            operation_seconds: m.all_seconds("executor_operation", "From an order to this member's executor until it ended", slow),
            changes: m.counter("executor_changes", "Changes of instances that the executor reported without an order"),
        }
    }
}

impl Api {
    fn new(m: &mut Maker) -> Self {
        Self {
            reachable: m
                .gauge("api_reachable", "1 when the last look at the Kubernetes API succeeded"),
            last_contact: m.gauge(
                "api_last_contact_timestamp_seconds",
                "When the Kubernetes API last answered; 0: not since this agent started",
            ),
            writes: m
                .counters("api_writes", "Writes of the coordinator that the Kubernetes API took"),
            failures: m.counters(
                "api_write_failures",
                "Writes of the coordinator that the Kubernetes API did not take",
            ),
        }
    }
}

impl Own {
    fn new(m: &mut Maker) -> Self {
        Self {
            gaps: m.counter(
                "agent_gaps",
                "Times that the ring's loop was not run for longer than half of the token timeout",
            ),
            gap_seconds: m.seconds("agent_gap", "Length of such gaps", fast()),
            persist_seconds: m.seconds(
                "state_write",
                "Time of one durable write to the state directory",
                fast(),
            ),
            persist_failures: m.counter(
                "state_write_failures",
                "Writes to the state directory that failed and are tried again",
            ),
            conditions: m
                .gauges("condition", "1 for each condition that this member says about itself"),
            watchdog_configured: m.gauge(
                "watchdog_configured",
                "1 when this machine's configuration names a watchdog",
            ),
            watchdog_armed: m
                .gauge("watchdog_armed", "1 when this machine's watchdog is proven armed"),
            watchdog_timeout: m.gauge(
                "watchdog_timeout_seconds",
                "Timeout that the watchdog reports while it is armed",
            ),
            self_fencings: m.counter(
                "self_fencings",
                "Times that this member's executor began to take its own machine down",
            ),
        }
    }
}
