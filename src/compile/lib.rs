//! From objects to what the ring agrees on (CLUSTER.md section 7). No I/O, no clock.
//!
//! Promises: equal objects give an equal revision, byte by byte, whoever compiles; an object that cannot be understood
//! changes nothing that runs, what was accepted of it last stays in force (SPEC-ERRORS.md rule 5); every object gets a
//! verdict whose message names path, value and remedy. Never: a look at the world. What needs one (Secrets, Nodes,
//! BMCs) is judged where the world is seen.
//!
//! ```text
//!   VirtualIP, LoadBalancer ──▶ expand ──▶ ResourcePlacement, PlacementConstraint ─┐   (controller applies them)
//!   HACluster ──▶ expand ──▶ HANode ─────────────────────────────────┤
//!   FenceDevice ─────────────────────────────────────────────────────┤
//!                                                                     ▼
//!                         previous revision ─▶ parse ─▶ cross ─▶ Revision + verdicts
//! ```

mod agents;
mod balancers;
mod cluster;
mod constraints;
mod cross;
mod devices;
pub mod expand;
mod hash;
mod nodes;
mod parse;
mod placements;
mod verdict;

use api::{
    FenceDevice, HACluster, HANode, LoadBalancer, PlacementConstraint, ResourcePlacement,
    VirtualIP, names::reason,
};
use kube::ResourceExt;
use policy::revision::{OBJECTS_MAX, ObjectKind, ObjectVersion, Revision};

pub use devices::{gaps, single_points};
pub use hash::of_spec;
pub use verdict::{Key, Problem, Verdict, Verdicts};

/// All objects of one cluster, in any order.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The cluster itself; without it nothing is compiled.
    pub cluster: Option<HACluster>,
    /// Its members.
    pub nodes: Vec<HANode>,
    /// Its fence devices.
    pub devices: Vec<FenceDevice>,
    /// What is to run.
    pub placements: Vec<ResourcePlacement>,
    /// Where, and in which order.
    pub constraints: Vec<PlacementConstraint>,
    /// Addresses; they count through the placements that [`expand`] makes of them.
    pub addresses: Vec<VirtualIP>,
    /// Load balancers; they count in the same way.
    pub balancers: Vec<LoadBalancer>,
}

impl Objects {
    /// Those that belong to the cluster `name`, the rest is left out.
    pub fn of_cluster(mut self, name: &str) -> Self {
        self.cluster = self.cluster.filter(|c| c.name_any() == name);
        self.nodes.retain(|o| o.spec.cluster_ref.name.as_str() == name);
        self.devices.retain(|o| o.spec.cluster_ref.name.as_str() == name);
        self.placements.retain(|o| o.spec.cluster_ref.name.as_str() == name);
        self.constraints.retain(|o| o.spec.cluster_ref.name.as_str() == name);
        self.addresses.retain(|o| o.spec.cluster_ref.name.as_str() == name);
        self.balancers.retain(|o| o.spec.cluster_ref.name.as_str() == name);
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.cluster.is_some())
            + self.nodes.len()
            + self.devices.len()
            + self.placements.len()
            + self.constraints.len()
            + self.addresses.len()
            + self.balancers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What came of a compilation.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// `None` while there is no cluster that was ever understood.
    pub revision: Option<Revision>,
    /// One for each object.
    pub verdicts: Verdicts,
}

/// Compiles all objects of one cluster. `previous` is the revision in force, if there is one: an object that cannot be
/// understood keeps its part of it.
pub fn compile(objects: &Objects, previous: Option<&Revision>) -> Compiled {
    let mut verdicts = Verdicts::default();
    if objects.len() > OBJECTS_MAX {
        let count = objects.len();
        let why =
            format!("{count} objects, at most {OBJECTS_MAX}: split them over several clusters");
        verdicts.all(objects, &Problem::fatal(reason::INVALID, why));
        return Compiled { revision: previous.cloned(), verdicts };
    }
    let Some(source) = &objects.cluster else {
        let why = "the HACluster that clusterRef names does not exist (waiting): apply it";
        verdicts.all(objects, &Problem::fatal(reason::NO_SUCH_CLUSTER, why));
        return Compiled { revision: previous.cloned(), verdicts };
    };
    let Some(mut revision) = cluster::compile(source, previous, &mut verdicts) else {
        let why = format!("HACluster {:?} was never accepted: correct it first", source.name_any());
        verdicts.dependents(objects, &Problem::fatal(reason::NO_SUCH_CLUSTER, why));
        return Compiled { revision: None, verdicts };
    };
    nodes::compile(objects, previous, &mut revision, &mut verdicts);
    devices::compile(objects, previous, &mut revision, &mut verdicts);
    placements::compile(objects, previous, &mut revision, &mut verdicts);
    constraints::compile(objects, previous, &mut revision, &mut verdicts);
    cross::check(objects, previous, &mut revision, &mut verdicts);
    for address in &objects.addresses {
        expand::judge(address, &revision, &mut verdicts);
    }
    for balancer in &objects.balancers {
        balancers::judge(balancer, &objects.addresses, &revision, &mut verdicts);
    }
    revision.objects.sort();
    Compiled { revision: Some(revision), verdicts }
}

/// The version of an object, for the list of a revision.
fn version<K: ResourceExt>(
    kind: ObjectKind,
    object: &K,
    spec: &impl serde::Serialize,
) -> ObjectVersion {
    ObjectVersion {
        kind,
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        generation: object.meta().generation.unwrap_or_default(),
        hash: of_spec(spec),
    }
}

/// The version under which an object stands in the revision in force.
fn version_in(previous: Option<&Revision>, kind: ObjectKind, name: &str) -> Option<ObjectVersion> {
    previous?.objects.iter().find(|o| o.kind == kind && o.name == name).cloned()
}
