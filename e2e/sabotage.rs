//! Is a broken rule seen? The product is built once with rules that can be broken, one is broken, and
//! the scenario that watches it must turn red (SAFETY.md 2.5). What it does not see, it does not
//! prove either.

use crate::product::{TREE, cargo};
use crate::scenario::report::Outcome;
use crate::scenario::stack::Options;
use crate::scenario::{self};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// One rule that can be broken.
struct Sabotage {
    /// Its number in SAFETY.md 2.5.
    number: u8,
    /// Its name in `base::faulty`.
    rule: &'static str,
    /// Who must notice.
    scenario: &'static str,
}

const fn sabotage(number: u8, rule: &'static str, scenario: &'static str) -> Sabotage {
    Sabotage { number, rule, scenario }
}

/// Those that need real machines to be seen. The simulator finds most of these too, and the seven of
/// CLUSTER.md section 3 (`sim hunt`). Number 2, an older epoch accepted, is for the simulator alone:
/// on a machine the order is late (S7) before a person's commands can have changed the era.
const ALL: [Sabotage; 9] = [
    sabotage(1, "quorum-half", "two-of-three-dead"),
    sabotage(3, "no-read-back", "bmc-late"),
    sabotage(4, "timeout-is-success", "bmc-hangs"),
    sabotage(6, "no-fencing", "holder-isolated"),
    sabotage(7, "ring-id-reused", "disk-lost"),
    sabotage(8, "no-replay-window", "replayed"),
    sabotage(9, "leftovers-kept", "leftover"),
    sabotage(12, "no-deadline", "fencer-stalled"),
    sabotage(20, "watchdog-by-timer", "watchdog-bites"),
];

/// Runs one by its number or name, or all, with a product that [`build`] made. Answers whether all
/// were caught.
pub fn run(which: &str, options: &Options, out: &Path) -> Result<bool> {
    let matches =
        |s: &&Sabotage| which == "all" || which == s.rule || which == s.number.to_string();
    let chosen: Vec<&Sabotage> = ALL.iter().filter(matches).collect();
    if chosen.is_empty() {
        let all: Vec<String> = ALL.iter().map(title).collect();
        bail!("no sabotage {which} here: there are all, {}", all.join(", "));
    }
    let mut rows = Vec::new();
    let mut caught = 0;
    for chosen in &chosen {
        let Sabotage { rule, scenario, .. } = chosen;
        eprintln!("sabotage {}: {scenario} must turn red", title(chosen));
        let sabotage = Some((*rule).to_owned());
        let options = Options { sabotage, ..options.clone() };
        let dir = out.join(format!("sabotage-{}", rule));
        let report = scenario::run_named(scenario, &options, &dir)?;
        crate::records::write_json(&dir.join("verdict.json"), &report)?;
        let by: Vec<&str> =
            report.checks.iter().filter(|c| !c.ok).map(|c| c.what.as_str()).collect();
        let seen = match report.outcome {
            Outcome::Fail => format!("caught: {}", by.join("; ")),
            // It never came so far: that is no catch.
            Outcome::Inconclusive => format!("INCONCLUSIVE: {}", report.why.unwrap_or_default()),
            Outcome::Pass => "NOT CAUGHT".to_owned(),
        };
        caught += usize::from(report.outcome == Outcome::Fail);
        let row = format!("{:<24}{scenario:<20}{seen}", title(chosen));
        eprintln!("{row}");
        rows.push(row);
    }
    println!("{}", rows.join("\n"));
    println!("caught {caught} of {}", chosen.len());
    Ok(caught == chosen.len())
}

fn title(of: &Sabotage) -> String {
    format!("{} {}", of.number, of.rule)
}

/// Builds the product with rules that can be broken. It has a name of its own: it must never lie
/// where the product does.
pub fn build() -> Result<PathBuf> {
    eprintln!("lab: building palisade with rules that can be broken");
    let mut arguments = vec!["build", "--release", "--locked", "--package", "cli"];
    arguments.extend(["--bin", "palisade-sabotaged", "--features", "sabotage"]);
    cargo(&arguments)?;
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| Path::new(TREE).join("target"), PathBuf::from);
    Ok(target.join("release/palisade-sabotaged"))
}
