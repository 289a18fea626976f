//! `HACluster`: members, networks, times, quorum and fencing of one control plane.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, DeletionPolicy, rules,
    text::{Address, EntryName, InterfaceName, Label, ObjectName, ResourceName, Span, Uuid},
};

/// Members of one cluster.
pub const MEMBERS_MAX: usize = 31;
/// Links of one member.
pub const LINKS_MAX: usize = 8;

/// One control plane: its machines, how they hear each other, when they act and how they are powered off.
///
/// Example: three members `ctl-1` to `ctl-3`, one link, key in the Secret `ring-key`; everything else by default.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "HACluster",
    plural = "haclusters",
    shortname = "hac",
    category = "palisade",
    namespaced,
    status = "HAClusterStatus",
    derive = "PartialEq",
    doc = "One control plane: its machines, how they hear each other, when they act and how they are powered off.",
    printcolumn(name = "Online", type_ = "string", json_path = ".status.online"),
    printcolumn(name = "Quorate", type_ = "string", json_path = ".status.conditions[?(@.type=='Quorate')].status"),
    printcolumn(name = "Fencing", type_ = "string", json_path = ".status.conditions[?(@.type=='FencingReady')].status"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Coordinator", type_ = "string", json_path = ".status.coordinator"),
    printcolumn(name = "Era", type_ = "integer", json_path = ".status.observedEra", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::era_grows(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::rule(
        "self.members.size() != 2",
        "spec.members: 2 voters cannot survive a failure, and quorum.twoNode is not built yet: use 3 members",
    ),
    validation = rules::members_differ("name", "\"", "give every member a name of its own"),
    validation = rules::members_differ("nodeId", "", "a node id belongs to one machine for ever"),
    validation = rules::rule(
        "self.members.all(m, oldSelf.members.all(o, o.name != m.name || o.nodeId == m.nodeId))",
        "spec.members: nodeId of \"{self.members.filter(m, !oldSelf.members.all(o, o.name != m.name || o.nodeId == m.nodeId))[0].name}\" cannot change: restore it; a replaced machine gets a new name and a new nodeId",
    ),
    validation = rules::rule(
        "self.members.all(m, oldSelf.members.all(o, o.nodeId != m.nodeId || o.name == m.name))",
        "spec.members: nodeId {self.members.filter(m, !oldSelf.members.all(o, o.nodeId != m.nodeId || o.name == m.name))[0].nodeId} belonged to another member: choose one that was never used",
    ),
    validation = rules::rule(
        "self.members.all(m, m.links.size() == self.members[0].links.size())",
        "spec.members: every member needs the same number of links ({self.members.filter(m, m.links.size() != self.members[0].links.size())[0].name} has {self.members.filter(m, m.links.size() != self.members[0].links.size())[0].links.size()}, {self.members[0].name} has {self.members[0].links.size()})",
    ),
    validation = rules::one_family_on_each_link(),
    validation = rules::rule(
        "self.members.all(m, self.members.filter(n, n.links.exists(l, l in m.links)).size() == 1)",
        "spec.members: \"{self.members.filter(m, self.members.filter(n, n.links.exists(l, l in m.links)).size() != 1)[0].name}\" shares a link address with another member: every machine has addresses of its own",
    ),
    validation = rules::rule(
        "!has(self.networks) || self.networks.all(n, self.networks.exists_one(o, o.name == n.name))",
        "spec.networks: name \"{self.networks.filter(n, !self.networks.exists_one(o, o.name == n.name))[0].name}\" is used twice",
    ),
    validation = rules::rule(
        "!has(self.networks) || self.networks.all(n, !has(n.overrides) || n.overrides.all(o, self.members.exists(m, m.name == o.member)))",
        "spec.networks: an override of network \"{self.networks.filter(n, has(n.overrides) && !n.overrides.all(o, self.members.exists(m, m.name == o.member)))[0].name}\" names a machine that is no member: correct its member field",
    ),
)]
pub struct HAClusterSpec {
    /// The voters. 1 or at least 3; an odd number survives most.
    #[schemars(length(min = 1, max = 31))]
    pub members: Vec<Member>,
    /// The networks on which virtual addresses can live, with the interface of the machines on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub networks: Vec<Network>,
    /// The ring: times, port, cipher.
    #[serde(default)]
    pub totem: Totem,
    /// The key of the ring, 32 bytes or more.
    pub key_secret_ref: KeySecretRef,
    /// Quorum options. Majority of the voters is what there is; the others are refused until they are built.
    #[serde(default, skip_serializing_if = "Quorum::is_empty")]
    pub quorum: Quorum,
    /// What machines without quorum do with what they run.
    #[serde(default)]
    pub no_quorum_policy: NoQuorumPolicy,
    /// Whether, when and how machines are powered off.
    #[serde(default)]
    pub fencing: Fencing,
    /// What holds for resources that do not say otherwise.
    #[serde(default, skip_serializing_if = "ResourceDefaults::is_empty")]
    pub resource_defaults: ResourceDefaults,
    /// What happens to what runs when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// One voter.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Name of the machine; the name of its Kubernetes Node where there is one. Example: `ctl-1`.
    pub name: Label,
    /// Its number on the ring, 1 to 65535; never given to another machine. Example: `1`.
    #[schemars(range(min = 1, max = 65535))]
    pub node_id: u32,
    /// Its address on each link, link 0 first. Example: `["10.20.0.11"]`.
    #[schemars(length(min = 1, max = 8))]
    pub links: Vec<Address>,
    /// The UUID that the machine itself reports. Set: a machine with another one is not let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_uuid: Option<Uuid>,
}

/// One network.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// What virtual addresses call it. Example: `public`.
    pub name: Label,
    /// Interface of every machine on it. Example: `eth1`.
    pub interface: InterfaceName,
    /// Machines whose interface has another name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 31))]
    pub overrides: Vec<InterfaceOverride>,
}

