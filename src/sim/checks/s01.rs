//! S1: an address is configured on at most one live machine at any instant, in any partition, quorate or not.

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S01;

impl Check for S01 {
    const ID: &'static str = "S1";

    //= SAFETY.md#S1
    fn observe(&mut self, _at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        let Fact::Holds { node, resource, address: true, .. } = fact else { return Ok(()) };
        let others = truth.holders.get(resource).into_iter().flatten();
        match others.into_iter().find(|other| *other != node) {
            Some(other) => Err(format!("address {resource} on {node} and on {other}")),
            None => Ok(()),
        }
    }
}
