//! `LoadBalancer`: where clients connect, and which servers they reach.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterRef, Condition, DeletionPolicy, rules,
    text::{Address, Label, ObjectName, RequestPath, Span},
};

/// Where clients connect, and which servers they reach.
///
/// It runs on every member; a virtual address decides which one clients meet. The controller makes a
/// `ResourcePlacement` of the same name from it, and a constraint for each `VirtualIP` that it binds.
///
/// Example: `frontends: [{name: web, virtualIP: public, port: 80, mode: Http, backend: web}]`, and a backend `web`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "palisade.dev",
    version = "v1alpha1",
    kind = "LoadBalancer",
    plural = "loadbalancers",
    shortname = "lb",
    category = "palisade",
    namespaced,
    status = "LoadBalancerStatus",
    derive = "PartialEq",
    doc = "Where clients connect, and which servers they reach.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Frontends", type_ = "string", json_path = ".spec.frontends[*].name"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.clusterRef.name",
    validation = rules::era_grows(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::same_cluster(),
    validation = rules::rule(
        "self.frontends.all(f, self.frontends.exists_one(g, g.name == f.name))",
        "spec.frontends: name \"{self.frontends.filter(f, !self.frontends.exists_one(g, g.name == f.name))[0].name}\" is used twice: give each its own",
    ),
    validation = rules::rule(
        "self.backends.all(b, self.backends.exists_one(c, c.name == b.name))",
        "spec.backends: name \"{self.backends.filter(b, !self.backends.exists_one(c, c.name == b.name))[0].name}\" is used twice: give each its own",
    ),
    validation = rules::rule(
        "self.frontends.all(f, self.backends.exists(b, b.name == f.backend))",
        "spec.frontends: there is no backend \"{self.frontends.filter(f, !self.backends.exists(b, b.name == f.backend))[0].backend}\": add it to spec.backends, or correct backend",
    ),
    validation = rules::rule(
        "self.backends.all(b, self.frontends.exists(f, f.backend == b.name))",
        "spec.backends: no frontend names \"{self.backends.filter(b, !self.frontends.exists(f, f.backend == b.name))[0].name}\": remove it, or name it in a frontend",
    ),
    validation = rules::rule(
        "self.frontends.all(f, self.frontends.all(g, g.backend != f.backend || g.mode == f.mode))",
        "spec.frontends: \"{self.frontends.filter(f, self.frontends.exists(g, g.backend == f.backend && g.mode != f.mode))[0].name}\" and another frontend of its backend differ in mode: give both the same",
    ),
    validation = rules::rule(
        "self.frontends.all(f, self.frontends.exists_one(g, g.port == f.port && has(g.virtualIP) == has(f.virtualIP) && has(g.address) == has(f.address) && (!has(f.virtualIP) || g.virtualIP == f.virtualIP) && (!has(f.address) || g.address == f.address)))",
        "spec.frontends: two frontends bind the same address and port: change one",
    ),
)]
pub struct LoadBalancerSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// Connections at once, of all frontends.
    #[serde(default = "defaults::connections_total")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// Where clients connect.
    #[schemars(length(min = 1, max = 24))]
    pub frontends: Vec<Frontend>,
    /// Who serves them.
    #[schemars(length(min = 1, max = 24))]
    pub backends: Vec<Backend>,
    /// What happens to the load balancer when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// One address and port where clients connect.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::told_by(
    "has(self.virtualIP) != has(self.address)",
    "has(self.address) ? 'frontend: virtualIP and address exclude each other: keep one' : 'frontend: virtualIP or address is required'",
))]
pub struct Frontend {
    /// Unique in this object. Example: `keystone`.
    pub name: Label,
    /// Name of a `VirtualIP` of the same cluster, whose address it binds. Example: `public`.
    #[serde(default, rename = "virtualIP", skip_serializing_if = "Option::is_none")]
    pub virtual_ip: Option<ObjectName>,
    /// An address, in place of `virtualIP`. Example: `10.0.0.100`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Example: `5000`.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// What is spoken there.
    pub mode: Mode,
    /// Name of its backend. Example: `keystone`.
    pub backend: Label,
    /// A client that is silent for so long is let go. 60s for Http, 90m for Tcp when left out. 1s to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "24h"))]
    pub client_timeout: Option<Span>,
    /// Connections at once.
    #[serde(default = "defaults::connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Requests are balanced, each by itself.
    Http,
    /// Connections are balanced.
    Tcp,
}

