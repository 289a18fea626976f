//! The custom resources of `palisade.dev/v1alpha1` (DESIGN.md section 4).
//!
//! Promises: every kind has a structural schema with a limit on each list, map and string, CEL rules whose messages
//! name the value and the remedy, and one module ([`names`]) with every word that people and machines match on.
//! What [`check`] says of a file is what a server with these CRDs says of it. Never: I/O (but behind the feature
//! `client`); meaning that depends on a
//! second object (that is `compile`'s); commands, paths, images or environment in an object (SAFETY.md 4.2).
//!
//! ```text
//!   types ─▶ crds() ─▶ crds/*.yaml ─▶ API server ─┐ refuses what one object contradicts by itself
//!             └─────▶ check() ─▶ CLI, devapi ─────┘ (SPEC-ERRORS.md rule 1)
//!   objects ─▶ compile ─▶ what two objects contradict: conditions (rule 2)
//! ```
#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin of each type inside a function"
)]

pub mod check;
#[cfg(feature = "client")]
pub mod client;
pub mod cluster;
pub mod condition;
pub mod constraint;
pub mod fence_device;
pub mod fencing;
pub mod load_balancer;
pub mod names;
pub mod node;
pub mod ocf;
pub mod placement;
mod rules;
mod schema;
pub mod text;
pub mod virtual_ip;

pub use cluster::{HACluster, HAClusterSpec, HAClusterStatus};
pub use condition::Condition;
pub use constraint::{PlacementConstraint, PlacementConstraintSpec};
pub use fence_device::{FenceDevice, FenceDeviceSpec};
pub use fencing::{FencingConfirmation, FencingOperation, FencingRequest};
pub use load_balancer::{LoadBalancer, LoadBalancerSpec};
pub use node::{HANode, HANodeSpec};
pub use placement::{ResourcePlacement, ResourcePlacementSpec, STOP_FAILED};
pub use virtual_ip::{VirtualIP, VirtualIPSpec};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The cluster that an object belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// Name of the `HACluster` in the same namespace. Cannot be changed. Example: `main`.
    pub name: text::ObjectName,
}

/// What happens to running services when an object is deleted (CLUSTER.md section 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay, owned and failing over, until `palisade resource remove NAME`.
    #[default]
    Retain,
    /// They are stopped.
    Stop,
}

/// Every custom resource definition, in the order in which `palisade crds` prints them.
///
/// # Panics
/// Never, once `every_crd_builds` has passed: the definitions are constants of the build.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        FenceDevice::crd(),
        FencingConfirmation::crd(),
        FencingOperation::crd(),
        FencingRequest::crd(),
        HACluster::crd(),
        HANode::crd(),
        LoadBalancer::crd(),
        PlacementConstraint::crd(),
        ResourcePlacement::crd(),
        VirtualIP::crd(),
    ]
    .into_iter()
    .map(schema::finish)
    .collect()
}
