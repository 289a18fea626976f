//! What the agents use while nothing happens: memory, processor, writes to the API (S17).

use crate::machine::{AGENT_PROCESSES, Machine, arguments, is_ours};
use crate::records::write_json;
use crate::scenario::stack::{Options, Stack};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Clock ticks per second of /proc's times: fixed for user space on Linux.
const TICKS_PER_S: f64 = 100.0;
/// After everything is up: what starts is not idle.
const SETTLE: Duration = Duration::from_secs(20);

/// What an agent may take of a machine while nothing happens, all of its parts.
const PSS_GOAL_MIB: f64 = 25.0;
const CORE_GOAL_PERCENT: f64 = 1.0;

/// One machine's agent, all of its parts.
#[derive(Debug, Serialize)]
struct Usage {
    machine: String,
    parts: usize,
    pss_mib: f64,
    core_percent: f64,
}

/// Measures for so long; prints, and writes `idle.json` below `out`.
pub fn run(seconds: u64, options: &Options, out: &Path) -> Result<()> {
    fs::create_dir_all(out)?;
    let stack = Stack::up(options)?;
    // The observer's requests and its own load are not idleness.
    stack.lab().end_service("observer")?;
    std::thread::sleep(SETTLE);
    let machines = stack.lab().machines();
    let writes_before: u64 = stack.api_writes()?.values().sum();
    let before: Vec<u64> = machines.iter().map(ticks).collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let mut usages = Vec::new();
    for (machine, before) in machines.iter().zip(before) {
        let used = ticks(machine)?.saturating_sub(before) as f64 / TICKS_PER_S;
        usages.push(Usage {
            machine: machine.name().to_owned(),
            parts: parts(machine).len(),
            pss_mib: pss_kib(machine)? as f64 / 1024.0,
            core_percent: used / seconds as f64 * 100.0,
        });
    }
    let writes = stack.api_writes()?.values().sum::<u64>() - writes_before;
    println!("{:<10}{:>7}{:>10}{:>10}", "machine", "parts", "PSS MiB", "core %");
    for usage in &usages {
        let Usage { machine, parts, pss_mib, core_percent } = usage;
        println!("{machine:<10}{parts:>7}{pss_mib:>10.1}{core_percent:>10.2}");
    }
    println!("writes to palisade.dev objects in {seconds} s: {writes}");
    write_json(&out.join("idle.json"), &serde_json::json!({"agents": usages, "writes": writes}))?;
    let within = |usage: &Usage| {
        usage.parts >= AGENT_PROCESSES
            && usage.pss_mib <= PSS_GOAL_MIB
            && usage.core_percent <= CORE_GOAL_PERCENT
    };
    let good = writes == 0 && usages.iter().all(within);
    stack.end(out, good, options)?;
    ensure!(
        good,
        "at rest each agent has {AGENT_PROCESSES} processes at least, {PSS_GOAL_MIB} MiB and {CORE_GOAL_PERCENT} % of a core at most, and nothing is written"
    );
    Ok(())
}

/// All parts of the agent, and the shims that it needs for its resources.
fn parts(machine: &Machine) -> Vec<i32> {
    let mut pids = machine.processes_with("palisade");
    pids.retain(|pid| is_ours(&arguments(*pid)));
    pids
}

fn ticks(machine: &Machine) -> Result<u64> {
    let mut sum = 0;
    for pid in parts(machine) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a part has ended")?;
        let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        // Fields 14 and 15: utime, stime. The state after the name is field 3.
        let times = rest.split_ascii_whitespace().skip(11).take(2);
        sum += times.filter_map(|t| t.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(sum)
}

fn pss_kib(machine: &Machine) -> Result<u64> {
    let mut sum = 0;
    for pid in parts(machine) {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|l| l.strip_prefix("Pss:")).context("no Pss")?;
        sum += line.trim().trim_end_matches(" kB").parse::<u64>().context("Pss")?;
    }
    Ok(sum)
}
