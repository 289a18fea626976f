//! What holds for the executor whatever it is told, in whatever order.

use proptest::prelude::*;

use super::*;

/// One input of the property below.
#[derive(Clone, Debug)]
enum Input {
    Order(u64, Operation, u64),
    Epoch(u64, bool),
    Token(bool),
    Answer(bool),
    Wait(u64),
    RingClosed,
}

fn input() -> impl Strategy<Value = Input> {
    let operation = prop::sample::select(vec![
        Operation::Probe,
        Operation::Start,
        Operation::Stop,
        Operation::Promote,
        Operation::Demote,
    ]);
    prop_oneof![
        4 => (0..3_u64, operation, 0..3_u64).prop_map(|(n, o, e)| Input::Order(n, o, e)),
        1 => (0..3_u64, any::<bool>()).prop_map(|(e, q)| Input::Epoch(e, q)),
        3 => any::<bool>().prop_map(Input::Token),
        3 => any::<bool>().prop_map(Input::Answer),
        3 => (1..900_u64).prop_map(Input::Wait),
        1 => Just(Input::RingClosed),
    ]
}

proptest! {
    // nothing is written beside the sources: `src/*` are members of the workspace
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Calls that are not releases happen only under the installed quorate epoch with a fresh token; one call per
    /// instance is in flight at any time; a wake-up never lies in the past (no busy loop).
    #[test]
    fn the_executor_keeps_its_rules(inputs in prop::collection::vec(input(), 1..200)) {
        let mut executor = Executor::new(at(0), settings(), Vec::new());
        let mut ms = 0;
        let mut flights: Vec<CallId> = Vec::new();
        let mut quorate = false;
        let mut token_at = 0;
        for input in inputs {
            match input {
                Input::Order(number, operation, seq) => {
                    executor.handle_order(at(ms), order(number, operation, seq));
                }
                Input::Epoch(seq, q) => {
                    quorate = q;
                    let quorum = if q { Quorum::Quorate } else { Quorum::Inquorate };
                    executor.handle_epoch(at(ms), epoch(seq), quorum);
                }
                Input::Token(open) => {
                    token_at = ms;
                    executor.handle_token(at(ms), Token { seen_at: at(ms), era_open: open });
                }
                Input::Answer(good) => if let Some(call) = flights.last().copied() {
                    flights.retain(|c| *c != call);
                    let outcome = if good { Outcome::Ok } else { Outcome::TimedOut };
                    executor.handle_answer(at(ms), call, Answer::new(outcome, 1));
                },
                Input::Wait(span) => {
                    ms += span;
                    executor.handle_timeout(at(ms));
                }
                Input::RingClosed => executor.handle_ring_closed(at(ms)),
            }
            for output in drain(&mut executor) {
                match output {
                    Output::Cancel(call) => flights.retain(|c| *c != call),
                    Output::Call(call) => {
                        flights.push(call.id);
                        prop_assert!(flights.len() <= 1, "one at a time");
                        if !call.operation.is_release() {
                            prop_assert!(quorate && executor.epoch().is_some());
                            prop_assert!(ms - token_at <= 500);
                        }
                    }
                    _ => {}
                }
            }
            if let Some((wake, why)) = executor.poll_timeout() {
                prop_assert!(wake > at(ms), "{why:?} at {wake} is not after {ms} ms");
            }
        }
    }
}
