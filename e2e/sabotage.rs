//! Is a broken rule seen? The product is built once with rules that can be broken, one is broken (or
//! one and the one behind which it hides), and the scenario that watches it must turn red (SAFETY.md
//! 2.5). What it does not see, it does not prove either: each scenario stands here at least once.

use crate::beside::{self, Job};
use crate::product::{TREE, cargo};
use crate::scenario::report::Outcome;
use crate::scenario::stack::Options;
use crate::scenario::{self};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// Rules that are broken together, and who must notice.
pub struct Sabotage {
    /// Its number in SAFETY.md 2.5, or nothing.
    number: &'static str,
    /// Names in `base::faulty`, with commas between them.
    rules: &'static str,
    /// Who must notice.
    pub scenario: &'static str,
}

const fn sabotage(number: &'static str, rules: &'static str, scenario: &'static str) -> Sabotage {
    Sabotage { number, rules, scenario }
}

/// By scenario, in the order of `scenario::ALL`. The simulator finds many of these rules too, and
/// the seven of CLUSTER.md section 3 (`sim hunt`).
pub const ALL: [Sabotage; 22] = [
    sabotage("18", "announced-once", "power-cut"),
    sabotage("6", "no-fencing", "holder-isolated"),
    sabotage("6", "no-fencing", "agent-frozen"),
    sabotage("6", "no-fencing", "machine-frozen"),
    sabotage("-", "silence-is-death", "agent-killed"),
    sabotage("-", "silence-is-death", "agent-restarted"),
    sabotage("6", "no-fencing", "bmc-unreachable"),
    sabotage("3", "no-read-back", "bmc-late"),
    sabotage("4", "timeout-is-success", "bmc-hangs"),
    sabotage("13", "failure-counted-twice", "process-killed"),
    sabotage("-", "failed-stop-is-stopped", "process-cannot-stop"),
    sabotage("5", "start-before-stop", "standby-and-back"),
    sabotage("1", "quorum-half", "two-of-three-dead"),
    sabotage("-", "api-decides", "api-stopped-while-holder-dies"),
    sabotage("-", "api-decides", "all-cut-and-powered-without-api"),
    // An older order is late as well before another era can be open: both rules have to be broken.
    sabotage("2", "epoch-by-age,late-orders", "old-order"),
    sabotage("12", "no-deadline", "fencer-stalled"),
    sabotage("7", "ring-id-reused", "disk-lost"),
    sabotage("9", "leftovers-kept", "leftover"),
    sabotage("8", "no-replay-window", "replayed"),
    sabotage("-", "dead-not-told", "balanced"),
    sabotage("20", "watchdog-by-timer", "watchdog-bites"),
];

/// The same with labs beside each other.
pub fn run_beside(which: &str, places: usize, options: &Options, out: &Path) -> Result<bool> {
    let jobs: Vec<Job> = chosen(which)?
        .into_iter()
        .map(|s| Job {
            title: s.scenario.to_owned(),
            arguments: options.arguments(&["sabotage", s.scenario], out),
        })
        .collect();
    let all = jobs.len();
    let missed = beside::run(jobs, places, &options.name, out)?;
    println!("caught {} of {all}; not caught: {missed:?}", all - missed.len());
    Ok(missed.is_empty())
}

/// Runs those of a number, a rule or a scenario, or all, with a product that [`build`] made. Answers
/// whether all were caught.
pub fn run(which: &str, options: &Options, out: &Path) -> Result<bool> {
    let chosen = chosen(which)?;
    let mut rows = Vec::new();
    let mut caught = 0;
    for chosen in &chosen {
        let Sabotage { rules, scenario, .. } = chosen;
        eprintln!("sabotage {}: {scenario} must turn red", title(chosen));
        let sabotage = Some((*rules).to_owned());
        let options = Options { sabotage, ..options.clone() };
        let dir = out.join(format!("sabotage-{scenario}-{rules}"));
        let report = scenario::run_named(scenario, &options, &dir)?;
        crate::records::write_json(&dir.join("verdict.json"), &report)?;
        let by: Vec<String> = report
            .checks
            .iter()
            .filter(|c| !c.ok)
            .map(|c| format!("{} [{}]", c.what, c.seen))
            .collect();
        let seen = match report.outcome {
            Outcome::Fail => format!("caught: {}", by.join("; ")),
            // It never came so far: that is no catch.
            Outcome::Inconclusive => format!("INCONCLUSIVE: {}", report.why.unwrap_or_default()),
            Outcome::Pass => "NOT CAUGHT".to_owned(),
        };
        caught += usize::from(report.outcome == Outcome::Fail);
        let row = format!("{:<32}{scenario:<32}{seen}", title(chosen));
        eprintln!("{row}");
        rows.push(row);
    }
    println!("{}", rows.join("\n"));
    println!("caught {caught} of {}", chosen.len());
    Ok(caught == chosen.len())
}

fn chosen(which: &str) -> Result<Vec<&'static Sabotage>> {
    let matches = |s: &&Sabotage| {
        which == "all" || which == s.rules || which == s.scenario || which == s.number
    };
    let chosen: Vec<&Sabotage> = ALL.iter().filter(matches).collect();
    if chosen.is_empty() {
        let all: Vec<String> = ALL.iter().map(title).collect();
        bail!("no sabotage {which} here: there are all, {}", all.join(", "));
    }
    Ok(chosen)
}

fn title(of: &Sabotage) -> String {
    format!("{} {}", of.number, of.rules)
}

/// Builds the product with rules that can be broken. It has a name of its own: it must never lie
/// where the product does.
pub fn build(built: bool) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| Path::new(TREE).join("target"), PathBuf::from);
    let program = target.join("release/palisade-sabotaged");
    if built {
        return Ok(program);
    }
    eprintln!("lab: building palisade with rules that can be broken");
    let mut arguments = vec!["build", "--release", "--locked", "--package", "cli"];
    arguments.extend(["--bin", "palisade-sabotaged", "--features", "sabotage"]);
    cargo(&arguments)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_scenario_has_a_rule_that_turns_it_red() {
        for scenario in &crate::scenario::ALL {
            let watched = super::ALL.iter().any(|s| s.scenario == scenario.name);
            assert!(watched, "{}: name a rule that it sees broken", scenario.name);
        }
        for sabotage in &super::ALL {
            let known = crate::scenario::ALL.iter().any(|s| s.name == sabotage.scenario);
            assert!(known, "{}: no such scenario", sabotage.scenario);
        }
    }
}
