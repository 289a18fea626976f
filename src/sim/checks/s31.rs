//! S31: what an older life of an agent left behind is not forgotten: a report names everything exclusive that is there, so
//! that it is stopped or owned before anybody starts it elsewhere.

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S31;

impl Check for S31 {
    const ID: &'static str = "S31";

    //= SAFETY.md#S31
    fn observe(&mut self, _at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        let Fact::Reported { node, running, .. } = fact else { return Ok(()) };
        let held = truth.node(*node).holds.iter().filter(|(_, exclusive)| **exclusive);
        match held.map(|(resource, _)| resource).find(|resource| !running.contains(resource)) {
            Some(resource) => Err(format!("{node} reports without {resource}, which is there")),
            None => Ok(()),
        }
    }
}
