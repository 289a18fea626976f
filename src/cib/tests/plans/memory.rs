//! One scheduler that goes through the whole suite remembers nothing that changes a plan.

use policy::{Scheduler, model::OperationRecord};

use super::cases::planned;

#[test]
fn what_is_remembered_changes_no_plan() {
    let Some(cases) = planned() else { return };
    let mut scheduler = Scheduler::default();
    for case in cases {
        for round in ["the first", "the same again"] {
            let plan = scheduler.schedule(&case.model).expect("it was planned before");
            assert!(plan == case.plan, "{} ({round}): another plan", case.name);
        }
        for at in 0..case.model.nodes.len() {
            // something fails on one node; the histories of the others stay the same
            let mut model = case.model.clone();
            let Some(history) = model.nodes[at].history.first_mut() else { continue };
            history.operations.push(OperationRecord {
                id: format!("{}_last_failure_0", history.resource),
                operation: "monitor".to_owned(),
                interval_ms: 10_000,
                call_id: 10_000,
                exit_code: 1,
                expected_code: Some(0),
                ..OperationRecord::default()
            });
            let same = scheduler.schedule(&model) == policy::schedule(&model);
            assert!(same, "{}: another plan after a failure on node {at}", case.name);
        }
    }
}
