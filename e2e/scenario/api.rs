//! Without the API.

use super::holder::{BACK, back_and_quiet, recovered_elsewhere};
use super::report::Checks;
use super::stack::Stack;
use crate::clock::{monotonic_ns, wait_until};
use crate::observer::verdict::ms;
use crate::power;
use anyhow::Result;
use std::time::Duration;

pub(super) fn stopped_while_holder_dies(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    stack.stop_api()?;
    std::thread::sleep(Duration::from_secs(2));
    let begun = monotonic_ns();
    power::off(&holder, "scenario")?;
    recovered_elsewhere(stack, checks, &holder, begun)?;
    power::on(&holder, "person")?; // found off, left off
    back_and_quiet(stack, checks, begun)?;
    stack.start_api()?;
    let serving = stack.holder()?;
    let path = "jsonpath={.status.node}";
    let shown = || stack.api().kubectl(&["-n", "palisade", "get", "vip", "public", "-o", path]);
    let right = wait_until(Duration::from_secs(30), || shown().is_ok_and(|n| n == serving.name()));
    checks.check("the API shows the truth afterwards", right, format!("{:?}", shown()));
    Ok(())
}

pub(super) fn all_cut(stack: &Stack, checks: &mut Checks) -> Result<()> {
    stack.stop_api()?;
    for machine in stack.lab().machines() {
        power::off(&machine, "scenario")?;
    }
    std::thread::sleep(Duration::from_secs(2));
    let begun = monotonic_ns();
    for machine in stack.lab().machines() {
        power::on(&machine, "scenario")?;
    }
    let who = stack.wait_served(begun, BACK)?;
    checks.check("service returns without the API (L7)", who.is_some(), format!("{who:?}"));
    checks.figure("service_after_power_ms", ms(monotonic_ns() - begun));
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members", &whole);
    let shots = stack.observation().verdict_since(begun)?.shots;
    let effects = shots.iter().filter(|s| s.dead_ns.is_some()).count();
    checks.check("no machine that boots is shot", effects == 0, format!("{shots:?}"));
    stack.start_api()
}
