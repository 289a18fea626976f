//! What a scenario has found: checks, figures, and how they add up.

use super::stack::Stack;
use crate::observer::audit::Requests;
use crate::observer::verdict::Verdict;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// How a scenario ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A check failed.
    Fail,
    /// It could not be tried: the set-up was not reached, or a probe was blind.
    Inconclusive,
    /// All checks passed.
    Pass,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What must be so.
    pub what: String,
    /// Whether it was.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

/// The checks of one scenario, and the figures that it wants to keep.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    list: Vec<Check>,
    figures: Vec<(String, f64)>,
    /// Set where this host cannot do what the scenario needs.
    impossible: Option<String>,
}

impl Checks {
    /// Notes one.
    pub fn check(&mut self, what: &str, ok: bool, seen: impl Into<String>) {
        let seen = seen.into();
        eprintln!("  {} {what}: {seen}", if ok { "ok " } else { "NOT" });
        self.list.push(Check { what: what.to_owned(), ok, seen });
    }

    /// Notes that something was done, or why not.
    pub fn done<T>(&mut self, what: &str, done: &Result<T>) {
        let seen = done.as_ref().err().map_or_else(|| "yes".to_owned(), |e| format!("{e:#}"));
        self.check(what, done.is_ok(), seen);
    }

    /// Notes that something was refused.
    pub fn refused(&mut self, what: &str, done: &Result<String>) {
        match done {
            Ok(said) => self.check(what, false, format!("taken: {}", said.trim())),
            Err(error) => self.check(what, true, format!("{error:#}")),
        }
    }

    /// Notes a figure.
    pub fn figure(&mut self, name: &str, value: f64) {
        self.figures.push((name.to_owned(), value));
    }

    /// The scenario needs what this host does not have.
    pub fn impossible(&mut self, why: &str) {
        self.impossible = Some(why.to_owned());
    }
}

/// The whole of `verdict.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it is inconclusive.
    pub why: Option<String>,
    /// All checks.
    pub checks: Vec<Check>,
    /// Figures of its own.
    pub figures: Vec<(String, f64)>,
    /// What the observer says about the whole of it.
    pub observed: Option<Verdict>,
    /// Writes to our objects at the API server.
    pub api_writes: Requests,
}

impl Report {
    /// Of one whose set-up was not reached.
    #[must_use]
    pub fn inconclusive(scenario: &str, why: &anyhow::Error) -> Self {
        Self {
            scenario: scenario.to_owned(),
            outcome: Outcome::Inconclusive,
            why: Some(format!("{why:#}")),
            checks: Vec::new(),
            figures: Vec::new(),
            observed: None,
            api_writes: Requests::new(),
        }
    }

    /// For people, on standard error; the checks were said as they came.
    pub fn print(&self) {
        for (name, value) in &self.figures {
            eprintln!("  {name}: {value:.0}");
        }
        if let Some(why) = &self.why {
            eprintln!("  {why}");
        }
        eprintln!("  {:?}", self.outcome);
    }
}

/// Adds the checks that every scenario has, and sums up.
#[must_use]
pub fn judge(scenario: &str, stack: &Stack, mut checks: Checks, ran: Result<()>) -> Report {
    let observed = stack.verdict();
    let mut why = checks.impossible.take();
    if let Err(error) = &ran {
        checks.check("the scenario runs to its end", false, format!("{error:#}"));
    }
    match &observed {
        Ok(verdict) => common(stack, verdict, &mut checks, &mut why),
        Err(error) => why = Some(format!("no verdict: {error:#}")),
    }
    let failed = checks.list.iter().any(|c| !c.ok);
    let outcome = match (failed, &why) {
        (true, _) => Outcome::Fail,
        (false, Some(_)) => Outcome::Inconclusive,
        (false, None) => Outcome::Pass,
    };
    Report {
        scenario: scenario.to_owned(),
        outcome,
        why,
        checks: checks.list,
        figures: checks.figures,
        observed: observed.ok(),
        api_writes: stack.api_writes().unwrap_or_default(),
    }
}

/// The checks of every scenario: S1, S2, and BadNews.
fn common(stack: &Stack, verdict: &Verdict, checks: &mut Checks, why: &mut Option<String>) {
    for (address, overlap) in &verdict.address_overlap_ms {
        let seen = format!("{overlap:.0} ms");
        checks.check(&format!("{address} is on one machine at a time (S1)"), *overlap == 0.0, seen);
    }
    for (label, overlap) in &verdict.process_overlap_ms {
        let seen = format!("{overlap:.0} ms");
        checks.check(&format!("{label} runs on one machine at a time (S2)"), *overlap == 0.0, seen);
    }
    let doubles: u64 = verdict.double_answers.values().sum();
    checks.check("one machine answers for the address (P2)", doubles == 0, doubles.to_string());
    let bad = stack.bad_news();
    checks.check("no panic in a log", bad.is_empty(), bad.join("; "));
    if !verdict.blind.is_empty() {
        *why = Some(format!("a probe was blind: {}", verdict.blind.join("; ")));
    }
}

/// One line per scenario, on standard output.
pub fn print_table(reports: &[Report]) {
    println!("{:<34}{:<14}{:>12}{:>12}", "scenario", "outcome", "overlap ms", "gap ms");
    for report in reports {
        let overlap = report.observed.as_ref().map_or(f64::NAN, Verdict::overlap_ms);
        let gap = report.observed.as_ref().and_then(|v| v.longest_gap_ms).unwrap_or(f64::NAN);
        let outcome = format!("{:?}", report.outcome).to_lowercase();
        println!("{:<34}{outcome:<14}{overlap:>12.0}{gap:>12.0}", report.scenario);
    }
}
