//! The scenarios: each sets a cluster up, does something bad to it, and judges by the observer.
//!
//! One that cannot reach its set-up is inconclusive, never green. Beside its own checks every
//! scenario has those of [`report::common`]: no overlap, no blind probe, no panic in a log.

mod agent;
mod api;
mod holder;
mod process;
mod quorum;
pub mod report;
pub mod stack;

use anyhow::{Context, Result, bail};
use report::{Checks, Outcome, Report};
use stack::{Options, Stack};
use std::fs;
use std::path::Path;

/// One scenario.
pub struct Scenario {
    /// How it is called on the command line.
    pub name: &'static str,
    /// What it shows, in one sentence.
    pub says: &'static str,
    run: fn(&Stack, &mut Checks) -> Result<()>,
}

/// All of them: what must hold at the first, and what its sabotages need to be seen.
pub const ALL: [Scenario; 14] = [
    Scenario {
        name: "power-cut",
        says: "the holder loses its power: another machine serves, nobody else is shot",
        run: holder::power_cut,
    },
    Scenario {
        name: "holder-isolated",
        says: "all cables of the holder are pulled: it is off before another machine serves",
        run: holder::isolated,
    },
    Scenario {
        name: "agent-frozen",
        says: "the holder's agent stops between two instructions: its machine is shot",
        run: agent::frozen,
    },
    Scenario {
        name: "machine-frozen",
        says: "the holder freezes whole, its kernel answers on: it is shot",
        run: holder::frozen,
    },
    Scenario {
        name: "agent-killed",
        says: "the holder's agent is killed and back at once: services go on, nobody is shot",
        run: agent::killed,
    },
    Scenario {
        name: "agent-restarted",
        says: "the holder's agent is restarted on purpose: same processes, nobody is shot",
        run: agent::restarted,
    },
    Scenario {
        name: "bmc-unreachable",
        says: "the holder dies and its BMC does not answer: nothing moves until a person confirms",
        run: holder::bmc_unreachable,
    },
    Scenario {
        name: "bmc-late",
        says: "the holder freezes and its BMC says yes long before it does: nobody serves sooner",
        run: holder::bmc_late,
    },
    Scenario {
        name: "process-killed",
        says: "the process is killed: it serves again, counted once, nobody is shot",
        run: process::killed,
    },
    Scenario {
        name: "process-cannot-stop",
        says: "the process cannot be stopped: its machine is shot before it runs elsewhere",
        run: process::cannot_stop,
    },
    Scenario {
        name: "standby-and-back",
        says: "the holder goes on standby and comes back: one short gap, nobody is shot",
        run: process::standby_and_back,
    },
    Scenario {
        name: "two-of-three-dead",
        says: "two machines die: the third lets go and shoots nobody; one returns: service",
        run: quorum::two_of_three_dead,
    },
    Scenario {
        name: "api-stopped-while-holder-dies",
        says: "no API server and no controller while the holder dies: the same as with them",
        run: api::stopped_while_holder_dies,
    },
    Scenario {
        name: "all-cut-and-powered-without-api",
        says: "all machines lose power at once and boot without the API: service, nobody is shot",
        run: api::all_cut,
    },
];

/// Runs one scenario in a fresh lab, or all; writes `NAME/verdict.json` below `out`, and the logs
/// of one that did not pass. Answers whether all passed.
pub fn run(name: &str, options: &Options, out: &Path) -> Result<bool> {
    let chosen: Vec<&Scenario> = ALL.iter().filter(|s| name == "all" || s.name == name).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = ALL.iter().map(|s| s.name).collect();
        bail!("no scenario {name}: there are all, {}", names.join(", "));
    }
    let mut reports = Vec::new();
    for scenario in chosen {
        eprintln!("scenario {}: {}", scenario.name, scenario.says);
        let dir = out.join(scenario.name);
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let report = run_one(scenario, options, &dir)?;
        report.print();
        crate::records::write_json(&dir.join("verdict.json"), &report)?;
        reports.push(report);
    }
    report::print_table(&reports);
    Ok(reports.iter().all(|r| r.outcome == Outcome::Pass))
}

/// Runs one of them in a fresh lab.
pub fn run_named(name: &str, options: &Options, dir: &Path) -> Result<Report> {
    let found = ALL.iter().find(|s| s.name == name);
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    run_one(found.with_context(|| format!("no scenario {name}"))?, options, dir)
}

fn run_one(scenario: &Scenario, options: &Options, dir: &Path) -> Result<Report> {
    let mut checks = Checks::default();
    let stack = match Stack::up(options) {
        Ok(stack) => stack,
        // Not the product's fault, or not yet known to be: never green, never red.
        Err(error) => return Ok(Report::inconclusive(scenario.name, &error)),
    };
    let ran = (scenario.run)(&stack, &mut checks);
    let report = report::judge(scenario.name, &stack, checks, ran);
    stack.end(dir, report.outcome == Outcome::Pass, options)?;
    Ok(report)
}
