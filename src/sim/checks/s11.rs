//! S11: a node without quorum stops its exclusive resources in time, or it is dead: after the grace, `t_stop` for its
//! coordinator and `t_stop` for its own stops nothing exclusive runs on a machine whose executor is alive; and where the
//! watchdog is armed, a machine whose agent is frozen is reset by it.

use super::Check;
use crate::{
    fact::{Fact, Part},
    queue::Time,
    truth::Truth,
};

/// For drivers and scheduling.
const MARGIN_US: Time = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct S11;

impl Check for S11 {
    const ID: &'static str = "S11";

    //= SAFETY.md#S11
    fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), String> {
        // looked at whenever some agent is asked what it claims, for all machines
        if !matches!(fact, Fact::Claims { .. }) {
            return Ok(());
        }
        let setup = &truth.setup;
        if let Some(watchdog) = setup.watchdog_us {
            watchdogs(at, watchdog + MARGIN_US, truth)?;
        }
        if !setup.stops_without_quorum {
            return Ok(());
        }
        let bound = setup.grace_us.max(setup.t_mem_us) + 2 * setup.t_stop_us + MARGIN_US;
        for (node, seen) in &truth.nodes {
            // a suspended one keeps what it runs (CLUSTER.md section 5)
            let frozen = seen.frozen.contains_key(&Part::Executor) || seen.suspended;
            let Some(lively) = seen.lively_at.get(&Part::Executor) else { continue };
            if !seen.powered || frozen || !seen.parts.contains(&Part::Executor) {
                continue;
            }
            let silent = at.saturating_sub(seen.quorate_at.max(*lively));
            if silent > bound
                && let Some((resource, _)) = seen.holds.iter().find(|(_, exclusive)| **exclusive)
            {
                return Err(format!("{resource} runs on {node}, inquorate for {silent} us"));
            }
        }
        Ok(())
    }
}

/// A frozen part feeds nothing: each feed needs a fresh pass of the loop and the answers of all parts.
fn watchdogs(at: Time, bound: Time, truth: &Truth) -> Result<(), String> {
    for (node, seen) in &truth.nodes {
        if seen.watchdog_off {
            continue;
        }
        let frozen = seen.frozen.iter().find(|(_, since)| at.saturating_sub(**since) > bound);
        if let Some((part, since)) = frozen.filter(|_| seen.powered) {
            return Err(format!(
                "{part:?} of {node} is frozen since {since} us, its watchdog is fed"
            ));
        }
    }
    Ok(())
}