/// Another interface on one machine.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceOverride {
    /// Name of the member.
    pub member: Label,
    /// Its interface.
    pub interface: InterfaceName,
}

/// The ring.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule(
    "!has(self.consensus) || !self.consensus.matches('^[0-9]{1,9}(ms|s|m|h)$') || !self.token.matches('^[0-9]{1,9}(ms|s|m|h)$') || duration(self.consensus).getMilliseconds() * 10 >= duration(self.token).getMilliseconds() * 12",
    "totem.consensus {self.consensus} must be at least 1.2 times token ({duration(self.token).getMilliseconds() * 12 / 10}ms): raise it, or leave it out",
))]
pub struct Totem {
    /// A token that is not seen for this long is lost, and with it its holder. 100ms to 60s.
    #[x_kube(validation = rules::between("100ms", "60s"))]
    #[serde(default = "defaults::token")]
    pub token: Span,
    /// Time to agree on a new ring; 1.2 times `token` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("120ms", "120s"))]
    pub consensus: Option<Span>,
    /// Between join messages while a ring forms. 10ms to 1s.
    #[x_kube(validation = rules::between("10ms", "1s"))]
    #[serde(default = "defaults::join")]
    pub join: Span,
    /// Between looks for other rings while this one is idle. 30ms to 10s.
    #[x_kube(validation = rules::between("30ms", "10s"))]
    #[serde(default = "defaults::merge")]
    pub merge: Span,
    /// UDP port on every link.
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = rules::rule(
        "!(self in [3306, 4369, 4444, 4567, 4568, 5000, 5671, 5672, 8774, 8776, 9292, 9465, 9696, 11211, 15672, 25672])",
        "{self} belongs to Galera, RabbitMQ, memcached, an OpenStack API or the metrics of the agent: choose another, for example 5405",
    ))]
    #[serde(default = "defaults::port")]
    pub port: u32,
    /// Cipher of the ring's datagrams.
    #[serde(default)]
    pub crypto: Crypto,
}

