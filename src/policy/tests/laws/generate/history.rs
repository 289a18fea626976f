//! What ran where, and how it went.

use policy::{
    Model,
    model::{
        CloneSpec, JoinPhase, OperationRecord, OperationStatus, Resource, ResourceHistory,
        ResourceKind,
    },
};

use super::{Mood, NOW, bytes::Bytes};

/// How one resource is on one node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Idle,
    Runs,
    Promoted,
    FailedMonitor,
    FailedStart,
    FailedStop,
    StartPending,
}

pub(super) fn add(model: &mut Model, bytes: &mut Bytes<'_>, mood: Mood) {
    let resources = model.resources.clone();
    // a cluster that was never started
    let fresh = bytes.chance(30);
    for resource in &resources {
        if fresh && mood == Mood::Wild {
            continue;
        }
        of_resource(model, bytes, mood, resource);
    }
}

fn of_resource(model: &mut Model, bytes: &mut Bytes<'_>, mood: Mood, resource: &Resource) {
    match &resource.kind {
        ResourceKind::Primitive(_) => single(model, bytes, mood, &[resource]),
        ResourceKind::Group(members) => {
            single(model, bytes, mood, &members.iter().collect::<Vec<_>>());
        }
        ResourceKind::Clone(spec) => copies(model, bytes, mood, resource, spec),
        ResourceKind::Bundle(_) => {}
    }
}

/// Runs together on one node, or nowhere.
fn single(model: &mut Model, bytes: &mut Bytes<'_>, mood: Mood, members: &[&Resource]) {
    let nodes = model.nodes.len();
    let home = bytes.below(nodes + 1);
    for at in 0..nodes {
        for (position, member) in members.iter().enumerate() {
            let mut state = if at == home { State::Runs } else { State::Idle };
            if mood == Mood::Wild {
                state = disturbed(bytes, state, position > 0);
            }
            record(model, at, &member.id, state);
        }
    }
}

fn copies(
    model: &mut Model,
    bytes: &mut Bytes<'_>,
    mood: Mood,
    clone: &Resource,
    spec: &CloneSpec,
) {
    let members: Vec<&Resource> = match &spec.child.kind {
        ResourceKind::Group(members) => members.iter().collect(),
        _ => vec![&spec.child],
    };
    let unique = clone.meta.sets.iter().flat_map(|s| &s.pairs).any(|(k, _)| k == "globally-unique");
    let mut promoted = false;
    for at in 0..model.nodes.len() {
        let runs = !bytes.chance(50);
        let leads = spec.promotable && !promoted && bytes.chance(120);
        promoted |= leads;
        for member in &members {
            let mut state = match (runs, leads) {
                (false, _) => State::Idle,
                (true, true) => State::Promoted,
                (true, false) => State::Runs,
            };
            if mood == Mood::Wild {
                state = disturbed(bytes, state, false);
            }
            let id = if unique { format!("{}:{at}", member.id) } else { member.id.clone() };
            record(model, at, &id, state);
        }
        if spec.promotable && bytes.chance(200) {
            let score = bytes.pick(&["10", "100", "5", "-1", "1000"]);
            let name = format!("master-{}", spec.child.id);
            model.nodes[at].transient.insert(name, score.to_owned());
        }
    }
}

fn disturbed(bytes: &mut Bytes<'_>, state: State, inner: bool) -> State {
    match bytes.byte() {
        1..=8 => State::Unknown,
        9..=16 => State::FailedMonitor,
        17..=22 => State::FailedStart,
        23..=26 => State::FailedStop,
        27..=30 => State::StartPending,
        31..=34 => State::Runs,
        35..=42 if inner => State::Idle,
        _ => state,
    }
}

fn record(model: &mut Model, at: usize, id: &str, state: State) {
    let node = &mut model.nodes[at];
    let known = node
        .state
        .as_ref()
        .is_some_and(|s| s.expected == JoinPhase::Member || s.member || s.online);
    if state == State::Unknown || !known {
        return;
    }
    let agent = if id == "fence" {
        ("stonith", "", "fence_ipmilan")
    } else {
        ("ocf", "heartbeat", "Dummy")
    };
    let mut history = ResourceHistory::of(id, agent.0, agent.1, agent.2);
    let every = if id == "fence" { 60_000 } else { 10_000 };
    history = match state {
        State::Unknown | State::Idle => history.with_done("monitor", 0, 7),
        State::Runs => history.with_done("start", 0, 0).with_done("monitor", every, 0),
        State::Promoted => history.with_done("start", 0, 0).with_done("promote", 0, 0),
        State::FailedMonitor => failure(
            history.with_done("start", 0, 0).with_done("monitor", every, 0),
            "monitor",
            every,
            1,
        ),
        State::FailedStart => failure(history.with_done("monitor", 0, 7), "start", 0, 1),
        State::FailedStop => failure(history.with_done("start", 0, 0), "stop", 0, 1),
        State::StartPending => {
            let mut history = history.with_done("monitor", 0, 7);
            history.operations.push(OperationRecord {
                id: format!("{id}_start_0"),
                operation: "start".to_owned(),
                call_id: -1,
                status: OperationStatus::Pending,
                ..OperationRecord::default()
            });
            history
        }
    };
    let counted = match state {
        State::FailedMonitor => Some((format!("monitor_{every}"), "1")),
        State::FailedStart => Some(("start_0".to_owned(), "INFINITY")),
        State::FailedStop => Some(("stop_0".to_owned(), "INFINITY")),
        _ => None,
    };
    if let Some((operation, count)) = counted {
        let base = id.split(':').next().unwrap_or(id);
        node.transient.insert(format!("fail-count-{base}#{operation}"), count.to_owned());
        node.transient.insert(format!("last-failure-{base}#{operation}"), (NOW - 100).to_string());
    }
    node.history.push(history);
}

fn failure(
    mut history: ResourceHistory,
    operation: &str,
    interval_ms: u64,
    code: i32,
) -> ResourceHistory {
    let call_id = history.operations.iter().map(|op| op.call_id).max().unwrap_or(0) + 1;
    let id = format!("{}_last_failure_0", history.resource);
    history.operations.push(OperationRecord {
        id,
        operation: operation.to_owned(),
        interval_ms,
        call_id,
        exit_code: code,
        expected_code: Some(0),
        last_run: Some(NOW - 101),
        last_change: Some(NOW - 100),
        ..OperationRecord::default()
    });
    history
}
