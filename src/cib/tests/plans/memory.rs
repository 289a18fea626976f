//! One scheduler that goes through the whole suite remembers nothing that changes a plan.

use policy::{
    Model, Scheduler,
    model::{Node, OperationRecord, Resource},
};

use super::cases::planned;

type Event = fn(&mut Model, usize);

/// What happens to a model, with a word for it; each is taken back by the next, which begins with the case again.
const EVENTS: [(&str, Event); 6] = [
    ("a failure", |model, at| monitored(model, at, 1)),
    ("a good result", |model, at| monitored(model, at, 0)),
    ("the loss of a node", |model, at| model.nodes[at].state = Node::lost("").state),
    ("the return of a node", |model, at| model.nodes[at].state = Node::online("").state),
    ("a node's standby", |model, at| model.nodes[at].attributes.set("standby", "on")),
    ("a new resource", |model, at| {
        let new = Resource::primitive("new", "ocf", "heartbeat", "Dummy");
        let at = at.min(model.resources.len());
        model.resources.insert(at, new);
    }),
];

fn monitored(model: &mut Model, at: usize, exit_code: i32) {
    let Some(history) = model.nodes[at].history.first_mut() else { return };
    let kind = if exit_code == 0 { "monitor_10000" } else { "last_failure_0" };
    history.operations.push(OperationRecord {
        id: format!("{}_{kind}", history.resource),
        operation: "monitor".to_owned(),
        interval_ms: 10_000,
        call_id: 10_000,
        exit_code,
        expected_code: Some(0),
        ..OperationRecord::default()
    });
}

#[test]
fn what_is_remembered_changes_no_plan() {
    let Some(cases) = planned() else { return };
    let mut scheduler = Scheduler::default();
    for case in cases {
        for round in ["the first", "the same again"] {
            let plan = scheduler.schedule(&case.model).expect("it was planned before");
            assert!(plan == case.plan, "{} ({round}): another plan", case.name);
        }
        let nodes = case.model.nodes.len();
        // a failure on each node, where the histories of the others stay the same, and each other event somewhere
        let (failure, others) = EVENTS.split_first().expect("there are events");
        for at in 0..nodes.max(others.len()) {
            let Some(node) = at.checked_rem(nodes) else { continue };
            for (what, event) in [failure, &others[at % others.len()]] {
                let mut model = case.model.clone();
                event(&mut model, node);
                let same = scheduler.schedule(&model) == policy::schedule(&model);
                assert!(same, "{}: another plan after {what} on node {node}", case.name);
            }
        }
    }
}
