//! Drivers of resources: how long they take, and how they fail.

use lifecycle::{Answer, Call, Operation, Outcome};

use crate::{dice::Dice, machine::Moods, node::Message, queue::Time};

/// What a driver call leads to: delays with messages for the executor.
pub fn drive(dice: &mut Dice, moods: &Moods, call: &Call) -> Vec<(Time, Message)> {
    let resource = &call.resource;
    let address = matches!(call.kind, base::ResourceKind::Address { .. });
    let failed = || {
        let outcome = Outcome::Failed { code: 1, reason: "as planned".into() };
        Some(Answer::new(outcome, 0))
    };
    let hangs = match call.operation {
        Operation::Stop => moods.stop_hangs.contains(resource),
        Operation::Start => moods.start_hangs.contains(resource),
        _ => false,
    };
    let fails = match call.operation {
        Operation::Stop => moods.stop_fails.contains(resource),
        Operation::Start => moods.start_fails.contains(resource),
        _ => false,
    };
    let due = match call.operation {
        // a probe of the network and 30 ms (CLUSTER.md section 8)
        Operation::Start if address => dice.range(30_000, 60_000),
        Operation::Start => dice.range(500, 20_000),
        _ => dice.range(500, 10_000),
    };
    let rest = match call.operation {
        Operation::Start if !address && dice.chance(100) => dice.range(50_000, 1_500_000),
        Operation::Stop if !address && dice.chance(100) => dice.range(20_000, 1_000_000),
        _ => dice.range(200, 20_000),
    };
    match call.operation {
        Operation::Probe | Operation::Monitor => vec![(due, Message::Done(call.id, None))],
        _ if fails => vec![(due, Message::Done(call.id, failed()))],
        // half of the starts that hang have taken effect
        Operation::Start if hangs && dice.chance(500) => vec![(due, Message::Due(call.id))],
        _ if hangs => Vec::new(),
        _ => vec![(due, Message::Due(call.id)), (due + rest, Message::Done(call.id, None))],
    }
}
