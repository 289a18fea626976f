//! `ResourcePlacement`: one primitive, group, clone or promotable clone.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterRef, Condition, DeletionPolicy,
    load_balancer::{Backend, Frontend},
    ocf::OcfParameters,
    rules,
    text::{Address, Label, ResourceName, Span},
};

/// Something to run: one resource or a group, once or in copies. Where it runs is the cluster's decision.
///
/// Example: `resource: {type: Process, process: {template: web}}` runs the root-owned template `web` of the machines.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "ResourcePlacement",
    plural = "resourceplacements",
    shortname = "rp",
    category = "palisade",
    namespaced,
    status = "ResourcePlacementStatus",
    derive = "PartialEq",
    doc = "Something to run: one resource or a group, once or in copies. Where it runs is the cluster's decision.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.resource.type"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Failures", type_ = "integer", json_path = ".status.failures"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    selectable = ".spec.resource.type",
    validation = rules::era_grows(),
    validation = rules::rule(
        "!has(self.spec.group) || self.spec.group.members.all(m, m.name != self.metadata.name)",
        "spec.group.members: \"{self.metadata.name}\" is also the name of the group: give the member another one",
    ),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::same_cluster(),
    validation = rules::told_by(
        "has(self.resource) != has(self.group)",
        "has(self.resource) ? 'spec: resource and group exclude each other: keep one' : 'spec: resource or group is required'",
    ),
    validation = rules::rule(
        "!has(self.clone) || !has(self.resource) || self.resource.type != 'Address'",
        "spec.clone: an Address cannot be cloned, it would be on two machines: remove clone",
    ),
    validation = rules::rule(
        "!has(self.clone) || !has(self.group) || self.group.members.all(m, m.resource.type != 'Address')",
        "spec.clone: group member \"{self.group.members.filter(m, m.resource.type == 'Address')[0].name}\" is an Address, which cannot be cloned: remove clone, or take the member out",
    ),
    validation = rules::rule(
        "!has(self.clone) || !has(self.clone.promoted) || (has(self.resource) ? self.resource.type != 'Process' : !has(self.group) || self.group.members.all(m, m.resource.type != 'Process'))",
        "spec.clone.promoted: a Process has no promoted role: remove promoted",
    ),
    validation = rules::rule(
        "!has(self.clone) || !has(self.clone.promoted) || (has(self.resource) ? self.resource.type != 'LoadBalancer' : !has(self.group) || self.group.members.all(m, m.resource.type != 'LoadBalancer'))",
        "spec.clone.promoted: a LoadBalancer has no promoted role: remove promoted",
    ),
    validation = rules::rule(
        "!has(self.clone) || !self.clone.notify || (has(self.resource) ? self.resource.type != 'Ocf' : !has(self.group) || self.group.members.all(m, m.resource.type != 'Ocf'))",
        "spec.clone.notify is not built yet for type Ocf: agents hear nothing of each other's actions; remove notify",
    ),
)]
pub struct ResourcePlacementSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// One resource; its id is the name of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// Several resources, started one after the other on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// Copies. Left out: it runs once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<Clones>,
    /// Of the whole.
    #[serde(default, skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
    /// What happens to what runs when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Several resources, started one after the other on one machine.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule(
    "self.members.all(m, self.members.exists_one(n, n.name == m.name))",
    "group.members: resource id \"{self.members.filter(m, !self.members.exists_one(n, n.name == m.name))[0].name}\" is used twice",
))]
pub struct Group {
    /// In the order in which they start.
    #[schemars(length(min = 1, max = 32))]
    pub members: Vec<GroupMember>,
}

/// One resource of a group.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupMember {
    /// Id of the resource, unique in the cluster.
    pub name: ResourceName,
    /// What it is.
    pub resource: Resource,
}

