//! Too few machines.

use super::holder::BACK;
use super::report::Checks;
use super::stack::Stack;
use crate::clock::{monotonic_ns, wait_until};
use crate::observation::vip;
use crate::power;
use anyhow::{Context, Result};
use std::time::Duration;

/// From the loss of quorum to nothing exclusive left: T_mem + T_stop of the quickstart (S10, S11).
const LET_GO: Duration = Duration::from_secs(15);

pub(super) fn two_of_three_dead(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let survivor = stack.holder()?;
    let victims = stack.others(&survivor);
    let begun = monotonic_ns();
    for victim in &victims {
        power::off(victim, "scenario")?;
    }
    let held = || {
        survivor
            .exec(&["ip", "-o", "address", "show"])
            .map_or(true, |t| t.contains(&vip().to_string()))
    };
    let dropped = wait_until(LET_GO, || !held());
    checks.check("the survivor lets the address go (S11)", dropped, format!("held: {}", held()));
    let stopped = wait_until(LET_GO, || survivor.processes_with("serve-node-id").is_empty());
    checks.check("the survivor stops the process (S11)", stopped, String::new());
    std::thread::sleep(Duration::from_secs(5));
    let verdict = stack.observation().verdict_since(begun)?;
    checks.check(
        "it shoots nobody (S5, S6)",
        verdict.shots.is_empty(),
        format!("{:?}", verdict.shots),
    );
    let status = stack.status(&survivor)?;
    checks.check(
        "it says that it has no quorum (S10)",
        status["quorate"] == false,
        status["quorate"].to_string(),
    );
    let back_ns = monotonic_ns();
    power::on(victims.first().context("a victim")?, "scenario")?;
    let who = stack.wait_served(back_ns, BACK)?;
    checks.check("with one of them back it serves", who.is_some(), format!("{who:?}"));
    power::on(victims.last().context("a victim")?, "scenario")?;
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members again", &whole);
    Ok(())
}
