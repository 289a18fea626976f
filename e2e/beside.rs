//! Labs beside each other: each scenario in a process and a lab of its own, a few at one time.
//!
//! What a scenario says goes to a file; here stands how it ended, and what was not as it must be.

use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// More at once measure each other: each has an API server, etcd and three machines.
pub const MOST: usize = 4;

/// One run of this program.
#[derive(Debug, Clone)]
pub struct Job {
    /// What to call it, and its log.
    pub title: String,
    /// The verb and its options.
    pub arguments: Vec<String>,
}

/// Runs all, `places` at one time, in labs `NAME1`, `NAME2` and so on. Gives the titles of those that failed.
pub fn run(jobs: Vec<Job>, places: usize, name: &str, out: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let waiting = Mutex::new(VecDeque::from(jobs));
    let failed = Mutex::new(Vec::new());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for place in 1..=places.clamp(1, MOST) {
            let (next, failed) = (&next, &failed);
            scope.spawn(move || {
                while let Some(job) = next() {
                    let begun = Instant::now();
                    let log = out.join(format!("{}.log", job.title));
                    let ended = one(&job, &format!("{name}{place}"), &log);
                    let seconds = begun.elapsed().as_secs();
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    let wrong =
                        said.lines().filter(|l| l.starts_with("  NOT ") || l.starts_with("lab: "));
                    let wrong: Vec<&str> = wrong.collect();
                    match ended {
                        Ok(true) => eprintln!("{} passed in {seconds} s", job.title),
                        Ok(false) => {
                            eprintln!("{} FAILED in {seconds} s\n{}", job.title, wrong.join("\n"));
                        }
                        Err(ref error) => eprintln!("{} FAILED: {error:#}", job.title),
                    }
                    if !matches!(ended, Ok(true)) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(job.title);
                    }
                }
            });
        }
    });
    Ok(failed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn one(job: &Job, lab: &str, log: &Path) -> Result<bool> {
    let program = std::env::current_exe().context("where this program is")?;
    let file = File::create(log).with_context(|| format!("making {}", log.display()))?;
    let status = Command::new(program)
        .args(["--name", lab])
        .args(&job.arguments)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("running {}", job.title))?;
    Ok(status.success())
}
