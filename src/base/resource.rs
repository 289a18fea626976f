//! What can be run, as data: the closed set of resource types and the roles of an instance.
//!
//! Invariants: no commands, images, paths or environment (SAFETY.md 4.2): who may create our objects does not get
//! root. A process is named by a template that root put on the machine.

use alloc::{boxed::Box, string::String};
use core::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{InvalidId, OcfAgent, Proxy};

/// What an instance does on a node; `Started` for what cannot be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Not running.
    Stopped,
    /// Running; the resource has no promoted role.
    Started,
    /// Running, not promoted.
    Unpromoted,
    /// Running and promoted.
    Promoted,
}

impl Role {
    /// Whether an instance in this role is active.
    pub const fn is_active(self) -> bool {
        !matches!(self, Self::Stopped)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stopped => "Stopped",
            Self::Started => "Started",
            Self::Unpromoted => "Unpromoted",
            Self::Promoted => "Promoted",
        })
    }
}

/// A short name that may become part of a file name on a machine: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63
/// characters. Names process templates and networks. Example: `web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(crate::NodeName);

impl Label {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Label {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self).map_err(|error: InvalidId| InvalidId { kind: "name", ..error })
    }
}

impl TryFrom<String> for Label {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.into()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a resource is, with the typed parameters that its driver needs. Grows by variants, never by free text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// A virtual address with a kernel lifetime (CLUSTER.md section 8).
    Address {
        /// IPv4 or IPv6, never IPv4-mapped.
        address: IpAddr,
        /// Length of the prefix in bits, 1 to 32 or 128.
        prefix: u8,
        /// Network of the cluster on whose interface it lives.
        network: Label,
    },
    /// A supervised process from a template in the machine's root-owned folder.
    Process {
        /// Name of the template, without folder and ending.
        template: Label,
    },
    /// A load balancer, one process on each member that runs it.
    LoadBalancer(Proxy),
    /// An OCF agent of the machines, where their configuration allows it.
    Ocf(Box<OcfAgent>),
}

impl ResourceKind {
    /// Its type, as objects say it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Address { .. } => "Address",
            Self::LoadBalancer(_) => "LoadBalancer",
            Self::Ocf(_) => "Ocf",
            Self::Process { .. } => "Process",
        }
    }

    /// Whether what runs as `self` becomes `new` without a stop: its next check carries the new parameters, and the driver
    /// brings them into force. An agent only hears how many copies there are.
    pub fn turns_into(&self, new: &Self) -> bool {
        match (self, new) {
            (Self::LoadBalancer(old), Self::LoadBalancer(new)) => old != new,
            (Self::Ocf(old), Self::Ocf(new)) => {
                old.name == new.name && old.parameters == new.parameters && old.copies != new.copies
            }
            _ => false,
        }
    }

    /// Bytes that it takes in a message at most, roughly: what travels together has a limit.
    pub fn bytes_max(&self) -> usize {
        match self {
            Self::Address { .. } | Self::Process { .. } => 96,
            Self::LoadBalancer(proxy) => proxy.bytes_max(),
            Self::Ocf(agent) => agent.bytes_max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;
    use crate::ocf::{OcfCopies, OcfParameter, OcfValue};

    fn dummy(copies: Option<OcfCopies>, value: OcfValue) -> ResourceKind {
        let parameters = vec![OcfParameter { name: "fake".parse().expect("valid"), value }];
        let name = "heartbeat/Dummy".parse().expect("valid");
        ResourceKind::Ocf(Box::new(OcfAgent { name, parameters, copies }))
    }

    /// States on disks and orders of the version before are read by this number.
    #[test]
    fn kinds_keep_their_number_on_the_wire() {
        let label: Label = "web".parse().expect("valid");
        let address = "192.0.2.1".parse().expect("valid");
        let proxy = Proxy { connections_max: 1, frontends: Vec::new(), backends: Vec::new() };
        let all = [
            ResourceKind::Address { address, prefix: 24, network: label.clone() },
            ResourceKind::Process { template: label.clone() },
            ResourceKind::LoadBalancer(proxy),
            dummy(None, OcfValue::Text("x".into())),
        ];
        let bytes: Vec<Vec<u8>> =
            all.iter().map(|kind| postcard::to_allocvec(kind).expect("encodes")).collect();
        let numbers: Vec<u8> = bytes.iter().map(|bytes| bytes[0]).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(bytes[1], [1, 3, b'w', b'e', b'b']);
        let ocf: &[u8] = b"\x03\x0fheartbeat/Dummy\x01\x04fake\x00\x01x\x00";
        assert_eq!(bytes[3], ocf);
        for (kind, bytes) in all.iter().zip(&bytes) {
            assert_eq!(postcard::from_bytes::<ResourceKind>(bytes).as_ref(), Ok(kind));
        }
    }

    #[test]
    fn an_agent_is_restarted_for_a_parameter_and_not_for_the_number_of_its_copies() {
        let copies = |max| Some(OcfCopies { max, node_max: 1, promoted_max: 1, unique: false });
        let text = |text: &str| OcfValue::Text(text.into());
        let three = dummy(copies(3), text("x"));
        assert!(three.turns_into(&dummy(copies(5), text("x"))));
        assert!(!three.turns_into(&three));
        assert!(!three.turns_into(&dummy(copies(5), text("y"))));
        assert!(
            !three.turns_into(&dummy(copies(3), OcfValue::Secret("x".parse().expect("valid"))))
        );
    }
}
