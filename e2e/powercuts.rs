//! Many power cuts of the holder, measured: the gap that clients see, and its parts.

use crate::clock::monotonic_ns;
use crate::machine::Machine;
use crate::power;
use crate::records::write_json;
use crate::scenario::stack::{Options, Stack};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The parts of a failover, in their order (DESIGN.md section 3).
const PHASES: [&str; 7] = ["detect", "agree", "plan", "fence", "verify", "recover", "announce"];
/// Then a fresh lab: at default settings one machine is fenced 3 times in 10 minutes at most, and
/// the holder is another after each cut.
const CUTS_PER_LAB: usize = 6;
/// A cut whose service is not back by then has failed.
const LIMIT: Duration = Duration::from_secs(60);
/// Between the last start of something and the next cut.
const QUIET: Duration = Duration::from_secs(3);
/// Then the rest is not tried.
const FAILURES_MAX: usize = 3;
/// What the median is to stay under, and how far it may move without the API (DESIGN.md section 9).
const GOAL_MS: f64 = 1500.0;
const API_MS: f64 = 150.0;
const API_PART: f64 = 0.1;

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

impl Cut {
    /// One of its figures by name; a phase that did not happen has none.
    fn figure(&self, name: &str) -> Option<f64> {
        match name {
            "gap" => Some(self.gap_ms),
            "overlap" => Some(self.overlap_ms),
            "sum" => Some(self.phases_ms.iter().map(|(_, ms)| *ms as f64).sum()),
            phase => self.phases_ms.iter().find(|(p, _)| p == phase).map(|(_, ms)| *ms as f64),
        }
    }
}

/// Cuts the holder's power `count` times (with `interleaved`: each once with the API and once
/// without) and writes `powercuts.json` below `out`.
pub fn run(count: usize, interleaved: bool, options: &Options, out: &Path) -> Result<bool> {
    std::fs::create_dir_all(out)?;
    let kinds: &[bool] = if interleaved { &[false, true] } else { &[false] };
    let mut left: VecDeque<bool> = (0..count).flat_map(|_| kinds.iter().copied()).collect();
    let all = left.len();
    let begun = Instant::now();
    let mut cuts: Vec<Cut> = Vec::new();
    let mut failed: Vec<String> = Vec::new();
    while !left.is_empty() && failed.len() < FAILURES_MAX {
        let lab = cuts.len() + failed.len();
        eprintln!("a fresh lab for {} of {} cuts", left.len().min(CUTS_PER_LAB), left.len());
        let stack = Stack::up(options)?;
        let mut passed = true;
        for _ in 0..CUTS_PER_LAB {
            let Some(without_api) = left.pop_front() else { break };
            let number = cuts.len() + failed.len() + 1;
            match one(&stack, number, without_api) {
                Ok(cut) => {
                    eprintln!("cut {number:>3} of {all}: {}", line(&cut));
                    passed &= cut.overlap_ms == 0.0;
                    cuts.push(cut);
                    write_json(&out.join("powercuts.json"), &cuts)?;
                }
                Err(error) => {
                    eprintln!("cut {number:>3} of {all}: FAILED: {error:#}");
                    failed.push(format!("cut {number}: {error:#}"));
                    passed = false;
                    break; // what is not whole again is no place for the next one
                }
            }
        }
        let kept = out.join(format!("powercuts-lab-{lab}"));
        stack.end(&kept, passed, options)?;
        if !passed {
            eprintln!("  lab: events and logs are in {}", kept.display());
        }
    }
    print!("{}", table(&cuts, interleaved));
    println!("{} cuts in {} s", cuts.len(), begun.elapsed().as_secs());
    for failure in &failed {
        println!("FAILED {failure}");
    }
    let partly = cuts.iter().filter(|c| c.phases_ms.len() < PHASES.len()).count();
    if partly > 0 {
        println!("FAILED {partly} cuts lack a phase");
    }
    Ok(failed.is_empty() && partly == 0 && cuts.iter().all(|c| c.overlap_ms == 0.0))
}

