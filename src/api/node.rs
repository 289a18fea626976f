//! `HANode`: one member. The controller makes it from `HACluster`; people set standby, maintenance and attributes.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterRef, Condition, rules,
    text::{AttributeName, AttributeValue, Label, ResourceName},
};

/// One member of a cluster: what people want of it, and what it is doing.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "HANode",
    plural = "hanodes",
    shortname = "han",
    category = "palisade",
    namespaced,
    status = "HANodeStatus",
    derive = "PartialEq",
    doc = "One member of a cluster: what people want of it, and what it is doing. Made from HACluster.spec.members.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Standby", type_ = "boolean", json_path = ".spec.standby"),
    printcolumn(name = "Maintenance", type_ = "boolean", json_path = ".spec.maintenance"),
    printcolumn(name = "Resources", type_ = "integer", json_path = ".status.running"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    selectable = ".spec.member",
    validation = rules::era_grows(),
    validation = rules::rule(
        "self.metadata.name == self.spec.member",
        "spec.member \"{self.spec.member}\" must be the name of the object ({self.metadata.name}): the controller makes one for each member",
    ),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::same_cluster(),
    validation = rules::rule(
        "self.member == oldSelf.member",
        "spec.member cannot change from \"{oldSelf.member}\": the controller makes one HANode for each member",
    ),
    validation = rules::rule(
        "!has(self.attributes) || self.attributes.all(a, self.attributes.exists_one(b, b.name == a.name))",
        "spec.attributes: \"{self.attributes.filter(a, !self.attributes.exists_one(b, b.name == a.name))[0].name}\" is set twice",
    ),
)]
pub struct HANodeSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// Name of the member in `HACluster.spec.members`.
    pub member: Label,
    /// Runs nothing; what it runs moves away. By a person.
    #[serde(default)]
    pub standby: bool,
    /// What runs on it is left alone, whatever happens to it. By a person.
    #[serde(default)]
    pub maintenance: bool,
    /// For rules of location constraints. By a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub attributes: Vec<Attribute>,
}

/// One attribute of a member.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// Name. Example: `rack`.
    #[x_kube(validation = rules::rule(
        "!self.startsWith('#')",
        "\"{self}\" is built in and cannot be set: leave the # out",
    ))]
    pub name: AttributeName,
    /// Value. Example: `r12`.
    pub value: AttributeValue,
}

/// What a member is doing, as its coordinator sees it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HANodeStatus {
    /// Generation of the spec that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// Number on the ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_id: Option<u32>,
    /// `Online`, `Offline`, `Owing`, `Fencing`, `Pending`, `Maintenance`, `Standby`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub state: Option<String>,
    /// Which life of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub incarnation: Option<String>,
    /// Which boot of its machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub boot_id: Option<String>,
    /// How many resources run on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<i64>,
    /// Their names, the first 128.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub resources: Vec<ResourceName>,
    /// Ready, Degraded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}
