//! `cargo lab test`: everything that must pass, cheapest first.

use crate::product::cargo;
use crate::scenario;
use crate::scenario::stack::Options;
use crate::with_api::Beside;
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Instant;

/// So many scenarios at one time: two cores carry three labs without being measured instead of them.
const BESIDE: usize = 3;

/// As many as CI has time for (SAFETY.md 4.7); longer runs by hand.
const SEEDS: &str = "0..500";

/// What `cargo test` is told, one call a line, with a real API server at hand.
const BESIDE_KUBERNETES: [&[&str]; 4] = [
    &["devapi", "--test", "conformance"],
    &["devapi", "--test", "kubectl_beside", "--", "--include-ignored"],
    // on devapi alone, but with the same tools
    &["devapi", "--test", "helm", "--", "--ignored"],
    &["cli", "--test", "dev", "--", "--ignored", "--nocapture", "a_real_api_server"],
];

/// What a box shows in minutes, each by a part of its test's name; the soaks are left to hands.
const IN_A_BOX: [&str; 4] = ["canary", "a_changed_balancer", "an_address_of_a", "what_only_agents"];

/// What a step may need.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// How scenarios are set up; made when first needed, as it builds the product.
    pub options: &'a dyn Fn() -> Result<Options>,
    /// Where results go.
    pub out: &'a Path,
}

/// One step: its name and what it does. To add a part of the project, add a line.
struct Step {
    name: &'static str,
    run: fn(Context<'_>) -> Result<()>,
}

const STEPS: [Step; 11] = [
    Step { name: "format", run: |_| cargo(&["fmt", "--all", "--check"]) },
    Step {
        name: "lints",
        run: |_| {
            let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--locked"];
            cargo(&[&lints[..], &["--", "-D", "warnings"]].concat())
        },
    },
    Step { name: "tests", run: |_| cargo(&["test", "--quiet", "--workspace", "--locked"]) },
    Step {
        name: "simulator",
        run: |_| {
            let sim = ["run", "--quiet", "--release", "--locked", "--package", "sim"];
            cargo(&[&sim[..], &["--", "run", "--seeds", SEEDS]].concat())
        },
    },
    Step {
        name: "box",
        run: |_| {
            let test = ["test", "--quiet", "--locked", "--package", "cli", "--test", "dev"];
            cargo(&[&test[..], &["--", "--ignored"], &IN_A_BOX].concat())
        },
    },
    // The lab judges the product: it and its observer are tried first.
    Step { name: "lab", run: |_| ignored("lab") },
    Step { name: "kubebox", run: |_| ignored("kubebox") },
    Step { name: "objects", run: |_| ignored("objects") },
    Step { name: "devapi", run: |_| beside_kubernetes() },
    Step { name: "chart", run: |_| ignored("chart") },
    Step {
        name: "scenarios",
        run: |context| {
            let options = (context.options)()?;
            let names: Vec<&str> = scenario::ALL.iter().map(|s| s.name).collect();
            let failed = scenario::run_beside(&names, BESIDE, &options, context.out)?;
            if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join(", ")) }
        },
    },
];

/// Tests of this crate that need root, by their file.
fn ignored(file: &str) -> Result<()> {
    // Labs side by side on two cores would measure each other.
    let arguments = ["test", "--quiet", "--locked", "--package", "e2e", "--lib", "--test", file];
    cargo(&[&arguments[..], &["--", "--ignored", "--test-threads=2"]].concat())
}

/// Tests of other crates that need a real API server, beside one.
fn beside_kubernetes() -> Result<()> {
    let server = Beside::start("devapi")?;
    let cargo = ["cargo", "test", "--quiet", "--locked", "--package"];
    let mut failed = Vec::new();
    for arguments in BESIDE_KUBERNETES {
        if let Err(error) = server.run(&[&cargo[..], arguments].concat()) {
            eprintln!("test: {error:#}");
            failed.push(arguments.join(" "));
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join(", ")) }
}

/// Runs the named steps, or all; goes on after a failure, so that one run shows everything.
pub fn run(only: &[String], context: Context<'_>) -> Result<()> {
    if let Some(unknown) = only.iter().find(|o| !STEPS.iter().any(|s| s.name == **o)) {
        let names: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
        bail!("no step {unknown}: there are {}", names.join(", "));
    }
    let mut failed = Vec::new();
    for step in STEPS.iter().filter(|s| only.is_empty() || only.iter().any(|o| o == s.name)) {
        eprintln!("test: {} ...", step.name);
        let begun = Instant::now();
        let done = (step.run)(context);
        let seconds = begun.elapsed().as_secs();
        match done {
            Ok(()) => eprintln!("test: {} passed in {seconds} s", step.name),
            Err(error) => {
                eprintln!("test: {} FAILED in {seconds} s: {error:#}", step.name);
                failed.push(step.name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}
