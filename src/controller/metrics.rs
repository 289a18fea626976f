//! What the controller counts. Names are contracts: add, don't change.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What was written.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct What {
    what: &'static str,
}

/// The controller's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    leader: Gauge,
    reconciled: Counter,
    writes: Family<What, Counter>,
    refused: Family<What, Counter>,
    listed: AtomicBool,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("palisade_controller");
        let leader = Gauge::default();
        let reconciled = Counter::default();
        let writes: Family<What, Counter> = Family::default();
        let refused: Family<What, Counter> = Family::default();
        registry.register("leader", "1 while this replica holds the Lease", leader.clone());
        registry.register(
            "reconciliations",
            "Pictures of all objects that were compiled",
            reconciled.clone(),
        );
        registry.register("writes", "Writes to the API by what was written", writes.clone());
        registry.register(
            "writes_refused",
            "Writes that the API refused by what was to be written",
            refused.clone(),
        );
        let listed = AtomicBool::new(false);
        Self(Arc::new(Inner { registry, leader, reconciled, writes, refused, listed }))
    }

    pub(crate) fn leader(&self, held: bool) {
        self.0.leader.set(i64::from(held));
    }

    pub(crate) fn listed(&self, listed: bool) {
        self.0.listed.store(listed, Ordering::Relaxed);
    }

    pub(crate) fn reconciled(&self) {
        self.0.reconciled.inc();
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
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
