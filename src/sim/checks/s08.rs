//! S8: the right machine is shot: what a power command reaches is the machine that it is meant for.

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

#[derive(Debug, Default)]
pub(super) struct S08;

impl Check for S08 {
    const ID: &'static str = "S8";

    //= SAFETY.md#S8
    fn observe(&mut self, _at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        match fact {
            Fact::Reached { by, target, reached } if target != reached => {
                Err(format!("{by} means {target}, and its command reaches {reached}"))
            }
            _ => Ok(()),
        }
    }
}
