//! Every kind of message at its largest: what a legal cluster says stays below the limit of one message.

use core::time::Duration;
use std::{boxed::Box, format, string::String, vec, vec::Vec};

use base::{
    BootId, Epoch, Incarnation, NodeId, ResourceId, ResourceKind, RingId, Role, SystemUuid,
};
use fencing::Incident;
use lifecycle::{InstanceReport, Operation, Order, OrderEnd, OrderId, Outcome, PromotionScore};

use crate::{
    MESSAGE_MAX, RequestId, RequestKind,
    dispatch::FORGOTTEN_MAX,
    evidence::{Evidence, Fact, Kind},
    report::{Room, packed},
    state::Position,
    wire::{self, CHUNK_MAX, Change, Chunk, Decision, Directive, Hello, Intent, Message, Seen},
};

const SPAN: Duration = Duration::new(u64::MAX, 999_999_999);
const LIFE: Incarnation = Incarnation { counter: u64::MAX, random: u128::MAX };
/// Voters that a ring can have.
const VOTERS: usize = 64;

fn node() -> NodeId {
    NodeId::new(u16::MAX).expect("not zero")
}

fn ring() -> RingId {
    RingId { seq: u64::MAX, rep: node() }
}

fn incident() -> Incident {
    Incident { node: node(), ring: ring() }
}

fn resource() -> ResourceId {
    "r".repeat(253).parse().expect("valid")
}

/// What travels for people.
fn text() -> String {
    wire::short(&"😀".repeat(999))
}

/// As large as compilation lets all of them together be.
fn kind() -> ResourceKind {
    let parameter = |number: usize| base::ocf::OcfParameter {
        name: format!("p{number}").parse().expect("valid"),
        value: base::ocf::OcfValue::Text("x".repeat(1_000)),
    };
    ResourceKind::Ocf(Box::new(base::OcfAgent {
        name: "heartbeat/Dummy".parse().expect("valid"),
        parameters: (0..32).map(parameter).collect(),
        copies: None,
    }))
}

fn small() -> ResourceKind {
    ResourceKind::Process { template: "t".repeat(63).parse().expect("valid") }
}

fn failed() -> Outcome {
    Outcome::Failed { code: u8::MAX, reason: text() }
}

fn instance(kind: ResourceKind) -> InstanceReport {
    InstanceReport {
        resource: resource(),
        kind,
        role: Some(Role::Promoted),
        stop_failed: true,
        failed: Some(failed()),
        run: u64::MAX,
    }
}

fn change(number: u64, kind: ResourceKind) -> Change {
    let (operation, outcome) = (Operation::Demote, failed());
    Change { number, operation, outcome, instance: instance(kind), wall: i64::MIN }
}

fn chunk() -> Chunk {
    Chunk { transfer: u32::MAX, part: u16::MAX, parts: u16::MAX, bytes: vec![0; CHUNK_MAX] }
}

fn hello() -> Hello {
    let seen = Seen { node: node(), ring: ring(), incarnation: LIFE, boot: BootId(u128::MAX) };
    let off = Fact::Off { incident: incident(), commanded: true };
    Hello {
        incarnation: LIFE,
        boot: BootId(u128::MAX),
        uuid: Some(SystemUuid(u128::MAX)),
        position: Some(Position { era: ring(), index: u64::MAX, hash: u128::MAX }),
        voters: vec![node(); VOTERS],
        promise: Some(ring()),
        wiped: true,
        // of replaced machines too
        seen: vec![seen; 3 * VOTERS],
        delivered: vec![(node(), ring()); 3 * VOTERS],
        coordinated: true,
        since: Some(ring()),
        facts: vec![off; 128],
        previous: vec![node(); VOTERS],
        was_open: true,
        watchdog: Some(SPAN),
        dialect: u8::MAX,
    }
}

/// The first one whatever its kind is, small ones after it, all failures that may be forgotten.
fn decision() -> Decision {
    let epoch = Epoch { ring: ring(), coordinator: LIFE };
    let order = |kind| Directive {
        node: node(),
        order: Order {
            id: OrderId(u64::MAX),
            epoch,
            resource: resource(),
            kind,
            exclusive: true,
            operation: Operation::Demote,
            interval: Some(SPAN),
            timeout: SPAN,
            deadline: SPAN,
        },
    };
    let mut room = Room::beside(FORGOTTEN_MAX * 260);
    let mut orders = Vec::new();
    for directive in core::iter::once(order(kind())).chain((0..100).map(|_| order(small()))) {
        if room.take(&directive) {
            orders.push(directive);
        }
    }
    assert_eq!(orders[0].order.kind, kind(), "one of any kind always fits");
    let forgotten = vec![(resource(), node()); FORGOTTEN_MAX];
    Decision { input: u64::MAX, epoch, wall: i64::MIN, orders, forgotten }
}

