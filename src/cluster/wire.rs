//! Bytes of what travels and of what lies on disk: one version number, then postcard.
//!
//! Invariants: input is hostile: nothing here panics, every length is bounded before anything is allocated from it, and
//! what cannot be read is `None`, never a guess. A message of a later version, or of a kind that this one does not know,
//! changes nothing but the position (SAFETY.md#S30). Each message names the ring in which it was said: one that is
//! delivered in another is no message of that ring (CLUSTER.md section 2).

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use base::{
    BootId, Epoch, Guarantee, Incarnation, NodeId, ResourceId, ResourceKind, RingId, SystemUuid,
};
use fencing::Incident;
use lifecycle::{
    InstanceReport, Operation, Order, OrderEnd, OrderId, Outcome, PromotionScore, Report,
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::{
    RequestId, RequestKind, Station,
    admission::{STANDING_MAX, Standing},
    ails::Ails,
    evidence::{Evidence, Fact},
    state::Position,
};

/// Version of every encoding in this file. A change of layout takes the next number and keeps the old reader; what can be done
/// without is added at the end, where the version before does not read ([`empty_before`]).
const VERSION: u8 = 1;
/// What a member says in its [`Hello`] that it understands beyond the first release, which says nothing.
pub(crate) const DIALECT: u8 = DIALECT_PARTS;
/// Reports in parts.
pub(crate) const DIALECT_PARTS: u8 = 1;
/// Bytes of one multicast payload.
///
/// What grows with objects or instances is cut by its size: reports, snapshots and revisions into chunks, changes into
/// several messages ([`crate::report`]), decisions where the message is full. All else has few parts, each with its own limit
/// (`tests::largest` has every kind at its largest).
pub const MESSAGE_MAX: usize = 48 * 1024;
/// Bytes of one chunk of a snapshot, a revision or a report (CLUSTER.md section 3.3).
pub(crate) const CHUNK_MAX: usize = 32 * 1024;
/// Orders in one decision; what is ready beyond that goes with the next.
pub(crate) const ORDERS_MAX: usize = 48;
/// Characters of a text that travels for people.
pub(crate) const TEXT_MAX: usize = 200;

const _: () = assert!(CHUNK_MAX + 256 < MESSAGE_MAX);

/// Everything that members say to each other. New kinds are added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// First word of each member in each regular configuration: what it has.
    Hello(Hello),
    /// The coordinator proposes to open the era of this ring.
    Propose,
    /// The sender's promise for this ring is durable.
    Promised,
    /// Part of the state with which the era opened, for members that do not hold it.
    Snapshot(Chunk),
    /// What the sender's executor really runs in this era.
    Report(Report),
    /// The sender's executor restarted alone: what it said before is void until it reports again.
    Unreported,
    /// The coordinator's orders.
    Decision(Decision),
    /// An order of this epoch ended at the sender.
    Ended { id: OrderId, end: OrderEnd },
    /// Changes at the sender, numbered so that each failure counts once (SAFETY.md#S32). Said again until they are
    /// counted: unlike a report they decide nothing.
    Changes(Vec<Change>),
    /// The coordinator wants this absent voter powered off.
    Intent(Intent),
    /// The sender's disk holds the intent.
    IntentHeld { node: NodeId, attempt: u32 },
    /// The command of an intent ended without evidence, or was not answered in time.
    FenceFailed { incident: Incident, attempt: u32, commanded: bool, seen_on: bool, reason: String },
    /// Something that pays a debt.
    Evidence(Evidence),
    /// The sender's disk holds the evidence.
    EvidenceHeld { incident: Incident },
    /// The target is to stay outside and to be powered off (CLUSTER.md section 6).
    Evict { node: NodeId, reason: String },
    /// The incident is over: the target may come back.
    Close { node: NodeId },
    /// The machine is to be powered on again; its evidence has taken effect.
    PowerOn { incident: Incident, executor: NodeId },
    /// It was, or it is given up.
    PowerOnEnded { incident: Incident, failure: Option<String> },
    /// Last message of the sender's incarnation: it holds nothing and will accept nothing.
    Leave { incarnation: Incarnation },
    /// Part of a compiled revision.
    Revision(Chunk),
    /// The sender's disk holds the change of voters.
    VotersHeld { accepted: u64 },
    /// What a person or a program asked on the sender's machine.
    Request { id: RequestId, kind: RequestKind, wall: i64 },
    /// Timeout of the sender's watchdog, if it is proven armed.
    Watchdog { timeout: Option<Duration> },
    /// A refused voter was heard; this is the boot that it runs.
    Booted { node: NodeId, boot: BootId },
    /// The sender announced an absence, its time is over and it never went: the announcement is void.
    Stayed,
    /// The sender has added an address and announces it until somebody sees it. Changes nothing.
    Announcing { resource: ResourceId, kind: ResourceKind, station: Station },
    /// The sender takes that station for the holder of the address. Changes nothing.
    Sees { resource: ResourceId, station: Station },
    /// The sender's disk holds the suspension that was asked for in this era.
    SuspendHeld,
    /// The sender's executor has carried it out.
    SuspendDone,
    /// What is wrong with the sender by its own word, and what it has seen of fence devices. Changes nothing.
    Ails(Ails),
    /// The sender's commands against the target, whose debt is paid, were carried out or never sent, and their sessions are
    /// closed.
    CommandsOver { node: NodeId },
    /// Part of what the sender's executor really runs, where that is more than one message: nothing before the last part.
    ReportPart(Chunk),
    /// What the sender's instances say of their own promotion, all of it; belongs to the era as its report does.
    Scores(Vec<PromotionScore>),
}