impl Default for Totem {
    fn default() -> Self {
        Self {
            token: defaults::token(),
            consensus: None,
            join: defaults::join(),
            merge: defaults::merge(),
            port: defaults::port(),
            crypto: Crypto::default(),
        }
    }
}

/// Ciphers of the ring's datagrams; there is no cleartext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Crypto {
    /// AES-256-GCM-SIV.
    #[default]
    Aes256gcmsiv,
    /// ChaCha20-Poly1305.
    Chacha20poly1305,
}

/// Where the ring's key is.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeySecretRef {
    /// Name of the Secret in this namespace. Example: `ring-key`.
    pub name: ObjectName,
    /// Entry of the Secret that holds the key.
    #[serde(default = "default_key_entry")]
    pub key: EntryName,
}

fn default_key_entry() -> EntryName {
    "key".into()
}

/// Quorum options. Their places are here; each is refused until it is built.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule(
    "!(has(self.twoNode) && self.twoNode && has(self.waitForAll) && !self.waitForAll)",
    "quorum.waitForAll=false with twoNode allows a start-up split brain; refused",
))]
pub struct Quorum {
    /// Two members, of which one goes on alone after it has fenced the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::not_built("quorum.twoNode", "a lone member cannot open an era yet; use 3 members"))]
    pub two_node: Option<bool>,
    /// Become quorate only after all members were seen once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::not_built("quorum.waitForAll", "members not seen after a start are read by their BMCs; leave it out"))]
    pub wait_for_all: Option<bool>,
    /// Half of the members win when the lowest id is among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::not_built("quorum.autoTieBreaker", "use an odd number of members"))]
    pub auto_tie_breaker: Option<bool>,
    /// Expected votes shrink as members leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::not_built("quorum.lastManStanding", "remove members from spec.members one at a time"))]
    pub last_man_standing: Option<bool>,
    /// Address of an arbiter outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = kube::core::Rule::new("false").message("quorum.arbiter is not built yet: use an odd number of members"))]
    pub arbiter: Option<Address>,
}

impl Quorum {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What machines without quorum do with what they run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NoQuorumPolicy {
    /// Demote what is promoted, keep the rest.
    Demote,
    /// Start, stop and promote nothing; virtual addresses still expire.
    Freeze,
    /// Go on as if there were quorum. Refused while anything exclusive exists.
    Ignore,
    /// Stop everything.
    #[default]
    Stop,
    /// Power the machine off.
    Suicide,
}

/// Whether, when and how machines are powered off.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fencing {
    /// Without fencing the resources of a lost machine wait for a person.
    #[serde(default)]
    pub mode: FencingMode,
    /// Off and on again, or off until somebody switches it on.
    #[serde(default)]
    pub action: FencingAction,
    /// Members that were not seen yet after a start are waited for this long before their power is read. 1s to 10m.
    #[x_kube(validation = rules::between("1s", "10m"))]
    #[serde(default = "defaults::startup_wait")]
    pub startup_wait: Span,
    /// Whether a machine that must have fenced itself by now, with a proven watchdog, counts as off.
    #[serde(default)]
    pub self_fencing: Switch,
    /// A restarting agent is waited for this long. 1s to 60s.
    #[x_kube(validation = rules::between("1s", "60s"))]
    #[serde(default = "defaults::agent_restart_grace")]
    pub agent_restart_grace: Span,
    /// A stalled agent is waited for this long. 100ms to 30s.
    #[x_kube(validation = rules::between("100ms", "30s"))]
    #[serde(default = "defaults::stall_tolerance")]
    pub stall_tolerance: Span,
    /// A member that has not said by then what it runs is put out and fenced. 1s to 60s.
    #[x_kube(validation = rules::between("1s", "60s"))]
    #[serde(default = "defaults::report_timeout")]
    pub report_timeout: Span,
    /// How often one machine may be powered off.
    #[serde(default)]
    pub budget: FencingBudget,
}