/// Servers that do the same.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::rule(
        "self.servers.all(s, self.servers.exists_one(t, t.node == s.node))",
        "backend.servers: node \"{self.servers.filter(s, !self.servers.exists_one(t, t.node == s.node))[0].node}\" is used twice: one server for each machine",
    ),
    validation = rules::rule(
        "!self.servers.all(s, s.backup)",
        "backend.servers: all servers of \"{self.name}\" are backup: one must be active",
    ),
)]
pub struct Backend {
    /// Unique in this object. Example: `keystone`.
    pub name: Label,
    /// Who is next.
    #[serde(default)]
    pub balance: Balance,
    /// How health is seen. When left out: it takes a connection.
    #[serde(default)]
    pub check: Check,
    /// For a connection to come about. 100ms to 1m.
    #[serde(default = "defaults::connect")]
    #[x_kube(validation = rules::between("100ms", "1m"))]
    pub connect_timeout: Span,
    /// A server that is silent for so long has failed. 60s for Http, 90m for Tcp when left out. 1s to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::between("1s", "24h"))]
    pub server_timeout: Option<Span>,
    /// One for each machine at most.
    #[schemars(length(min = 1, max = 9))]
    pub servers: Vec<Server>,
}

/// Who is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Balance {
    /// Whoever has the fewest connections.
    LeastConnections,
    /// One after the other.
    #[default]
    RoundRobin,
    /// The same for the same client, as long as it is there.
    Source,
}

/// How the health of servers is seen.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::rule(
        "self.type == 'Http' || !has(self.request) && !has(self.statuses) && !has(self.port)",
        "check: request, statuses and port do not belong to type {self.type}: remove them, or write type Http",
    ),
    validation = rules::rule(
        "self.type != 'Http' || has(self.request)",
        "check.request is required for type Http: write what is asked for, for example /healthcheck",
    ),
)]
pub struct Check {
    /// How.
    #[serde(rename = "type")]
    pub type_: CheckType,
    /// For `type: Http`: asked for. Example: `/healthcheck`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestPath>,
    /// For `type: Http`: good answers; when left out all from 200 to 399. Example: `[200, 300]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 100, max = 599)))]
    pub statuses: Option<Vec<u32>>,
    /// For `type: Http`: asked there, where the service itself speaks something else. Example: `9200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u32>,
    /// Between two looks. 100ms to 1m.
    #[serde(default = "defaults::interval")]
    #[x_kube(validation = rules::between("100ms", "1m"))]
    pub interval: Span,
    /// Bad looks until a server is down.
    #[serde(default = "defaults::two")]
    #[schemars(range(min = 1, max = 20))]
    pub fall: u32,
    /// Good looks until a server is up.
    #[serde(default = "defaults::two")]
    #[schemars(range(min = 1, max = 20))]
    pub rise: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            type_: CheckType::Tcp,
            request: None,
            statuses: None,
            port: None,
            interval: defaults::interval(),
            fall: defaults::two(),
            rise: defaults::two(),
        }
    }
}

/// How health is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckType {
    /// It answers a request.
    Http,
    /// It is not looked at; only a machine that is known to be dead gets nothing.
    None,
    /// It takes a connection.
    Tcp,
}

/// One server.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Member on which it runs: when that machine is known to be dead nothing is sent there. Example: `ctl-1`.
    pub node: Label,
    /// Of the service there. Example: `10.20.0.11`.
    pub address: Address,
    /// Example: `5000`.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// Is asked only when none of the others is there (active/passive).
    #[serde(default)]
    pub backup: bool,
}

/// Where it runs.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerStatus {
    /// Generation of the spec that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Sequence of the ring whose era the writer belongs to. Never decreases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_era: Option<i64>,
    /// Members that run it, for people. Example: `ctl-1,ctl-2,ctl-3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub nodes: Option<String>,
    /// Why it is there, or nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Accepted, Degraded, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// What applies when nothing is said (SERVICES.md 4.1).
mod defaults {
    use crate::text::Span;

    pub(super) fn connections_total() -> u32 {
        16_384
    }

    pub(super) fn connections() -> u32 {
        8_192
    }

    pub(super) fn connect() -> Span {
        "500ms".into()
    }

    pub(super) fn interval() -> Span {
        "500ms".into()
    }

    pub(super) fn two() -> u32 {
        2
    }
}
