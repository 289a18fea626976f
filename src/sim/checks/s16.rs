//! S16: every plan is acyclic and stops before it starts. Plans are looked over where the engine is called
//! (`plan_check`); here the findings arrive.

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S16;

impl Check for S16 {
    const ID: &'static str = "S16";

    //= SAFETY.md#S16
    fn observe(&mut self, _at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::BadPlan { what } => Err(what.clone()),
            _ => Ok(()),
        }
    }
}
