//! What happens to the process, and what a person asks for.

use super::holder::{BACK, back_and_quiet, nobody_shot, shot_before_recovery};
use super::report::Checks;
use super::stack::Stack;
use crate::clock::monotonic_ns;
use crate::machine::Machine;
use crate::records::ProcessRecord;
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::time::Duration;

/// A monitor interval of the quickstart's process, a restart, and a move (SAFETY.md#O06).
const REPAIRED: Duration = Duration::from_secs(15);
/// Shorter than the time after which a stop is made to end, 3 s.
const SLOW_STOP: Duration = Duration::from_millis(700);
/// L2: a move that was asked for.
const MOVED_MS: f64 = 2000.0;

fn web(machine: &Machine) -> Result<i32> {
    let found = machine.processes_with("serve-node-id");
    // The shim's arguments may name the program too: the youngest is the program itself.
    found.last().copied().with_context(|| format!("nothing serves on {}", machine.name()))
}

pub(super) fn killed(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let victim = ProcessRecord::of(web(&holder)?)?;
    let begun = monotonic_ns();
    victim.signal(Signal::KILL)?;
    std::thread::sleep(Duration::from_millis(50));
    let who = stack.wait_served(monotonic_ns(), REPAIRED)?;
    checks.check("it serves again", who.is_some(), format!("{who:?}"));
    std::thread::sleep(Duration::from_secs(3));
    let verdict = stack.observation().verdict_since(begun)?;
    checks.figure("gap_ms", verdict.longest_gap_ms.unwrap_or(f64::INFINITY));
    let failures = failures(stack, &holder)?;
    checks.check("the failure is counted exactly once (S32)", failures == 1, failures.to_string());
    nobody_shot(stack, checks, begun)
}

/// Counted failures of `web`, on all machines.
fn failures(stack: &Stack, machine: &Machine) -> Result<u64> {
    let status = stack.status(machine)?;
    let resources = status["resources"].as_array().cloned().unwrap_or_default();
    let web = resources.iter().find(|r| r["id"] == "web").context("the status has no `web`")?;
    let instances = web["instances"].as_array().cloned().unwrap_or_default();
    Ok(instances.iter().filter_map(|i| i["failures"].as_u64()).sum())
}

pub(super) fn cannot_stop(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let victim = web(&holder)?;
    let others = stack.others(&holder);
    let helper = others.first().context("another machine")?;
    if !holder.groups()?.freeze_alone(victim)? {
        checks.impossible("cgroup v2 only: SIGKILL ends a frozen process there");
        return Ok(());
    }
    let begun = monotonic_ns();
    stack.palisade(helper, &["node", "standby", holder.name()])?;
    let who = stack.wait_served_by_other(begun, &holder, BACK)?;
    checks.check("another machine serves", who.is_some(), format!("{who:?}"));
    shot_before_recovery(stack, checks, &holder, begun)?;
    stack.palisade(helper, &["node", "online", holder.name()])?;
    back_and_quiet(stack, checks, begun)
}

pub(super) fn standby_and_back(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let begun = monotonic_ns();
    stack.palisade(&holder, &["node", "standby", holder.name()])?;
    let who = stack.wait_served_by_other(begun, &holder, REPAIRED)?;
    checks.check("another machine serves", who.is_some(), format!("{who:?}"));
    std::thread::sleep(Duration::from_secs(1));
    let verdict = stack.observation().verdict_since(begun)?;
    let gap = verdict.longest_gap_ms.unwrap_or(f64::INFINITY);
    checks.figure("gap_ms", gap);
    checks.check("the gap of a move (L2)", gap <= MOVED_MS, format!("{gap:.0} ms"));
    let left = holder.processes_with("serve-node-id");
    checks.check("nothing is left on the machine", left.is_empty(), format!("{left:?}"));
    stack.palisade(&holder, &["node", "online", holder.name()])?;
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members", &whole);
    std::thread::sleep(Duration::from_secs(3));
    slow_stop(stack, checks)?;
    nobody_shot(stack, checks, begun)
}

/// A move whose stop takes its time: what starts elsewhere waits for it (S2, S16).
fn slow_stop(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let slow = ProcessRecord::of(web(&holder)?)?;
    let begun = monotonic_ns();
    slow.signal(Signal::STOP)?;
    stack.palisade(&holder, &["node", "standby", holder.name()])?;
    std::thread::sleep(SLOW_STOP);
    // It ends by the signal that it was given meanwhile; where nobody waited for it, it is dead already.
    let _ = slow.signal(Signal::CONT);
    let who = stack.wait_served_by_other(begun, &holder, REPAIRED)?;
    checks.check("another machine serves after a slow stop", who.is_some(), format!("{who:?}"));
    stack.palisade(&holder, &["node", "online", holder.name()])?;
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members after it", &whole);
    Ok(())
}
