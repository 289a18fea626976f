//! Many power cuts of the holder, measured: the gap that clients see, and its parts.

use crate::clock::monotonic_ns;
use crate::machine::Machine;
use crate::power;
use crate::records::write_json;
use crate::scenario::stack::{Options, Stack};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// The parts of a failover, in their order (DESIGN.md section 3).
const PHASES: [&str; 7] = ["detect", "agree", "plan", "fence", "verify", "recover", "announce"];
/// Then a fresh lab: at default settings one machine is fenced 3 times in 10 minutes at most, and
/// the holder is another after each cut.
const CUTS_PER_LAB: usize = 6;
/// A cut whose service is not back by then has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// One cut.
#[derive(Debug, Clone, Serialize)]
pub struct Cut {
    /// Who lost its power.
    pub machine: String,
    /// Who served after it.
    pub to: String,
    /// Whether API server and controller were stopped.
    pub without_api: bool,
    /// Longest time without a good try, seen by the client.
    pub gap_ms: f64,
    /// What the coordinator says of its parts; those that it does not know are missing.
    pub phases_ms: Vec<(String, u64)>,
    /// Overlap of address or process; with any, the time counts for nothing.
    pub overlap_ms: f64,
}

/// Cuts the holder's power `count` times (with `interleaved`: each once with the API and once
/// without) and writes `powercuts.json` below `out`.
pub fn run(count: usize, interleaved: bool, options: &Options, out: &Path) -> Result<bool> {
    std::fs::create_dir_all(out)?;
    let kinds = if interleaved { vec![false, true] } else { vec![false] };
    let plan: Vec<bool> = (0..count).flat_map(|_| kinds.iter().copied()).collect();
    let mut cuts = Vec::new();
    for (round, part) in plan.chunks(CUTS_PER_LAB).enumerate() {
        let stack = Stack::up(options)?;
        for without_api in part {
            let number = cuts.len() + 1;
            let done = one(&stack, *without_api);
            let cut = match done {
                Ok(cut) => cut,
                Err(error) => {
                    stack.end(&out.join(format!("lab-{round}")), false, options)?;
                    return Err(error).with_context(|| format!("cut {number} of {}", plan.len()));
                }
            };
            eprintln!("cut {number:>3}: {}", line(&cut));
            cuts.push(cut);
            write_json(&out.join("powercuts.json"), &cuts)?;
        }
        stack.end(out, true, options)?;
    }
    summary(&cuts, false);
    if interleaved {
        summary(&cuts, true);
    }
    Ok(cuts.iter().all(|c| c.overlap_ms == 0.0))
}

fn one(stack: &Stack, without_api: bool) -> Result<Cut> {
    if without_api {
        stack.stop_api()?;
    }
    // What starts on two cores takes both: wait for quiet, as between all runs.
    std::thread::sleep(Duration::from_secs(3));
    let holder = stack.holder()?;
    let begun = monotonic_ns();
    power::off(&holder, "scenario")?;
    let who = stack.wait_served_by_other(begun, &holder, LIMIT)?;
    let Some(to) = who else { bail!("nobody serves {LIMIT:?} after the cut of {}", holder.name()) };
    std::thread::sleep(Duration::from_secs(1)); // announcing ends after service began
    let phases_ms = phases(stack, &holder)?;
    if without_api {
        stack.start_api()?;
    }
    power::on(&holder, "person")?; // what is found off is left off (SAFETY.md 1.8)
    stack.wait_whole(LIMIT)?;
    let verdict = stack.observation().verdict_since(begun.saturating_sub(1_000_000_000))?;
    if !verdict.blind.is_empty() {
        bail!("a probe was blind: {}", verdict.blind.join("; "));
    }
    Ok(Cut {
        machine: holder.name().to_owned(),
        to,
        without_api,
        gap_ms: verdict.longest_gap_ms.context("no gap")?,
        phases_ms,
        overlap_ms: verdict.overlap_ms(),
    })
}

/// From whichever survivor knows most about the last incident of that machine: the coordinator.
fn phases(stack: &Stack, lost: &Machine) -> Result<Vec<(String, u64)>> {
    let mut best = Vec::new();
    for machine in stack.others(lost) {
        let status = stack.status(&machine)?;
        let incidents = status["incidents"].as_array().cloned().unwrap_or_default();
        let Some(last) = incidents.iter().rev().find(|i| i["node"] == lost.name()) else {
            continue;
        };
        let known: Vec<(String, u64)> = PHASES
            .iter()
            .filter_map(|p| Some(((*p).to_owned(), last["phases_ms"][p].as_u64()?)))
            .collect();
        if known.len() > best.len() {
            best = known;
        }
    }
    Ok(best)
}

fn line(cut: &Cut) -> String {
    let phases: Vec<String> = cut.phases_ms.iter().map(|(p, ms)| format!("{p} {ms}")).collect();
    let api = if cut.without_api { "without API" } else { "with API" };
    format!(
        "{} to {}, {api}: gap {:.0} ms ({}), overlap {:.0} ms",
        cut.machine,
        cut.to,
        cut.gap_ms,
        phases.join(", "),
        cut.overlap_ms
    )
}

fn summary(cuts: &[Cut], without_api: bool) {
    let chosen: Vec<&Cut> = cuts.iter().filter(|c| c.without_api == without_api).collect();
    let name = if without_api { "without API" } else { "with API" };
    println!("{name}: {} cuts; median, worst in ms", chosen.len());
    let row = |what: &str, values: Vec<f64>| {
        if let Some((median, worst)) = median_worst(values) {
            println!("  {what:<10}{median:>8.0}{worst:>8.0}");
        }
    };
    row("gap", chosen.iter().map(|c| c.gap_ms).collect());
    for phase in PHASES {
        let of = |c: &&Cut| c.phases_ms.iter().find(|(p, _)| p == phase).map(|(_, ms)| *ms as f64);
        row(phase, chosen.iter().filter_map(of).collect());
    }
    row("overlap", chosen.iter().map(|c| c.overlap_ms).collect());
}

/// The middle (of an even number: the mean of the two) and the largest.
fn median_worst(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let worst = *values.last()?;
    let upper = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[upper]
    } else {
        f64::midpoint(values[upper - 1], values[upper])
    };
    Some((median, worst))
}

#[cfg(test)]
mod tests {
    use super::median_worst;

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert_eq!(median_worst(vec![4.0, 1.0, 9.0, 2.0]), Some((3.0, 9.0)));
        assert_eq!(median_worst(vec![5.0, 1.0, 9.0]), Some((5.0, 9.0)));
        assert_eq!(median_worst(Vec::new()), None);
    }
}
