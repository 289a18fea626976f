//! What happens to the product's own processes on the holder.

use super::holder::{back_and_quiet, nobody_shot, recovered_elsewhere, shot_before_recovery};
use super::report::Checks;
use super::stack::Stack;
use crate::clock::{monotonic_ns, wait_until};
use crate::machine::{AGENT_PROCESSES, Machine, arguments, is_ours};
use crate::records::ProcessRecord;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::time::Duration;

/// A restart of the agent must not be felt by clients.
const UNFELT_MS: f64 = 300.0;

/// Who is the target of a fault: a whole agent, else the fault would be another one than its name says.
fn whole(machine: &Machine) -> Result<Vec<ProcessRecord>> {
    let found = parts(machine);
    ensure!(
        found.len() >= AGENT_PROCESSES,
        "{} has {} of an agent's {AGENT_PROCESSES} processes",
        machine.name(),
        found.len()
    );
    Ok(found)
}

/// All parts of the agent on a machine, without the shims that hold its resources.
fn parts(machine: &Machine) -> Vec<ProcessRecord> {
    let mut pids = machine.processes_with("palisade");
    pids.retain(|pid| {
        let argv = arguments(*pid);
        is_ours(&argv) && argv.get(1).is_some_and(|verb| verb != "shim")
    });
    pids.into_iter().filter_map(|pid| ProcessRecord::of(pid).ok()).collect()
}

/// One part of the agent, by its name.
pub(super) fn part(machine: &Machine, name: &str) -> Result<ProcessRecord> {
    let is = |p: &ProcessRecord| {
        arguments(p.pid).windows(2).any(|pair| pair[0] == "--part" && pair[1] == name)
    };
    let found = parts(machine).into_iter().find(is);
    found.with_context(|| format!("{} has no {name} part", machine.name()))
}

/// The process that init started: it watches the other parts.
pub(super) fn parent(machine: &Machine) -> Result<ProcessRecord> {
    let is_part = |p: &ProcessRecord| arguments(p.pid).iter().any(|a| a == "--part");
    parts(machine).into_iter().find(|p| !is_part(p)).context("no agent runs")
}

pub(super) fn frozen(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let frozen = whole(&holder)?;
    let begun = monotonic_ns();
    for part in &frozen {
        part.signal(Signal::STOP)?;
    }
    recovered_elsewhere(stack, checks, &holder, begun)?;
    shot_before_recovery(stack, checks, &holder, begun)?;
    back_and_quiet(stack, checks, begun)
}

pub(super) fn killed(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let begun = monotonic_ns();
    let victims = whole(&holder)?;
    for part in &victims {
        part.signal(Signal::KILL)?;
    }
    untouched(stack, checks, &holder, begun, &victims)
}

pub(super) fn restarted(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let victims = whole(&holder)?;
    let begun = monotonic_ns();
    parent(&holder)?.signal(Signal::TERM)?;
    untouched(stack, checks, &holder, begun, &victims)
}

/// The agent is another, the resources are the same, and nobody was shot.
fn untouched(
    stack: &Stack,
    checks: &mut Checks,
    holder: &Machine,
    begun: u64,
    former: &[ProcessRecord],
) -> Result<()> {
    let web = || holder.processes_with("serve-node-id");
    let before = web();
    checks.check("the process runs", !before.is_empty(), format!("{before:?}"));
    let gone = wait_until(Duration::from_secs(15), || former.iter().all(|p| !p.is_alive()));
    checks.check("the former agent has ended", gone, format!("{} parts", former.len()));
    let members = stack.wait_whole(Duration::from_secs(30));
    checks.done("all machines are members again", &members);
    // Longer than the grace that such a member has: who would be shot has been shot.
    std::thread::sleep(Duration::from_secs(8));
    let after = web();
    checks.check("its process is the same", before == after, format!("{before:?}, then {after:?}"));
    let verdict = stack.observation().verdict_since(begun)?;
    let gap = verdict.longest_gap_ms.unwrap_or(f64::INFINITY);
    checks.figure("gap_ms", gap);
    checks.check("clients do not feel it", gap <= UNFELT_MS, format!("{gap:.0} ms"));
    nobody_shot(stack, checks, begun)
}
