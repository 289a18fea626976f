//! What happens to the machine that holds the address.

use super::report::Checks;
use super::stack::Stack;
use crate::bmc::{self, BmcFaults};
use crate::clock::{monotonic_ns, wait_until};
use crate::machine::Machine;
use crate::network::Network;
use crate::observation::vip;
use crate::observer::events::What;
use crate::observer::verdict::{Verdict, ms};
use crate::power;
use anyhow::{Context, Result};
use std::time::Duration;

/// L1 at defaults: T_mem + T_fence + T_start + 1 s, with T_start 1 s (SAFETY.md 2.3).
pub(super) const L1: Duration = Duration::from_secs(6);
/// It is announced again every 10 s (CLUSTER.md section 8).
const ANNOUNCED_AGAIN: Duration = Duration::from_secs(15);
/// A machine that was shot is back: boot delay, join, and what goes with it.
pub(super) const BACK: Duration = Duration::from_secs(60);

pub(super) fn power_cut(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let begun = monotonic_ns();
    power::off(&holder, "scenario")?;
    recovered_elsewhere(stack, checks, &holder, begun)?;
    // A machine that was found off is left off (SAFETY.md 1.8): a person turns it on.
    power::on(&holder, "person")?;
    announced_again(stack, checks, begun)?;
    back_and_quiet(stack, checks, begun)
}

/// Announcing goes on after the first word: a switch or a client may have missed it (SAFETY.md#O30).
fn announced_again(stack: &Stack, checks: &mut Checks, begun_ns: u64) -> Result<()> {
    let mut at_ms = Vec::new();
    wait_until(ANNOUNCED_AGAIN, || {
        let events = stack.observation().events().unwrap_or_default();
        let said = events.iter().filter(|e| {
            e.at_ns >= begun_ns
                && matches!(&e.what, What::Announced { address, .. } if *address == vip())
        });
        at_ms = said.map(|e| ms(e.at_ns - begun_ns)).collect();
        at_ms.first().zip(at_ms.last()).is_some_and(|(first, last)| last - first > 5000.0)
    });
    let (first, last) = (at_ms.first().copied(), at_ms.last().copied());
    let again = first.zip(last).is_some_and(|(first, last)| last - first > 5000.0);
    checks.check(
        "the address is announced again later (O30)",
        again,
        format!("after {at_ms:.0?} ms"),
    );
    Ok(())
}

pub(super) fn isolated(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let begun = monotonic_ns();
    holder.cut(&Network::ALL)?;
    recovered_elsewhere(stack, checks, &holder, begun)?;
    // Long enough for two holders to be seen for what they are.
    std::thread::sleep(Duration::from_secs(3));
    shot_before_recovery(stack, checks, &holder, begun)?;
    holder.heal(&Network::ALL)?;
    back_and_quiet(stack, checks, begun)
}

pub(super) fn frozen(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let begun = monotonic_ns();
    holder.freeze()?;
    recovered_elsewhere(stack, checks, &holder, begun)?;
    std::thread::sleep(Duration::from_secs(3));
    shot_before_recovery(stack, checks, &holder, begun)?;
    back_and_quiet(stack, checks, begun)
}

pub(super) fn bmc_late(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    bmc::set_faults(&holder, &BmcFaults { late_ms: 4000, ..BmcFaults::default() })?;
    let begun = monotonic_ns();
    holder.freeze()?;
    let who = stack.wait_served_by_other(begun, &holder, BACK)?;
    checks.check("another machine serves", who.is_some(), format!("{who:?}"));
    shot_before_recovery(stack, checks, &holder, begun)?;
    bmc::set_faults(&holder, &BmcFaults::default())?;
    back_and_quiet(stack, checks, begun)
}

pub(super) fn bmc_hangs(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    bmc::set_faults(&holder, &BmcFaults { hang_ms: 3000, ..BmcFaults::default() })?;
    let begun = monotonic_ns();
    holder.freeze()?;
    let wait = Duration::from_secs(12);
    let who = stack.wait_served(begun + 50_000_000, wait)?;
    checks.check("silence of the BMC is no success (S4)", who.is_none(), format!("{who:?}"));
    bmc::set_faults(&holder, &BmcFaults::default())?;
    let who = stack.wait_served_by_other(begun, &holder, BACK)?;
    checks.check("another machine serves when it works", who.is_some(), format!("{who:?}"));
    shot_before_recovery(stack, checks, &holder, begun)?;
    back_and_quiet(stack, checks, begun)
}

