//! `VirtualIP`: one address that is on exactly one machine.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterRef, Condition, DeletionPolicy, rules,
    text::{Address, Label, ResourceName},
};

/// One address that is on exactly one machine, and what it goes with.
///
/// The controller makes a `ResourcePlacement` of the same name from it, and constraints for `with`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "VirtualIP",
    plural = "virtualips",
    shortname = "vip",
    category = "palisade",
    namespaced,
    status = "VirtualIPStatus",
    derive = "PartialEq",
    doc = "One address that is on exactly one machine, and what it goes with.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.address"),
    printcolumn(name = "Network", type_ = "string", json_path = ".spec.network"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    selectable = ".spec.address",
    validation = rules::era_grows(),
    validation = rules::rule(
        "!has(self.spec.with) || self.spec.with.all(w, w.resource != self.metadata.name)",
        "spec.with: \"{self.metadata.name}\" is the address itself: name the resource that it goes with",
    ),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::same_cluster(),
    validation = rules::rule(
        "self.prefix >= 1 && self.prefix <= (self.address.contains(':') ? 128 : 32)",
        "spec.prefix {self.prefix} is out of range for {self.address}: 1 to {(self.address.contains(':') ? '128' : '32')}",
    ),
    validation = rules::rule(
        "self.provider != 'Keepalived'",
        "spec.provider: Keepalived is not built yet: use Native",
    ),
    validation = rules::rule(
        "!has(self.with) || self.with.all(w, self.with.exists_one(v, v.resource == w.resource))",
        "spec.with: \"{self.with.filter(w, !self.with.exists_one(v, v.resource == w.resource))[0].resource}\" is named twice",
    ),
)]
pub struct VirtualIPSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// The address. Example: `10.0.0.100`.
    pub address: Address,
    /// Length of its network's prefix. Example: `24`.
    #[schemars(range(min = 1, max = 128))]
    pub prefix: u32,
    /// Network of the cluster (`HACluster.spec.networks[].name`). Example: `public`.
    pub network: Label,
    /// Who holds it.
    #[serde(default)]
    pub provider: Provider,
    /// What must be on the same machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub with: Vec<Companion>,
    /// What happens to the address when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Who holds an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Provider {
    /// A keepalived that we run. Not built yet.
    Keepalived,
    /// The cluster itself.
    #[default]
    Native,
}

/// A resource on the same machine.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Companion {
    /// Id of the resource. Example: `web`.
    pub resource: ResourceName,
    /// Which of the two leads.
    #[serde(default)]
    pub leader: Leader,
}

/// Which of the two leads: is placed first and starts first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Leader {
    /// The resource goes where the address is.
    Address,
    /// The address goes where the resource runs.
    #[default]
    Resource,
}

/// Where the address is.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualIPStatus {
    /// Generation of the spec that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// Member that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Label>,
    /// Why it is there, or nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Accepted, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}