/// What a member has (CLUSTER.md section 3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: BootId,
    pub(crate) uuid: Option<SystemUuid>,
    pub(crate) position: Option<Position>,
    /// Voters that its state names, or its configuration where it has no state.
    pub(crate) voters: Vec<NodeId>,
    pub(crate) promise: Option<RingId>,
    pub(crate) wiped: bool,
    /// Newest promise of this member in which each voter stands, with the life that it had.
    pub(crate) seen: Vec<Seen>,
    /// Newest promise of each voter that was delivered to this member.
    pub(crate) delivered: Vec<(NodeId, RingId)>,
    /// Was the coordinator of the configuration before.
    pub(crate) coordinated: bool,
    /// First ring of its unbroken life in the cluster with a state.
    pub(crate) since: Option<RingId>,
    pub(crate) facts: Vec<Fact>,
    /// Members of the configuration that it comes from, and whether an era was open there. Never decides anything
    /// in a sound build: two faulty rules of CLUSTER.md section 3 are measured by it.
    pub(crate) previous: Vec<NodeId>,
    pub(crate) was_open: bool,
    pub(crate) watchdog: Option<Duration>,
    /// See [`DIALECT`].
    #[serde(deserialize_with = "empty_before")]
    pub(crate) dialect: u8,
}

/// A voter as a promise names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) node: NodeId,
    pub(crate) ring: RingId,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: BootId,
}

/// Part of something that is larger than a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// Which transfer of this sender in this ring.
    pub(crate) transfer: u32,
    pub(crate) part: u16,
    pub(crate) parts: u16,
    pub(crate) bytes: Vec<u8>,
}

/// Orders that may be carried out now. Steps that wait are in no message: a later decision voids them by not giving
/// them (CLUSTER.md section 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// Position in the era from which it was decided (SAFETY.md#S14).
    pub(crate) input: u64,
    pub(crate) epoch: Epoch,
    /// The coordinator's clock.
    pub(crate) wall: i64,
    pub(crate) orders: Vec<Directive>,
    /// Failures that were forgotten by time (resource, node).
    pub(crate) forgotten: Vec<(ResourceId, NodeId)>,
}

/// One order and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directive {
    pub(crate) node: NodeId,
    pub(crate) order: Order,
}

/// Something at the sender that no order of the era asked for: a monitor that failed, an operation of an older epoch
/// that ended, a stop by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Counts up within the incarnation of the sender.
    pub(crate) number: u64,
    pub(crate) operation: Operation,
    pub(crate) outcome: Outcome,
    pub(crate) instance: InstanceReport,
    pub(crate) wall: i64,
}

