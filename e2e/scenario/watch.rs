//! A machine with a watchdog.

use super::agent::part;
use super::holder::BACK;
use super::report::Checks;
use super::stack::{Stack, WATCHDOG_S};
use crate::bmc;
use crate::clock::{monotonic_ns, wait_until};
use crate::observer::verdict::ms;
use crate::power::{self, PowerEvent};
use anyhow::Result;
use rustix::process::Signal;
use std::time::Duration;

/// The ring stands still and no BMC can help: the watchdog must (S11).
pub(super) fn bites(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    bmc::set_reachable(&holder, false)?;
    let ring = part(&holder, "ring")?;
    let begun = monotonic_ns();
    ring.signal(Signal::STOP)?;
    let reset_ns = || {
        let log = power::read_log(stack.lab().dir()).unwrap_or_default();
        let bitten = log.iter().find(|l| {
            l.machine == holder.name()
                && l.caller == "watchdog"
                && l.event == PowerEvent::Dead
                && l.at_ns >= begun
        });
        bitten.map(|l| l.at_ns)
    };
    let limit = Duration::from_secs(u64::from(WATCHDOG_S) + 5);
    let bitten = wait_until(limit, || reset_ns().is_some());
    let seen = reset_ns().map_or_else(|| "never".into(), |at| format!("{:.0} ms", ms(at - begun)));
    checks.check("the watchdog resets a machine whose ring stands still (S11)", bitten, seen);
    if !bitten {
        ring.signal(Signal::CONT)?;
    }
    let after = monotonic_ns();
    let who = stack.wait_served(after, BACK)?;
    checks.check("it is served again", who.is_some(), format!("{who:?}"));
    bmc::set_reachable(&holder, true)?;
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members again", &whole);
    Ok(())
}