impl Default for Fencing {
    fn default() -> Self {
        Self {
            mode: FencingMode::default(),
            action: FencingAction::default(),
            startup_wait: defaults::startup_wait(),
            self_fencing: Switch::default(),
            agent_restart_grace: defaults::agent_restart_grace(),
            stall_tolerance: defaults::stall_tolerance(),
            report_timeout: defaults::report_timeout(),
            budget: FencingBudget::default(),
        }
    }
}

/// Whether machines are powered off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FencingMode {
    /// Never. What a lost machine held waits for a person's confirmation.
    Disabled,
    /// Before anything that a lost machine may hold is started elsewhere.
    #[default]
    Required,
}

/// What is done to a machine. There is no `cycle`: it cannot prove that the power was off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FencingAction {
    /// Off, verified, and left off.
    Off,
    /// Off, verified, and on again.
    #[default]
    Reboot,
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Switch {
    /// Off.
    #[default]
    Disabled,
    /// On.
    Enabled,
}

/// How often one machine may be powered off; beyond that fencing of it is suspended until a person looks.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FencingBudget {
    /// Power-offs of one machine within the window.
    #[schemars(range(min = 1, max = 20))]
    #[serde(default = "defaults::budget_max")]
    pub max: u32,
    /// The window. 1m to 24h.
    #[x_kube(validation = rules::between("1m", "24h"))]
    #[serde(default = "defaults::budget_window")]
    pub window: Span,
}

impl Default for FencingBudget {
    fn default() -> Self {
        Self { max: defaults::budget_max(), window: defaults::budget_window() }
    }
}

/// What holds for resources that do not say otherwise.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDefaults {
    /// How much a resource wants to stay where it is. 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub stickiness: Option<i32>,
    /// Failures on one machine after which a resource moves away. Never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub migration_threshold: Option<i32>,
    /// After which failures are forgotten. Never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "24h"))]
    pub failure_timeout: Option<Span>,
}

impl ResourceDefaults {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is true of the cluster, by the controller (`Accepted`) and by its coordinator (all else).
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HAClusterStatus {
    /// Generation of the spec that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// The era. Example: `1.2a`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub era: Option<String>,
    /// Name of the member that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<Label>,
    /// Members that are there, of all. Example: `3/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub online: Option<String>,
    /// Members that owe evidence: nothing that they may hold is started elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 31))]
    pub owing: Vec<Label>,
    /// Resources that run although their object is gone (`deletionPolicy: Retain`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub retained: Vec<ResourceName>,
    /// Digest of the revision in force, equal on all members.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub revision: Option<String>,
    /// Accepted, Quorate, FencingReady, Degraded, Progressing, Ready, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// Defaults, each with its source.
mod defaults {
    use crate::text::Span;

    /// TOTEM.md: "Defaults: token 400 ms in the end".
    pub(super) fn token() -> Span {
        "400ms".into()
    }

    /// TOTEM.md section 9, table of times.
    pub(super) fn join() -> Span {
        "50ms".into()
    }

    /// TOTEM.md section 9, table of times.
    pub(super) fn merge() -> Span {
        "200ms".into()
    }

    /// The port that people know from Corosync.
    pub(super) fn port() -> u32 {
        5405
    }

    /// CLUSTER.md section 6.
    pub(super) fn startup_wait() -> Span {
        "20s".into()
    }

    /// CLUSTER.md section 5.
    pub(super) fn agent_restart_grace() -> Span {
        "5s".into()
    }

    /// CLUSTER.md section 5.
    pub(super) fn stall_tolerance() -> Span {
        "1s".into()
    }

    /// CLUSTER.md section 3.5.
    pub(super) fn report_timeout() -> Span {
        "5s".into()
    }

    /// Boot-time loops end after the third power-off (SAFETY.md#S6).
    pub(super) fn budget_max() -> u32 {
        3
    }

    /// Longer than a slow boot.
    pub(super) fn budget_window() -> Span {
        "10m".into()
    }
}