/// What a resource is. There is no free text that reaches a process.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::told_by(
        "has(self.address) == (self.type == 'Address')",
        "self.type == 'Address' ? 'resource.address is required for type Address' : 'resource.address does not belong to type ' + self.type + ': remove it'",
    ),
    validation = rules::told_by(
        "has(self.process) == (self.type == 'Process')",
        "self.type == 'Process' ? 'resource.process is required for type Process' : 'resource.process does not belong to type ' + self.type + ': remove it'",
    ),
    validation = rules::told_by(
        "has(self.loadBalancer) == (self.type == 'LoadBalancer')",
        "self.type == 'LoadBalancer' ? 'resource.loadBalancer is required for type LoadBalancer' : 'resource.loadBalancer does not belong to type ' + self.type + ': remove it'",
    ),
    validation = rules::told_by(
        "has(self.ocf) == (self.type == 'Ocf')",
        "self.type == 'Ocf' ? 'resource.ocf is required for type Ocf' : 'resource.ocf does not belong to type ' + self.type + ': remove it'",
    ),
    validation = rules::rule(
        "!has(self.monitors) || self.monitors.all(m, self.monitors.exists_one(n, n.interval == m.interval && has(n.role) == has(m.role) && (!has(n.role) || n.role == m.role)))",
        "resource.monitors: two monitors have the interval {self.monitors.filter(m, self.monitors.filter(n, n.interval == m.interval).size() > 1)[0].interval}: give each its own",
    ),
)]
pub struct Resource {
    /// Type, with its parameters in the field of the same name.
    #[serde(rename = "type")]
    pub type_: ResourceType,
    /// For `type: Address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressParameters>,
    /// For `type: Process`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessParameters>,
    /// For `type: LoadBalancer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerParameters>,
    /// For `type: Ocf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocf: Option<OcfParameters>,
    /// How long its operations may take.
    #[serde(default, skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    /// Recurring checks. Left out: one every 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub monitors: Option<Vec<Monitor>>,
    /// Of this resource; what is left out comes from the whole.
    #[serde(default, skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
}

/// The closed set of resource types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ResourceType {
    /// A virtual address.
    Address,
    /// A load balancer; a `LoadBalancer` makes it.
    LoadBalancer,
    /// An OCF agent of the machines, where their configuration allows it.
    Ocf,
    /// A supervised process from a template that root put on the machines.
    Process,
}

/// A virtual address.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule(
    "self.prefix >= 1 && self.prefix <= (self.address.contains(':') ? 128 : 32)",
    "address.prefix {self.prefix} is out of range: 1 to {(self.address.contains(':') ? '128' : '32')}",
))]
pub struct AddressParameters {
    /// The address. Example: `10.0.0.100`.
    pub address: Address,
    /// Length of its network's prefix. Example: `24`.
    #[schemars(range(min = 1, max = 128))]
    pub prefix: u32,
    /// Network of the cluster. Example: `public`.
    pub network: Label,
}

/// A supervised process.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessParameters {
    /// Name of the template, a root-owned file of the machine. Example: `web`.
    pub template: Label,
}

/// A load balancer, as a `LoadBalancer` says it, with an address in each frontend.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerParameters {
    /// Connections at once, of all frontends.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// Where clients connect; each has an address.
    #[schemars(length(min = 1, max = 24))]
    pub frontends: Vec<Frontend>,
    /// Who serves them.
    #[schemars(length(min = 1, max = 24))]
    pub backends: Vec<Backend>,
}

/// How long operations may take. Each 1s to 1h.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Start. 20s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "1h"))]
    pub start: Option<Span>,
    /// Stop; whoever takes longer is powered off. 20s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "1h"))]
    pub stop: Option<Span>,
    /// Promotion. 20s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "1h"))]
    pub promote: Option<Span>,
    /// Demotion. 20s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "1h"))]
    pub demote: Option<Span>,
    /// One look whether it runs. 20s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "1h"))]
    pub probe: Option<Span>,
}

impl Timeouts {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One recurring check.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule(
    "!has(self.timeout) || !self.interval.matches('^[0-9]{1,9}(ms|s|m|h)$') || !self.timeout.matches('^[0-9]{1,9}(ms|s|m|h)$') || duration(self.interval) > duration(self.timeout)",
    "monitor.interval {self.interval} must be > timeout {self.timeout}: raise interval or lower timeout",
))]
pub struct Monitor {
    /// Between two checks. 1s to 1h.
    #[x_kube(validation = rules::between("1s", "1h"))]
    pub interval: Span,
    /// Of one check. When left out 20s, or four fifths of the interval if that is less. 500ms to 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("500ms", "1h"))]
    pub timeout: Option<Span>,
    /// Only while in this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// After a failure.
    #[serde(default)]
    pub on_fail: OnFail,
}