/// A power-off that the coordinator wants (CLUSTER.md section 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) incident: Incident,
    pub(crate) executor: NodeId,
    /// Numbers the attempts of the incident; picks level and executor.
    pub(crate) attempt: u32,
    /// After delivery to the executor nothing is sent later than this.
    pub(crate) deadline: Duration,
    /// Only look: off is evidence, on leads to the next intent (start-up).
    pub(crate) read_only: bool,
    pub(crate) wall: i64,
}

impl Message {
    /// Whether it comes from a coordinator's look at the state, or will change what the next look sees: the next look
    /// waits until it was delivered.
    pub(crate) const fn is_decision(&self) -> bool {
        matches!(
            self,
            Self::Decision(_)
                | Self::Intent(_)
                | Self::Evict { .. }
                | Self::Close { .. }
                | Self::PowerOn { .. }
                | Self::FenceFailed { .. }
                | Self::Evidence(_)
        )
    }

    /// How strong a promise each message waits for (CLUSTER.md section 2).
    pub(crate) fn guarantee(&self) -> Guarantee {
        match self {
            Self::Propose
            | Self::Promised
            | Self::Intent(_)
            | Self::Evidence(_)
            | Self::Evict { .. }
            | Self::Close { .. }
            | Self::PowerOn { .. }
            | Self::Leave { .. }
            | Self::Booted { .. }
            | Self::Revision(_)
            | Self::Request { .. }
            | Self::SuspendHeld
            | Self::SuspendDone => Guarantee::Safe,
            Self::Decision(d) if d.orders.iter().any(|o| !o.order.operation.is_release()) => {
                Guarantee::Safe
            }
            _ => Guarantee::Agreed,
        }
    }
}

/// The bytes of one message said in `ring`.
pub(crate) fn encode_message(ring: RingId, body: &Message) -> Vec<u8> {
    let mut bytes = encode(&ring);
    bytes.extend(postcard::to_allocvec(body).unwrap_or_default());
    bytes
}

/// The ring of a message and, if this version knows its kind, the message.
pub(crate) fn decode_message(bytes: &[u8]) -> Option<(RingId, Option<Message>)> {
    if bytes.len() > MESSAGE_MAX {
        return None;
    }
    let (version, rest) = bytes.split_first()?;
    let (ring, body) = postcard::take_from_bytes::<RingId>(rest).ok()?;
    let known = *version == VERSION;
    let body = postcard::take_from_bytes::<Message>(body).ok().filter(|_| known);
    Some((ring, body.map(|(message, _)| message)))
}

/// What a message says, in our own words again: for fuzzing. `None` if it cannot be read or its kind is unknown.
pub fn restate(bytes: &[u8]) -> Option<Vec<u8>> {
    let (ring, body) = decode_message(bytes)?;
    Some(encode_message(ring, &body?))
}

/// What a member says of itself in its joins; `None` if it cannot be read.
pub fn decode_standing(bytes: &[u8]) -> Option<Standing> {
    decode(bytes, STANDING_MAX)
}

/// The bytes for [`crate::Output::Standing`].
pub fn encode_standing(standing: &Standing) -> Vec<u8> {
    encode(standing)
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising our own types into memory cannot fail: no unsupported shapes, no size limit.
    let body = postcard::to_allocvec(value).unwrap_or_default();
    let mut bytes = Vec::with_capacity(body.len() + 1);
    bytes.push(VERSION);
    bytes.extend_from_slice(&body);
    bytes
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Option<T> {
    if bytes.len() > limit {
        return None;
    }
    let (version, body) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    postcard::take_from_bytes(body).ok().map(|(value, _rest)| value)
}

/// A field that the earlier versions of a layout end before: what they wrote is read as its default. Only for the last fields
/// of what is encoded.
pub(crate) fn empty_before<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    bytes: D,
) -> Result<T, D::Error> {
    Ok(T::deserialize(bytes).unwrap_or_default())
}

/// The text, cut where it would be too long to travel.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}
