//! What the executor part does to its machine, behind one trait: the drivers in production, doubles in tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base::{NodeName, ResourceId, ResourceKind};
use cluster::Station;
use drivers::{
    power::{BoxFuture, Permit},
    resource::Survivor,
};
use lifecycle::{Answer, Call};
use tokio::task::JoinHandle;

/// The machine as an executor sees it.
pub trait Outside: Send + Sync {
    /// What runs here in truth, whoever started it.
    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>>;

    /// Carries one call out. Dropping the future breaks it off. `permit` is asked after each wait, before an effect
    /// (CLUSTER.md section 4).
    fn carry_out<'a>(&'a self, call: &'a Call, permit: Permit) -> BoxFuture<'a, Answer>;

    /// Gives a configured address a new lifetime, `None` for ever. Must not block; ends when it is done, or has failed.
    fn renew(
        &self,
        resource: &ResourceId,
        kind: &ResourceKind,
        lifetime: Option<Duration>,
    ) -> Option<JoinHandle<()>>;

    /// Another member announces an address: looks until this machine takes its station for the holder, and says so.
    fn look_for(&self, resource: &ResourceId, kind: &ResourceKind, station: Station);

    /// A peer sees the address at that station.
    fn seen_at(&self, resource: &ResourceId, station: Station);

    /// Interface of this machine on each network.
    fn set_networks(&self, networks: BTreeMap<String, String>);

    /// Members that are known to be dead or to have left, all of them. Must not block.
    fn set_gone(&self, machines: BTreeSet<NodeName>);

    /// Takes this machine down, at once and without ceremony.
    fn fence_self(&self);
}
