//! One mechanism per test.

use base::Guarantee;

use super::net::{Net, node};
use crate::State;

#[test]
fn three_nodes_form_one_ring_at_the_first_attempt() {
    let mut net = Net::started(1, 3);
    let took = net.until_together(&[1, 2, 3], 500);
    assert!(took.as_millis() < 100, "{took:?}");
    assert_eq!(net.events(1).len(), 1, "no ring of one before");
    assert_eq!(net.ring(1).state(), State::Operational);
    assert!(net.send(node(2), Guarantee::Safe, 3000));
    net.run_ms(20);
    assert_eq!(net.delivered(3).len(), 1);
    assert_eq!(net.delivered(3), net.delivered(2));
}
