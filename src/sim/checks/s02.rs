//! S2: an exclusive resource runs on at most one live machine.

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S02;

impl Check for S02 {
    const ID: &'static str = "S2";

    //= SAFETY.md#S2
    fn observe(&mut self, _at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        let Fact::Holds { node, resource, exclusive: true, address: false } = fact else {
            return Ok(());
        };
        let others = truth.holders.get(resource).into_iter().flatten();
        match others.into_iter().find(|other| *other != node) {
            Some(other) => Err(format!("{resource} runs on {node} and on {other}")),
            None => Ok(()),
        }
    }
}
