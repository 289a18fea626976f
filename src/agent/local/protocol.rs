//! Requests and replies of the local socket.

use base::{NodeName, ResourceId, RingId};
use serde::{Deserialize, Serialize};

use crate::status::Status;

/// Longest request, with its end of line.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// Longest reply: a status with thousands of instances.
pub const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One line to the agent: `{"verb":"status"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The agent stops and is back within `seconds`: nobody fences or recovers meanwhile (CLUSTER.md section 5).
    Detach {
        /// 1 to 60.
        seconds: u8,
    },
    /// The member leaves for good: its resources are stopped first, then it says that it holds nothing.
    Leave {},
    /// Something with a member.
    Node {
        /// What.
        action: NodeVerb,
        /// Whom.
        name: NodeName,
        /// For `confirm-off`: the incident that is confirmed. The only open one when it is missing.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "ring_id_text")]
        incident: Option<RingId>,
        /// Who asks, for the record.
        #[serde(default)]
        who: String,
    },
    /// Something with a resource.
    Resource {
        /// What.
        action: ResourceVerb,
        /// Which.
        name: ResourceId,
        /// For `move` (target) and `ban`, `cleanup` (where).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeName>,
        /// Who asks, for the record.
        #[serde(default)]
        who: String,
    },
    /// Cluster-wide: neither fencing nor recovery, addresses for ever, watchdogs off, rings stop (CLUSTER.md section 5). Done
    /// when it is durable on all members and carried out by their executors.
    Suspend {},
    /// Ends that, or what has become of it.
    Resume {},
    /// All that is known.
    Status {},
    /// What happened lately.
    Timeline {
        /// At most this many entries, the newest.
        limit: u16,
    },
}

/// A ring id as people read and write it: `1.2a`.
mod ring_id_text {
    use base::RingId;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(id: &Option<RingId>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => to.collect_str(id),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<RingId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// What can be done with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeVerb {
    /// A person has seen that the machine is off: evidence, once.
    ConfirmOff,
    /// Power it off and on, after eviction if it is present.
    Fence,
    /// Nothing on it is touched any more.
    Maintenance,
    /// Back from standby and maintenance.
    Online,
    /// It runs nothing.
    Standby,
}

/// What can be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceVerb {
    /// Keep it away from a member.
    Ban,
    /// Forget its failures and look again.
    Cleanup,
    /// Forget bans and moves.
    Clear,
    /// Prefer a member.
    Move,
    /// End a retained resource: it is stopped and leaves the model.
    Remove,
    /// Stop it and start it again.
    Restart,
}

/// One line from the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done, or accepted by the ring; the text says which.
    Done(String),
    /// Not done; the reason says what to do instead.
    Refused(String),
    /// Answer to `status`.
    Status(Box<Status>),
    /// Answer to `timeline`, the oldest first.
    Timeline(Vec<TimelineEntry>),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// Milliseconds since 1970 on this member.
    pub at_ms: u64,
    /// Microseconds on its boot-time clock.
    pub boot_us: u64,
    /// `ring`, `era`, `order`, `fencing`, `executor`, `agent`.
    pub kind: String,
    /// One line.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_people_would_write_them() {
        let read = |text: &str| serde_json::from_str::<Request>(text);
        assert_eq!(read(r#"{"verb":"status"}"#).expect("valid"), Request::Status {});
        let fence = r#"{"verb":"node","action":"confirm-off","name":"ctl-1","incident":"1.2a"}"#;
        let Request::Node { action: NodeVerb::ConfirmOff, incident: Some(incident), .. } =
            read(fence).expect("valid")
        else {
            panic!("read as something else");
        };
        assert_eq!(incident.to_string(), "1.2a");
        for hostile in [
            r#"{"verb":"node","action":"fence","name":"../etc"}"#,
            r#"{"verb":"node","action":"explode","name":"ctl-1"}"#,
            r#"{"verb":"status","also":1}"#,
            r#"{"verb":"resource","action":"move","name":"-rf /"}"#,
        ] {
            assert!(read(hostile).is_err(), "{hostile}");
        }
    }
}
