//! Identity (CLUSTER.md section 1): who is meant, and which life of it.
//!
//! Invariants: a `NodeId` is never zero and never given to another machine; a `RingId` is durable before use and
//! never reused (SAFETY.md#S12); incarnations and epochs are compared for equality only, never for age
//! (CLUSTER.md section 4), so neither implements an order by time.

use alloc::string::String;
use core::{fmt, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

/// A text or number that is no valid identifier. State is untouched; whoever wrote it must correct it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?}: {rule}")]
pub struct InvalidId {
    /// What was to be read, for example `node id`.
    pub kind: &'static str,
    /// The offending value, cut to 80 characters.
    pub value: String,
    /// The rule that it breaks, with the remedy.
    pub rule: &'static str,
}

impl InvalidId {
    fn new(kind: &'static str, value: &str, rule: &'static str) -> Self {
        Self { kind, value: value.chars().take(80).collect(), rule }
    }
}

/// `HACluster.spec.members[].nodeId`: 1 to 65535, immutable, never given to another machine. Example: `1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(NonZeroU16);

impl NodeId {
    /// `None` for zero, which Totem reserves for leave messages (TOTEM.md section 1).
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number on the wire.
    pub const fn as_u16(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse::<u16>()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| InvalidId::new("node id", text, "must be a number from 1 to 65535"))
    }
}

/// What people call a member. A DNS label: `ctl-1`. At most 63 characters of `[a-z0-9-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// The name of a resource instance as operators know it: `vip-public`, `db:0`. At most 253 characters of
/// `[A-Za-z0-9._:-]`; the first is a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId(String);

macro_rules! name {
    ($type:ident, $kind:literal, $rule:literal, $check:expr) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $check;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId::new($kind, text, $rule))
                }
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl core::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    NodeName,
    "node name",
    "must match [a-z0-9]([-a-z0-9]*[a-z0-9])? with at most 63 characters",
    |text| {
        let bytes = text.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        !bytes.is_empty()
            && bytes.len() <= 63
            && bytes.iter().all(inner)
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    }
);

name!(
    ResourceId,
    "resource id",
    "must match [A-Za-z0-9][A-Za-z0-9._:-]* with at most 253 characters",
    |text| {
        let bytes = text.as_bytes();
        let inner = |b: &u8| b.is_ascii_alphanumeric() || b"._:-".contains(b);
        bytes.len() <= 253
            && bytes.iter().all(inner)
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
    }
);

impl ResourceId {
    /// The primitive of which this is a numbered copy: `db` of `db:0`. Of a primitive itself, its name.
    pub fn primitive(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(primitive, _)| primitive)
    }

    /// A numbered copy of this primitive; `None` where its name would be too long.
    pub fn copy(&self, number: u32) -> Option<Self> {
        alloc::format!("{self}:{number}").parse().ok()
    }

    /// Whether this is a numbered copy.
    pub fn is_numbered(&self) -> bool {
        self.0.contains(':')
    }
}

/// One life of an agent process: a persisted counter and 128 random bits, new at each start.
/// Compared for equality only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// Persisted counter, plus one at each process start. For people; uniqueness comes from `random`.
    pub counter: u64,
    /// Drawn at process start, so that a lost state directory cannot repeat an incarnation.
    pub random: u128,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.counter, self.random >> 96)
    }
}

macro_rules! uuid_like {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub u128);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let v = self.0;
                write!(
                    f,
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    v >> 96,
                    (v >> 80) & 0xffff,
                    (v >> 64) & 0xffff,
                    (v >> 48) & 0xffff,
                    v & 0xffff_ffff_ffff
                )
            }
        }

        impl FromStr for $type {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let text = text.trim();
                let err = || InvalidId::new($kind, text, "must be a UUID of 32 hexadecimal digits");
                let digits = text.bytes().filter(|b| *b != b'-');
                let mut value = 0_u128;
                let mut count = 0;
                for b in digits {
                    let digit = (b as char).to_digit(16).ok_or_else(err)?;
                    value = (value << 4) | u128::from(digit);
                    count += 1;
                    if count > 32 {
                        return Err(err());
                    }
                }
                if count == 32 { Ok(Self(value)) } else { Err(err()) }
            }
        }
    };
}

uuid_like!(
    /// One boot of a machine: `/proc/sys/kernel/random/boot_id`.
    BootId,
    "boot id"
);
uuid_like!(
    /// The machine itself, as its firmware reports it (DMI) and as its BMC reports it, in SMBIOS text order.
    /// Compared at enrolment of a fence device: equal or refused (SAFETY.md#S8).
    SystemUuid,
    "system UUID"
);

/// Name of a Totem configuration, and of the era that it may open (CLUSTER.md section 3): unique, durable
/// before use, never reused. Ordered by sequence, then by representative; printed `rep.seq` with `seq` in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RingId {
    /// Strictly growing over all rings that any one member has seen.
    pub seq: u64,
    /// Lowest node id of the ring, its representative.
    pub rep: NodeId,
}

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.rep, self.seq)
    }
}

impl FromStr for RingId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let err = || {
            InvalidId::new("ring id", text, "must read REP.SEQ with SEQ in hexadecimal, as in 1.2a")
        };
        let (rep, seq) = text.split_once('.').ok_or_else(err)?;
        let seq = u64::from_str_radix(seq, 16).map_err(|_| err())?;
        Ok(Self { seq, rep: rep.parse().map_err(|_| err())? })
    }
}

/// What every order carries (CLUSTER.md section 4): the era, or the ring id that stands for it in an inquorate
/// configuration, and the coordinator that gave it. Compared for equality at the moment of acting, never for age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Ring id of the configuration in which the order was given.
    pub ring: RingId,
    /// The life of the coordinator that gave it.
    pub coordinator: Incarnation,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ring, self.coordinator)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_ring_id_reads_back_as_it_was_printed() {
        let id = RingId { seq: 0x2a, rep: NodeId::new(3).expect("not zero") };
        assert_eq!(id.to_string(), "3.2a");
        assert_eq!("3.2a".parse(), Ok(id));
        assert!("0.1".parse::<RingId>().is_err());
    }

    #[test]
    fn rings_compare_by_sequence_before_representative() {
        let ring = |rep: u16, seq| RingId { seq, rep: NodeId::new(rep).expect("not zero") };
        assert!(ring(1, 8) > ring(9, 4));
        assert!(ring(2, 4) > ring(1, 4));
    }

    #[test]
    fn hostile_names_are_refused_with_the_rule() {
        for bad in ["", "-a", "a-", "ctl1;reboot", "../x", "A", "é", &"a".repeat(64)] {
            let error = bad.parse::<NodeName>().expect_err(bad);
            assert!(error.to_string().contains("must match"), "{error}");
        }
        assert!("ctl-1".parse::<NodeName>().is_ok());
        assert!("db:0".parse::<ResourceId>().is_ok());
        assert!("../db".parse::<ResourceId>().is_err());
    }

    #[test]
    fn uuids_read_with_and_without_hyphens() {
        let text = "4c4c4544-0042-3510-8054-b4c04f564431";
        let id: SystemUuid = text.parse().expect("valid");
        assert_eq!(id.to_string(), text);
        assert_eq!(text.replace('-', "").parse(), Ok(id));
        assert!("4c4c".parse::<BootId>().is_err());
    }
}
