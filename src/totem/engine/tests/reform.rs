//! A ring given up on request.

use super::net::{Net, node};
use crate::State;

#[test]
fn a_ring_that_is_asked_to_reform_forms_the_next_of_the_same_members_at_once() {
    let mut net = Net::started(3, 3);
    net.until_together(&[1, 2, 3], 500);
    net.run_ms(300);
    let before = net.ring(2).ring().expect("operational");
    net.with_ring(node(2), |ring, now| ring.reform(now));
    assert_eq!(net.ring(2).state(), State::Gather);
    let took = net.until_together(&[1, 2, 3], 500);
    assert!(took.as_millis() < 200, "no token time is waited for: {took:?}");
    let after = net.ring(2).ring().expect("operational");
    assert!(after > before);
    assert_eq!(net.ring(2).members().len(), 3);
    // while one is being formed, another request changes nothing
    net.with_ring(node(2), |ring, now| {
        ring.reform(now);
        let state = ring.state();
        ring.reform(now);
        assert_eq!(ring.state(), state);
    });
    net.until_together(&[1, 2, 3], 500);
}
