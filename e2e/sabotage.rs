//! Is a broken rule seen? The product is built with one rule broken, and the scenario that watches
//! that rule must turn red (SAFETY.md 2.5). What it does not see, it does not prove either.

use crate::product::{TREE, cargo};
use crate::scenario::report::Outcome;
use crate::scenario::stack::Options;
use crate::scenario::{self};
use anyhow::{Result, bail};
use std::path::Path;

/// One rule that can be broken.
struct Sabotage {
    /// Its number in SAFETY.md 2.5.
    number: u8,
    /// `package/feature`.
    feature: &'static str,
    /// Who must notice.
    scenario: &'static str,
}

/// Those that need real machines to be seen; the simulator has its own list.
const ALL: [Sabotage; 4] = [
    Sabotage { number: 1, feature: "cluster/sabotage-quorum-half", scenario: "two-of-three-dead" },
    Sabotage { number: 3, feature: "fencing/sabotage-no-read-back", scenario: "bmc-late" },
    Sabotage {
        number: 4,
        feature: "fencing/sabotage-timeout-is-success",
        scenario: "bmc-unreachable",
    },
    Sabotage { number: 6, feature: "cluster/sabotage-no-fencing", scenario: "holder-isolated" },
];

/// Runs one by its number or feature, or all. Answers whether all were caught.
pub fn run(which: &str, options: &Options, out: &Path) -> Result<bool> {
    let matches = |s: &&Sabotage| {
        which == "all" || which == s.number.to_string() || s.feature.ends_with(which)
    };
    let chosen: Vec<&Sabotage> = ALL.iter().filter(matches).collect();
    if chosen.is_empty() {
        let all: Vec<String> = ALL.iter().map(|s| format!("{} {}", s.number, s.feature)).collect();
        bail!("no sabotage {which}: there are all, {}", all.join(", "));
    }
    let mut caught = 0;
    for sabotage in &chosen {
        eprintln!("sabotage {}: {}", sabotage.number, sabotage.feature);
        let options = Options { palisade: build(sabotage)?, ..options.clone() };
        let dir = out.join(format!("sabotage-{}", sabotage.number));
        let report = scenario::run_named(sabotage.scenario, &options, &dir)?;
        crate::records::write_json(&dir.join("verdict.json"), &report)?;
        let by: Vec<&str> =
            report.checks.iter().filter(|c| !c.ok).map(|c| c.what.as_str()).collect();
        let seen = match report.outcome {
            Outcome::Fail => format!("caught by {}: {}", sabotage.scenario, by.join("; ")),
            // It never came so far: that is no catch.
            Outcome::Inconclusive => format!("INCONCLUSIVE: {}", report.why.unwrap_or_default()),
            Outcome::Pass => format!("NOT CAUGHT by {}", sabotage.scenario),
        };
        caught += usize::from(report.outcome == Outcome::Fail);
        println!("{:>2} {:<40} {seen}", sabotage.number, sabotage.feature);
    }
    println!("caught {caught} of {}", chosen.len());
    Ok(caught == chosen.len())
}

/// Into a folder of its own: a sabotaged program must never lie where the product does.
fn build(sabotage: &Sabotage) -> Result<std::path::PathBuf> {
    let package = sabotage.feature.split('/').next().unwrap_or_default();
    let target = Path::new(TREE).join("target/sabotage");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or(target, |dir| Path::new(&dir).join("sabotage"));
    let dir = target.display().to_string();
    let mut arguments = vec!["build", "--quiet", "--release", "--locked", "--target-dir", &dir];
    arguments.extend(["--package", "cli", "--package", package]);
    arguments.extend(["--features", sabotage.feature]);
    cargo(&arguments)?;
    Ok(target.join("release/palisade"))
}