fn one(stack: &Stack, number: usize, without_api: bool) -> Result<Cut> {
    if without_api {
        stack.stop_api()?;
    }
    // What starts on two cores takes both: wait for quiet, as between all runs.
    std::thread::sleep(QUIET);
    let holder = stack.holder()?;
    eprintln!("cut {number:>3}: pulling the plug of {}", holder.name());
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
    stack.wait_whole(LIMIT).context("after the machine was powered on again")?;
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

/// Median and worst of each figure; with and without the API beside each other.
fn table(cuts: &[Cut], interleaved: bool) -> String {
    let figures = std::iter::once("gap").chain(PHASES).chain(["sum", "overlap"]);
    let kinds: &[bool] = if interleaved { &[false, true] } else { &[false] };
    let mut text = format!("{:<10}", "ms");
    for without_api in kinds {
        let name = if *without_api { "without API" } else { "with API" };
        let count = cuts.iter().filter(|c| c.without_api == *without_api).count();
        let _ = write!(text, "{:>26}", format!("{name} ({count}): median"));
        let _ = write!(text, "{:>8}", "worst");
    }
    text += if interleaved { "  difference of medians\n" } else { "\n" };
    for figure in figures {
        let found = kinds.iter().map(|kind| {
            let chosen = cuts.iter().filter(|c| c.without_api == *kind);
            median_worst(chosen.filter_map(|c| c.figure(figure)).collect())
        });
        let found: Vec<Option<(f64, f64)>> = found.collect();
        let _ = write!(text, "{figure:<10}");
        for pair in &found {
            let of = |v: Option<f64>| v.map_or_else(|| "-".into(), |v| format!("{v:.0}"));
            let _ = write!(text, "{:>26}{:>8}", of(pair.map(|p| p.0)), of(pair.map(|p| p.1)));
        }
        if let [Some((with, _)), Some((without, _))] = found.as_slice() {
            let _ = write!(text, "{:>+23.0}", without - with);
            if figure == "gap" {
                let close = (without - with).abs() <= API_MS.max(with * API_PART);
                text +=
                    if close { "  within 10 % or 150 ms" } else { "  MORE than 10 % and 150 ms" };
            }
        }
        if let ("gap", Some(Some((median, _)))) = (figure, found.first()) {
            text += if *median < GOAL_MS { "  under 1500 ms" } else { "  NOT under 1500 ms" };
        }
        text.push('\n');
    }
    text
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
    use super::{Cut, median_worst, table};

    fn cut(without_api: bool, gap_ms: f64) -> Cut {
        let phases_ms = vec![("detect".into(), 510), ("announce".into(), 20)];
        let (machine, to) = ("n1".into(), "n2".into());
        Cut { machine, to, without_api, gap_ms, phases_ms, overlap_ms: 0.0 }
    }

    #[test]
    fn with_and_without_the_api_stand_beside_each_other() {
        let cuts = [cut(false, 1000.0), cut(true, 1149.0), cut(false, 1000.0), cut(true, 1149.0)];
        let text = table(&cuts, true);
        let gap = text.lines().find(|l| l.starts_with("gap")).expect("a line");
        let words: Vec<&str> = gap.split_whitespace().take(6).collect();
        assert_eq!(words, ["gap", "1000", "1000", "1149", "1149", "+149"]);
        assert!(gap.contains("  within 10 %") && gap.contains("  under 1500"), "{gap}");
        let late = table(&[cut(false, 1000.0), cut(true, 1151.0)], true);
        assert!(late.contains("MORE than"), "{late}");
        let plan = text.lines().find(|l| l.starts_with("plan")).expect("a line");
        assert_eq!(plan.split_whitespace().collect::<Vec<_>>(), ["plan", "-", "-", "-", "-"]);
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert_eq!(median_worst(vec![4.0, 1.0, 9.0, 2.0]), Some((3.0, 9.0)));
        assert_eq!(median_worst(vec![5.0, 1.0, 9.0]), Some((5.0, 9.0)));
        assert_eq!(median_worst(Vec::new()), None);
    }
}