/// Roles of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// Promoted.
    Promoted,
    /// Running.
    Started,
    /// Not running.
    Stopped,
    /// Running and not promoted.
    Unpromoted,
}

/// What a failed check leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFail {
    /// Nothing more is done with the resource.
    Block,
    /// Demote it.
    Demote,
    /// Power the machine off.
    Fence,
    /// Count it and go on.
    Ignore,
    /// Stop and start it, here or elsewhere.
    #[default]
    Restart,
    /// Move everything off the machine.
    Standby,
    /// Stop it for good.
    Stop,
}

/// Copies.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::rule(
        "!has(self.promoted) || !has(self.max) || self.promoted.max <= self.max",
        "clone.promoted.max {self.promoted.max} is more than clone.max {self.max}: lower it",
    ),
    validation = rules::rule(
        "!has(self.max) || self.min <= self.max",
        "clone.min {self.min} is more than clone.max {self.max}: lower it",
    ),
)]
pub struct Clones {
    /// In the whole cluster. One for each member when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<u32>,
    /// On one member.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "defaults::one")]
    pub node_max: u32,
    /// At least so many before what depends on them starts.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(default = "defaults::none")]
    pub min: u32,
    /// A copy that depends on another clone waits for the copy on its own member only.
    #[serde(default = "defaults::yes")]
    pub interleave: bool,
    /// One copy after the other.
    #[serde(default)]
    pub ordered: bool,
    /// Copies are not interchangeable.
    #[serde(default)]
    pub unique: bool,
    /// Copies hear of each other's actions.
    #[serde(default)]
    pub notify: bool,
    /// Some copies are promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Promoted>,
}

impl Default for Clones {
    fn default() -> Self {
        Self {
            max: None,
            node_max: 1,
            min: 0,
            // ours, not Pacemaker's: nothing waits for the unrelated (POLICY.md section 4)
            interleave: true,
            ordered: false,
            unique: false,
            notify: false,
            promoted: None,
        }
    }
}

/// Promoted copies.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Promoted {
    /// In the whole cluster.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// On one member.
    #[schemars(range(min = 1, max = 100))]
    pub node_max: u32,
}

impl Default for Promoted {
    fn default() -> Self {
        Self { max: 1, node_max: 1 }
    }
}

/// What is said of a placement or of one resource in it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// When not all can run, the higher one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: Option<i32>,
    /// How much it wants to stay where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub stickiness: Option<i32>,
    /// Failures on one machine after which it moves away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub migration_threshold: Option<i32>,
    /// After which failures are forgotten. 1s to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "24h"))]
    pub failure_timeout: Option<Span>,
    /// Highest role that it may take. `Stopped` stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_role: Option<Role>,
    /// False: looked at, never touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<bool>,
    /// True: not even looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
}

impl Meta {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where it runs and why, by the coordinator; `Accepted` by the controller.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourcePlacementStatus {
    /// Generation of the spec that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// Members that run it, for people. Example: `ctl-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub nodes: Option<String>,
    /// Every instance that runs or has failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub instances: Vec<Instance>,
    /// Failures of all instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<i64>,
    /// Why it is where it is, or why it is nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Accepted, Degraded, Progressing, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// How `lastFailure` begins where a stop failed.
pub const STOP_FAILED: &str = "its stop failed: it stays where it is";

/// One instance on one member.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Id of the resource; of a unique clone with its number. Example: `db:0`.
    #[schemars(length(max = 253))]
    pub resource: String,
    /// Member.
    pub node: Label,
    /// Role there; absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Failures there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<i64>,
    /// The last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_failure: Option<String>,
}

/// Defaults of copies.
mod defaults {
    pub(super) fn one() -> u32 {
        1
    }

    pub(super) fn none() -> u32 {
        0
    }

    /// Ours, not Pacemaker's: nothing waits for the unrelated (POLICY.md section 4).
    pub(super) fn yes() -> bool {
        true
    }
}
