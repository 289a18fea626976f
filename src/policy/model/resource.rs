//! Resources: what is to run.

use alloc::{
    boxed::Box,
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::Options;

/// One resource with all that is inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name, without an instance number.
    pub id: String,
    /// Meta attributes: `priority`, `target-role`, `is-managed`, `resource-stickiness`, `requires`,
    /// `migration-threshold`, `failure-timeout`, `clone-max`, `interleave`, ... as "Pacemaker Explained" names them.
    #[serde(default)]
    pub meta: Options,
    /// What it is.
    pub kind: ResourceKind,
}

/// What a resource is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceKind {
    /// One service.
    Primitive(Primitive),
    /// Services that run together, in this order.
    Group(Vec<Resource>),
    /// Instances of one primitive or group.
    Clone(CloneSpec),
    /// A containerised service.
    Bundle(Bundle),
}

/// Instances of one primitive or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneSpec {
    /// Whether instances have the roles promoted and unpromoted.
    pub promotable: bool,
    /// The primitive or group.
    pub child: Box<Resource>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Primitive {
    /// `ocf`, `systemd`, `lsb`, `service`, `stonith`, ...
    pub class: String,
    /// For `ocf`: who wrote the agent.
    pub provider: String,
    /// The agent.
    pub agent: String,
    /// Parameters of the agent.
    pub parameters: Options,
    /// Operations with their options.
    pub operations: Vec<Operation>,
    /// What it takes of its node's capacity.
    pub utilization: Options,
    /// Whether its agent can apply changed parameters without a restart is told by history; nothing to set here.
    pub template: Option<String>,
}

impl Primitive {
    /// Whether it is the connection to a remote or guest node.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        self.class == "ocf" && self.provider == "pacemaker" && self.agent == "remote"
    }
}

/// An operation that is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// For people; may be empty.
    pub id: String,
    /// `monitor`, `start`, ...
    pub name: String,
    /// Zero for one that does not recur.
    pub interval_ms: u64,
    /// `role`, `on-fail`, `enabled`, `timeout`, `record-pending`, ...
    pub meta: Options,
    /// Parameters that only this operation gets.
    pub parameters: Options,
}

/// A containerised service: replicas, their network and what runs inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bundle {
    /// `docker`, `podman`, ...
    pub runtime: String,
    /// The image.
    pub image: String,
    /// How many replicas; 0 takes the number promoted, or 1.
    pub replicas: u32,
    /// How many replicas one host may run.
    pub replicas_per_host: u32,
    /// How many replicas are promoted.
    pub promoted_max: u32,
    /// Options of the container runtime.
    pub run_options: String,
    /// The command run in the container.
    pub run_command: Option<String>,
    /// Network mode of the runtime.
    pub network: Option<String>,
    /// First address of the range that replicas get theirs from.
    pub ip_range_start: Option<String>,
    /// Netmask of these addresses.
    pub host_netmask: Option<String>,
    /// Interface for these addresses.
    pub host_interface: Option<String>,
    /// Port of the remote executor in the container.
    pub control_port: Option<String>,
    /// Whether names are added to hosts files in the container.
    pub add_host: bool,
    /// Ports mapped into the container.
    pub ports: Vec<BundlePort>,
    /// Directories mapped into the container.
    pub storage: Vec<BundleStorage>,
    /// What runs inside.
    pub child: Option<Box<Resource>>,
    /// What it stands for, one after the other; the door that knows bundles makes them.
    pub parts: Vec<BundleReplica>,
    /// The clone of what runs inside, a resource of its own that has taken `child`.
    pub inner: Option<String>,
}

/// One replica of a bundle: a container, and the names of the resources that serve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleReplica {
    /// The container.
    pub container: Resource,
    /// Its address.
    pub address: Option<String>,
    /// The connection to the node that it is, which is called the same.
    pub connection: Option<String>,
}

impl Bundle {
    /// What it stands for.
    pub fn replicas_made(&self) -> impl Iterator<Item = &BundleReplica> {
        self.parts.iter()
    }
}