pub(super) fn bmc_unreachable(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let others = stack.others(&holder);
    let helper = others.first().context("a machine that is left")?;
    let confirm = || stack.palisade(helper, &["node", "confirm-off", holder.name()]);
    let early = confirm();
    checks.refused("a confirmation is refused while the machine is heard (S33)", &early);
    bmc::set_reachable(&holder, false)?;
    let begun = monotonic_ns();
    power::off(&holder, "scenario")?;
    let wait = Duration::from_secs(25);
    let who = stack.wait_served(begun + 50_000_000, wait)?;
    checks.check("nothing recovers without evidence (S3)", who.is_none(), format!("{who:?}"));
    let debts = stack.status(helper)?["debts"].clone();
    let named = debts.as_array().is_some_and(|d| d.iter().any(|d| d["node"] == holder.name()));
    checks.check("the status says who owes evidence (L11)", named, debts.to_string());
    let confirmed_ns = monotonic_ns();
    let said = confirm();
    checks.done("the confirmation is taken", &said);
    let who = stack.wait_served_by_other(confirmed_ns, &holder, L1)?;
    checks.figure("service_after_confirmation_ms", ms(monotonic_ns() - confirmed_ns));
    checks.check("another machine serves after it", who.is_some(), format!("{who:?}"));
    let again = confirm();
    checks.refused("the confirmation works once (S33)", &again);
    bmc::set_reachable(&holder, true)?;
    power::on(&holder, "scenario")?;
    back_and_quiet(stack, checks, confirmed_ns)
}

/// Somebody else serves, within L1; the figure is kept.
pub(super) fn recovered_elsewhere(
    stack: &Stack,
    checks: &mut Checks,
    lost: &Machine,
    begun_ns: u64,
) -> Result<()> {
    // The first 5 to 12 ms after the power command still succeed: not counted.
    let who = stack.wait_served_by_other(begun_ns, lost, BACK)?;
    let seen = format!("{who:?} serves");
    checks.check("another machine serves", who.as_deref().is_some_and(|w| w != lost.name()), seen);
    let verdict = stack.observation().verdict_since(begun_ns.saturating_sub(1_000_000_000))?;
    let gap = verdict.longest_gap_ms.unwrap_or(f64::INFINITY);
    checks.figure("gap_ms", gap);
    checks.check("within L1", gap <= L1.as_millis() as f64, format!("{gap:.0} ms"));
    Ok(())
}

/// S3, S4: the machine was really dead before the address was anywhere else; P5 and P1 say so.
pub(super) fn shot_before_recovery(
    stack: &Stack,
    checks: &mut Checks,
    lost: &Machine,
    begun_ns: u64,
) -> Result<()> {
    // The probes write their events one by one: a client may be seen served a moment before the address.
    wait_until(Duration::from_secs(3), || {
        let verdict = stack.observation().verdict_since(begun_ns);
        verdict.is_ok_and(|v| moved_at(&v, lost, begun_ns).is_some())
    });
    let verdict = stack.observation().verdict_since(begun_ns)?;
    let dead = verdict.shots.iter().filter(|s| s.machine == lost.name()).find_map(|s| s.dead_ns);
    let moved = moved_at(&verdict, lost, begun_ns);
    let ok = matches!((dead, moved), (Some(dead), Some(moved)) if dead <= moved);
    let at = |t: Option<u64>| {
        t.map_or_else(|| "never".into(), |t| format!("{:.0} ms", ms(t - begun_ns)))
    };
    let seen = format!("dead after {}, address elsewhere after {}", at(dead), at(moved));
    checks.check("it was shot, and dead before another had the address (S3)", ok, seen);
    Ok(())
}

fn moved_at(verdict: &Verdict, lost: &Machine, begun_ns: u64) -> Option<u64> {
    let held = verdict.holders.get(&vip().to_string())?;
    held.iter()
        .filter(|i| i.machine != lost.name() && i.start_ns >= begun_ns)
        .map(|i| i.start_ns)
        .min()
}

/// All machines are members again, and nobody was shot but who had to be, and once.
pub(super) fn back_and_quiet(stack: &Stack, checks: &mut Checks, begun_ns: u64) -> Result<()> {
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members again", &whole);
    let verdict = stack.observation().verdict_since(begun_ns)?;
    let effects: Vec<&str> =
        verdict.shots.iter().filter(|s| s.dead_ns.is_some()).map(|s| s.machine.as_str()).collect();
    checks.check(
        "at most one power-off has had an effect",
        effects.len() <= 1,
        format!("{effects:?}"),
    );
    Ok(())
}

/// Nobody's power was touched.
pub(super) fn nobody_shot(stack: &Stack, checks: &mut Checks, begun_ns: u64) -> Result<()> {
    let shots = stack.observation().verdict_since(begun_ns)?.shots;
    checks.check("nobody was shot", shots.is_empty(), format!("{shots:?}"));
    Ok(())
}
