//! L9: what nobody changes comes to rest: no member speaks without end. A decision that is dropped and made again for ever
//! looks like work and is none.

use std::collections::BTreeMap;

use base::NodeId;

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

/// In which so many messages of one member are too many.
const WINDOW_US: Time = 5_000_000;

/// More than most whole runs need.
const MESSAGES_MAX: u32 = 2_000;

#[derive(Debug, Default)]
pub(super) struct L09 {
    /// Messages since the beginning of the member's window.
    sent: BTreeMap<NodeId, (Time, u32)>,
}

impl Check for L09 {
    const ID: &'static str = "L9";

    //= SAFETY.md#L9
    fn observe(&mut self, at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        let Fact::Sent { node, .. } = fact else { return Ok(()) };
        let (begun, count) = self.sent.entry(*node).or_insert((at, 0));
        if at - *begun > WINDOW_US {
            (*begun, *count) = (at, 0);
        }
        *count += 1;
        if *count > MESSAGES_MAX {
            return Err(format!("{node} has said {count} messages since {begun} us"));
        }
        Ok(())
    }
}
