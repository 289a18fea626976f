//! Who is kept out of a ring (CLUSTER.md section 6).

use std::{collections::BTreeMap, vec, vec::Vec};

use base::{NodeId, RingId};

use super::world::id;
use crate::{
    admission::{Evicted, Standing, refused},
    encode_standing,
};

fn standing(index: u64, evicted: &[usize], past_deadline: bool) -> Standing {
    Standing {
        position: Some((RingId { seq: 8, rep: id(0) }, index)),
        promise: None,
        wiped: false,
        boot: None,
        voters: vec![id(0), id(1), id(2)],
        evicted: evicted.iter().map(|t| Evicted { node: id(*t), past_deadline }).collect(),
    }
}

fn kept_out(standings: &[(usize, Standing)]) -> Vec<NodeId> {
    let heard: BTreeMap<_, _> =
        standings.iter().map(|(i, s)| (id(*i), encode_standing(s))).collect();
    refused(&heard).into_iter().collect()
}

#[test]
fn a_target_stays_outside_while_another_holds_its_eviction() {
    let ring = [
        (0, standing(5, &[2], false)),
        (1, standing(5, &[2], false)),
        (2, standing(4, &[], false)),
    ];
    assert_eq!(kept_out(&ring), [id(2)]);
}

#[test]
fn its_own_copy_alone_does_not_count() {
    let ring = [(0, standing(4, &[], false)), (2, standing(5, &[2], false))];
    assert_eq!(kept_out(&ring), []);
}

#[test]
fn a_higher_position_without_it_ends_it() {
    let ring = [
        (0, standing(5, &[2], false)),
        (1, standing(6, &[], false)),
        (2, standing(5, &[2], false)),
    ];
    assert_eq!(kept_out(&ring), []);
}

#[test]
fn it_lapses_where_nothing_else_opens_and_only_after_the_deadline() {
    let early = [(0, standing(5, &[2], false)), (2, standing(5, &[2], true))];
    assert_eq!(kept_out(&early), [id(2)]);
    let late = [(0, standing(5, &[2], true)), (2, standing(5, &[2], true))];
    assert_eq!(kept_out(&late), []);
}

#[test]
fn wiped_voters_do_not_open_eras_in_this_count_either() {
    let mut blank = standing(0, &[], true);
    blank.wiped = true;
    blank.position = None;
    let ring = [(0, standing(5, &[2], true)), (1, blank), (2, standing(5, &[2], true))];
    // All three are voters, so with the target an era opens; without it one sound promise of three does not.
    assert_eq!(kept_out(&ring), []);
}

#[test]
fn rubbish_is_a_member_without_state() {
    let mut heard: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
    heard.insert(id(0), vec![0xff; 40]);
    heard.insert(id(1), Vec::new());
    heard.insert(id(2), encode_standing(&standing(3, &[], false)));
    assert!(refused(&heard).is_empty());
}
