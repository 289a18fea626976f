//! S10: quorum is never lost in silence: a running agent that has seen no token of a quorate ring for twice T_mem does
//! not say that it is quorate.

use super::Check;
use crate::{
    fact::{Fact, Part},
    queue::Time,
    truth::Truth,
};

#[derive(Debug, Default)]
pub(super) struct S10;

impl Check for S10 {
    const ID: &'static str = "S10";

    //= SAFETY.md#S10
    fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Claims { node, era: Some(era), quorate, .. } => {
                let seen = truth.node(*node);
                let lively = seen.lively_at.get(&Part::Ring).copied().unwrap_or(at);
                // where most rounds of a token are lost no bound holds: it counts from the end of that
                let silent = at - seen.quorate_at.max(lively).max(truth.rough_at);
                if !quorate {
                    return Err(format!(
                        "{node} says that {era} is open and that it has no quorum"
                    ));
                }
                if silent > 2 * truth.setup.t_mem_us {
                    return Err(format!(
                        "{node} says that {era} is open, its last token is {silent} us old"
                    ));
                }
            }
            Fact::Claims { node, quorate: true, .. } => {
                let members = truth.node(*node).ring.as_ref().map_or(0, |(_, m, _)| m.len());
                if !truth.setup.is_majority(members) {
                    return Err(format!("{node} says that {members} members are quorate"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
