//! What the controller counts. Names are contracts: add, don't change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// What was written.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
    part: &'static str,
}

/// The controller's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    leader: Gauge,
    reconciled: Counter,
    errors: Counter,
    seconds: Histogram,
    pending: Gauge,
    writes: Family<What, Counter>,
    refused: Family<What, Counter>,
    listed: AtomicBool,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("palisade");
        let info = Family::<Build, Gauge>::default();
        info.get_or_create(&Build { version: env!("CARGO_PKG_VERSION"), part: "controller" })
            .set(1);
        registry.register("build_info", "Version of the program, as a label", info);
        let leader = Gauge::default();
        let reconciled = Counter::default();
        let writes: Family<What, Counter> = Family::default();
        let refused: Family<What, Counter> = Family::default();
        registry.register(
            "controller_leader",
            "1 while this replica holds the Lease",
            leader.clone(),
        );
        registry.register(
            "controller_reconciliations",
            "Pictures of all objects that were compiled",
            reconciled.clone(),
        );
        registry.register(
            "controller_writes",
            "Writes to the API by what was written",
            writes.clone(),
        );
        registry.register(
            "controller_writes_refused",
            "Writes that the API refused by what was to be written",
            refused.clone(),
        );
        let errors = Counter::default();
        registry.register(
            "controller_reconcile_errors",
            "Reconciliations that were not carried out to their end and are tried again",
            errors.clone(),
        );
        let seconds = Histogram::new([0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0]);
        registry.register_with_unit(
            "controller_reconcile",
            "From a picture of all objects until what follows from it is written",
            Unit::Seconds,
            seconds.clone(),
        );
        let pending = Gauge::default();
        registry.register(
            "controller_actions_pending",
            "Writes that the last picture asks for and that were not yet carried out",
            pending.clone(),
        );
        let listed = AtomicBool::new(false);
        for what in crate::apply::VERBS {
            drop(writes.get_or_create(&What { what }));
            drop(refused.get_or_create(&What { what }));
        }
        Self(Arc::new(Inner {
            registry,
            leader,
            reconciled,
            errors,
            seconds,
            pending,
            writes,
            refused,
            listed,
        }))
    }

    pub(crate) fn leader(&self, held: bool) {
        self.0.leader.set(i64::from(held));
    }

    pub(crate) fn listed(&self, listed: bool) {
        self.0.listed.store(listed, Ordering::Relaxed);
    }

    /// A picture was compiled, and so much follows from it.
    pub(crate) fn compiled(&self, actions: usize) {
        self.0.pending.set(i64::try_from(actions).unwrap_or(i64::MAX));
    }

    /// It was carried out, or it was not.
    pub(crate) fn reconciled(&self, whole: bool, took: Duration) {
        self.0.reconciled.inc();
        self.0.seconds.observe(took.as_secs_f64());
        if whole {
            self.0.pending.set(0);
        } else {
            self.0.errors.inc();
        }
    }

    /// Something was written.
    pub fn wrote(&self, what: &'static str) {
        self.0.writes.get_or_create(&What { what }).inc();
    }

    /// The API refused it.
    pub fn refused(&self, what: &'static str) {
        self.0.refused.get_or_create(&What { what }).inc();
    }

    /// Whether every kind was listed once.
    pub(crate) fn ready(&self) -> bool {
        self.0.listed.load(Ordering::Relaxed)
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // writing into a String cannot fail
        let _ = encode(&mut text, &self.0.registry);
        base::exposition::classic(&text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