/// A port of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BundlePort {
    /// Port on the host.
    pub port: Option<String>,
    /// Port in the container.
    pub internal_port: Option<String>,
    /// Range of ports.
    pub range: Option<String>,
}

/// A directory of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BundleStorage {
    /// On the host.
    pub source: String,
    /// In the container.
    pub target: String,
    /// Mount options.
    pub options: String,
    /// Whether `source` is the root of one directory per replica.
    pub per_replica: bool,
}

/// The role of an instance on a node, in rising order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Not known or not said.
    #[default]
    Unknown,
    /// Does not run.
    Stopped,
    /// Runs; the only role of what is not promotable.
    Started,
    /// Runs without being promoted.
    Unpromoted,
    /// Runs promoted.
    Promoted,
}

impl Role {
    /// The role as configurations write it; old names are accepted.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        if is("started") {
            Some(Self::Started)
        } else if is("stopped") {
            Some(Self::Stopped)
        } else if is("unpromoted") || is("slave") {
            Some(Self::Unpromoted)
        } else if is("promoted") || is("master") {
            Some(Self::Promoted)
        } else {
            None
        }
    }

    /// Whether something runs in this role.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Started | Self::Unpromoted | Self::Promoted)
    }

    /// The role as output writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Stopped => "Stopped",
            Self::Started => "Started",
            Self::Unpromoted => "Unpromoted",
            Self::Promoted => "Promoted",
        }
    }
}

impl Resource {
    /// A primitive with an agent, as in `primitive("db", "ocf", "heartbeat", "galera")`.
    #[must_use]
    pub fn primitive(id: &str, class: &str, provider: &str, agent: &str) -> Self {
        let primitive = Primitive {
            class: class.to_string(),
            provider: provider.to_string(),
            agent: agent.to_string(),
            ..Primitive::default()
        };
        Self {
            id: id.to_string(),
            meta: Options::default(),
            kind: ResourceKind::Primitive(primitive),
        }
    }

    /// A group of primitives, started in this order.
    #[must_use]
    pub fn group(id: &str, members: Vec<Self>) -> Self {
        Self { id: id.to_string(), meta: Options::default(), kind: ResourceKind::Group(members) }
    }

    /// A clone of a primitive or group.
    #[must_use]
    pub fn cloned(id: &str, child: Self) -> Self {
        let spec = CloneSpec { promotable: false, child: Box::new(child) };
        Self { id: id.to_string(), meta: Options::default(), kind: ResourceKind::Clone(spec) }
    }

    /// A promotable clone of a primitive or group.
    #[must_use]
    pub fn promotable(id: &str, child: Self) -> Self {
        let spec = CloneSpec { promotable: true, child: Box::new(child) };
        Self { id: id.to_string(), meta: Options::default(), kind: ResourceKind::Clone(spec) }
    }

    /// Sets a meta attribute.
    #[must_use]
    pub fn with_meta(mut self, name: &str, value: &str) -> Self {
        self.meta.set(name, value);
        self
    }

    /// Sets a parameter of a primitive; other kinds have none and stay as they are.
    #[must_use]
    pub fn with_parameter(mut self, name: &str, value: &str) -> Self {
        if let ResourceKind::Primitive(primitive) = &mut self.kind {
            primitive.parameters.set(name, value);
        }
        self
    }

    /// Adds an operation to a primitive; other kinds have none and stay as they are.
    #[must_use]
    pub fn with_operation(mut self, name: &str, interval_ms: u64, meta: &[(&str, &str)]) -> Self {
        let id = alloc::format!("{}-{name}-{interval_ms}", self.id);
        if let ResourceKind::Primitive(primitive) = &mut self.kind {
            let meta = Options::from_pairs(meta);
            let operation =
                Operation { id, name: name.to_string(), interval_ms, meta, ..Operation::default() };
            primitive.operations.push(operation);
        }
        self
    }
}