fn all() -> Vec<Message> {
    let request = |kind| Message::Request { id: RequestId(u64::MAX), kind, wall: i64::MIN };
    let who = text();
    let confirmation = Kind::Confirmation { incident: incident(), who: text() };
    let large = packed((0..9).map(|number| change(number, kind())));
    assert!(large.len() > 1);
    let mut all = vec![
        Message::Hello(hello()),
        Message::Snapshot(chunk()),
        Message::ReportPart(chunk()),
        Message::Revision(chunk()),
        Message::Decision(decision()),
        Message::Ended { id: OrderId(u64::MAX), end: OrderEnd::Done(failed()) },
        Message::Intent(Intent {
            incident: incident(),
            executor: node(),
            attempt: u32::MAX,
            deadline: SPAN,
            read_only: true,
            wall: i64::MIN,
        }),
        Message::FenceFailed {
            incident: incident(),
            attempt: u32::MAX,
            commanded: true,
            seen_on: true,
            reason: text(),
        },
        Message::Evidence(Evidence { node: node(), kind: confirmation }),
        Message::Evict { node: node(), reason: text() },
        Message::PowerOnEnded { incident: incident(), failure: Some(text()) },
        request(RequestKind::ConfirmOff { node: node(), incident: Some(ring()), who }),
        request(RequestKind::Move { resource: resource(), to: node() }),
        Message::Announcing { resource: resource(), kind: kind(), station: [u8::MAX; 6] },
        Message::Scores(vec![
            PromotionScore { resource: resource(), score: i32::MIN };
            lifecycle::SCORES_MAX
        ]),
    ];
    all.extend(large);
    all.extend(packed((0..999).map(|number| change(number, small()))));
    all
}

/// Kinds of one number or id each, and those whose limit is asserted beside them, are not in the list.
const fn is_small(message: &Message) -> bool {
    match message {
        Message::Propose
        | Message::Promised
        | Message::Unreported
        | Message::IntentHeld { .. }
        | Message::EvidenceHeld { .. }
        | Message::Close { .. }
        | Message::PowerOn { .. }
        | Message::Leave { .. }
        | Message::VotersHeld { .. }
        | Message::Watchdog { .. }
        | Message::Booted { .. }
        | Message::Stayed
        | Message::Sees { .. }
        | Message::SuspendHeld
        | Message::SuspendDone
        | Message::Ails(_)
        | Message::CommandsOver { .. }
        // said where it fits, and in parts where not
        | Message::Report(_) => true,
        Message::Hello(_)
        | Message::Snapshot(_)
        | Message::Decision(_)
        | Message::Ended { .. }
        | Message::Changes(_)
        | Message::Intent(_)
        | Message::FenceFailed { .. }
        | Message::Evidence(_)
        | Message::Evict { .. }
        | Message::PowerOnEnded { .. }
        | Message::Revision(_)
        | Message::Request { .. }
        | Message::Announcing { .. }
        | Message::ReportPart(_)
        | Message::Scores(_) => false,
    }
}

#[test]
fn no_message_of_a_legal_cluster_is_above_the_limit() {
    for message in all() {
        assert!(!is_small(&message), "it has a place in the list above");
        let bytes = wire::encode_message(ring(), &message);
        let start: String = format!("{message:?}").chars().take(40).collect();
        assert!(bytes.len() <= MESSAGE_MAX, "{start}: {}", bytes.len());
        assert_eq!(wire::decode_message(&bytes), Some((ring(), Some(message))), "{start}");
    }
}

#[test]
fn a_hello_of_the_version_before_is_understood() {
    let mut now = hello();
    now.dialect = 0;
    let mut bytes = wire::encode_message(ring(), &Message::Hello(now.clone()));
    super::large::as_before(&mut bytes);
    assert_eq!(wire::decode_message(&bytes), Some((ring(), Some(Message::Hello(now)))));
}
