//! The scenarios: each sets a cluster up, does something bad to it, and judges by the observer.
//!
//! One that cannot reach its set-up is inconclusive, never green. Beside its own checks every
//! scenario has those of [`report::common`]: no overlap, no blind probe, no panic in a log.

mod agent;
mod api;
mod balancer;
mod disk;
mod holder;
mod late;
mod process;
mod quorum;
pub mod report;
pub mod stack;
mod watch;
mod wire;

use crate::beside::{self, Job};
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
    /// Its machines have watchdogs.
    watchdog: bool,
}

impl Scenario {
    const fn new(
        name: &'static str,
        says: &'static str,
        run: fn(&Stack, &mut Checks) -> Result<()>,
    ) -> Self {
        Self { name, says, run, watchdog: false }
    }

    const fn with_watchdog(self) -> Self {
        Self { watchdog: true, ..self }
    }
}

/// All of them: what must hold at the first, and what its sabotages need to be seen.
pub const ALL: [Scenario; 22] = [
    Scenario::new(
        "power-cut",
        "the holder loses its power: another machine serves, nobody else is shot",
        holder::power_cut,
    ),
    Scenario::new(
        "holder-isolated",
        "all cables of the holder are pulled: it is off before another machine serves",
        holder::isolated,
    ),
    Scenario::new(
        "agent-frozen",
        "the holder's agent stops between two instructions: its machine is shot",
        agent::frozen,
    ),
    Scenario::new(
        "machine-frozen",
        "the holder freezes whole, its kernel answers on: it is shot",
        holder::frozen,
    ),
    Scenario::new(
        "agent-killed",
        "the holder's agent is killed and back at once: services go on, nobody is shot",
        agent::killed,
    ),
    Scenario::new(
        "agent-restarted",
        "the holder's agent is restarted on purpose: same processes, nobody is shot",
        agent::restarted,
    ),
    Scenario::new(
        "bmc-unreachable",
        "the holder dies and its BMC does not answer: nothing moves until a person confirms",
        holder::bmc_unreachable,
    ),
    Scenario::new(
        "bmc-late",
        "the holder freezes and its BMC says yes long before it does: nobody serves sooner",
        holder::bmc_late,
    ),
    Scenario::new(
        "bmc-hangs",
        "the holder freezes and its BMC does not answer the power-off: nobody serves before it does",
        holder::bmc_hangs,
    ),
    Scenario::new(
        "process-killed",
        "the process is killed: it serves again, counted once, nobody is shot",
        process::killed,
    ),
    Scenario::new(
        "process-cannot-stop",
        "the process cannot be stopped: its machine is shot before it runs elsewhere",
        process::cannot_stop,
    ),
    Scenario::new(
        "standby-and-back",
        "the holder goes on standby and comes back: one short gap, nobody is shot",
        process::standby_and_back,
    ),
    Scenario::new(
        "two-of-three-dead",
        "two machines die: the third lets go and shoots nobody; one returns: service",
        quorum::two_of_three_dead,
    ),
    Scenario::new(
        "api-stopped-while-holder-dies",
        "no API server and no controller while the holder dies: the same as with them",
        api::stopped_while_holder_dies,
    ),
    Scenario::new(
        "all-cut-and-powered-without-api",
        "all machines lose power at once and boot without the API: service, nobody is shot",
        api::all_cut,
    ),
    Scenario::new(
        "old-order",
        "an executor wakes up with an order of an era that is over: nothing starts",
        late::old_order,
    ),
    Scenario::new(
        "fencer-stalled",
        "a fencer wakes up when its command is late and the machine is on again: nothing is sent",
        late::fencer_stalled,
    ),
    Scenario::new(
        "disk-lost",
        "a machine comes back without its disk: its ring numbers go on above the old ones",
        disk::lost,
    ),
    Scenario::new(
        "leftover",
        "an address that an earlier agent left is gone before its machine joins",
        disk::leftover,
    ),
    Scenario::new(
        "replayed",
        "datagrams of the ring are sent once more: all are dropped, nothing changes",
        wire::replayed,
    ),
    Scenario::new(
        "balanced",
        "a load balancer is changed, loses a server, loses its holder: only what was under way is lost",
        balancer::balanced,
    ),
    Scenario::new(
        "watchdog-bites",
        "the ring stands still and no BMC answers: the watchdog resets the machine",
        watch::bites,
    )
    .with_watchdog(),
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

/// Runs the named ones in labs beside each other; verdicts as by [`run`], what was said in `NAME.log`. Gives
/// the names of those that did not pass.
pub fn run_beside(
    names: &[&str],
    places: usize,
    options: &Options,
    out: &Path,
) -> Result<Vec<String>> {
    let job = |name: &&str| Job {
        title: (*name).to_owned(),
        arguments: options.arguments(&["scenario", name], out),
    };
    beside::run(names.iter().map(job).collect(), places, &options.name, out)
}

/// Runs one of them in a fresh lab.
pub fn run_named(name: &str, options: &Options, dir: &Path) -> Result<Report> {
    let found = ALL.iter().find(|s| s.name == name);
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    run_one(found.with_context(|| format!("no scenario {name}"))?, options, dir)
}

fn run_one(scenario: &Scenario, options: &Options, dir: &Path) -> Result<Report> {
    let mut checks = Checks::default();
    let options = &Options { watchdog: options.watchdog || scenario.watchdog, ..options.clone() };
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
