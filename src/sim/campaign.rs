//! Many seeds on all cores: each run is one thread's own, the sum is shared.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Options, Report, Verdict, checks::Violation, print, run};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Of each run.
    pub options: Options,
    /// Which.
    pub seeds: Range<u64>,
    /// Threads.
    pub jobs: usize,
    /// Each seed twice; the traces must be equal.
    pub twice: bool,
    /// Goes on after a violation.
    pub keep_going: bool,
    /// Only violations of these count; empty: all do.
    pub only: Vec<&'static str>,
    /// Ends after so much processor time.
    pub at_most: Option<Duration>,
    /// Says how far it is.
    pub progress: bool,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// What was found.
    pub violation: Violation,
    /// Since the campaign began.
    pub after: Duration,
}

/// What all runs add up to.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Runs that were good.
    pub good: u64,
    /// Runs that wait for a person, as they must.
    pub blocked: u64,
    /// Events of the queue.
    pub events: u64,
    /// Facts that the checks looked at.
    pub facts: u64,
    /// Virtual time.
    pub virtual_us: u64,
    /// Runs by the number of their faults.
    pub faults: BTreeMap<u32, u64>,
    /// Faults by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Seeds that failed, in the order in which they were found.
    pub found: Vec<Found>,
    /// How long it took.
    pub took: Duration,
    /// How much of a core this process has used meanwhile; zero where the system does not say.
    pub cpu: Duration,
    said: Duration,
}

impl Sum {
    /// Runs that have ended.
    pub fn runs(&self) -> u64 {
        self.good + self.blocked + self.found.len() as u64
    }

    /// One line: speed and verdicts.
    pub fn line(&self) -> String {
        let seconds = self.took.as_secs_f64().max(1e-9);
        let runs = self.runs();
        format!(
            "{runs} runs in {seconds:.1} s: {} good, {} blocked on purpose, {} bad; {:.0} runs/min, {:.0} events/s, {:.0} facts/s, {:.0} times real time",
            self.good,
            self.blocked,
            self.found.len(),
            runs as f64 / seconds * 60.0,
            self.events as f64 / seconds,
            self.facts as f64 / seconds,
            self.virtual_us as f64 / 1e6 / seconds,
        )
    }

    /// How many faults the runs had, and of which kinds.
    pub fn faults(&self) -> String {
        let per_run: Vec<String> =
            self.faults.iter().map(|(faults, runs)| format!("{faults}: {runs}")).collect();
        let kinds: Vec<String> =
            self.kinds.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
        format!("runs by number of faults: {}\nfaults: {}", per_run.join(", "), kinds.join(", "))
    }
}

/// Runs the seeds; the first violation ends it unless told otherwise.
pub fn campaign(campaign: &Campaign) -> Sum {
    let begun = Instant::now();
    let before = cpu();
    let next = AtomicU64::new(campaign.seeds.start);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..campaign.jobs.max(1) {
            scope.spawn(|| job(campaign, &next, &sum, (begun, before)));
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.took = begun.elapsed();
    sum.cpu = cpu().saturating_sub(before);
    sum
}

/// Processor time of this process, in the hundredths of a second in which Linux counts it.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let numbers = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = numbers.skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// What `at_most` counts: processor time, so that a busy machine hunts as far as an idle one; else time.
fn spent(begun: Instant, before: Duration) -> Duration {
    let spent = cpu().saturating_sub(before);
    if spent.is_zero() { begun.elapsed() } else { spent }
}

fn job(
    campaign: &Campaign,
    next: &AtomicU64,
    sum: &Mutex<Sum>,
    (begun, before): (Instant, Duration),
) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= campaign.seeds.end
            || campaign.at_most.is_some_and(|most| spent(begun, before) > most)
        {
            return;
        }
        let mut report = run(seed, &campaign.options);
        if campaign.twice {
            let again = run(seed, &campaign.options);
            if again != report {
                let what = format!("two runs differ: {:016x} {:016x}", report.hash, again.hash);
                let at = report.virtual_us;
                report.verdict = Verdict::Bad(Violation { id: "one seed, one trace", at, what });
            }
        }
        if add(sum, seed, report, campaign, begun) && !campaign.keep_going {
            next.store(campaign.seeds.end, Ordering::Relaxed);
        }
    }
}

/// Counts a run; true if it failed.
fn add(sum: &Mutex<Sum>, seed: u64, report: Report, campaign: &Campaign, begun: Instant) -> bool {
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    sum.events += report.events;
    sum.facts += report.facts;
    sum.virtual_us += report.virtual_us;
    for (kind, times) in &report.kinds {
        *sum.kinds.entry(kind).or_default() += u64::from(*times);
    }
    let bad = match report.verdict {
        Verdict::Bad(violation)
            if campaign.only.is_empty() || campaign.only.contains(&violation.id) =>
        {
            if campaign.progress {
                let replay = replay(seed, &campaign.options);
                print::line(format_args!(
                    "seed {seed}: VIOLATION of {violation}\n  replay: {replay}"
                ));
            }
            sum.found.push(Found { seed, violation, after: begun.elapsed() });
            true
        }
        Verdict::Blocked(_) => {
            sum.blocked += 1;
            *sum.faults.entry(report.faults).or_default() += 1;
            false
        }
        Verdict::Good | Verdict::Bad(_) => {
            sum.good += 1;
            *sum.faults.entry(report.faults).or_default() += 1;
            false
        }
    };
    sum.took = begun.elapsed();
    if campaign.progress && sum.took - sum.said >= PROGRESS {
        sum.said = sum.took;
        let seeds: Vec<String> = sum.found.iter().map(|found| found.seed.to_string()).collect();
        let left = campaign.seeds.end.saturating_sub(campaign.seeds.start) - sum.runs();
        print::progress(format_args!(
            "{}, {left} left; bad seeds: {}",
            sum.line(),
            if seeds.is_empty() { "none".into() } else { seeds.join(" ") }
        ));
    }
    bad
}

/// The one command that shows a run again.
pub fn replay(seed: u64, options: &Options) -> String {
    let mut command = String::from("cargo run --release -p sim");
    if options.faulty.is_some() {
        command += " --features sabotage";
    }
    command += &format!(" -- replay {seed}");
    if options.duration_us != crate::params::DURATION_US {
        command += &format!(" --duration {}s", options.duration_us / 1_000_000);
    }
    if let Some(nodes) = options.nodes {
        command += &format!(" --nodes {nodes}");
    }
    if options.crowd > 0 {
        command += &format!(" --crowd {}", options.crowd);
    }
    if options.database {
        command += " --database";
    }
    #[cfg(feature = "sabotage")]
    if let Some(rule) = options.faulty {
        command += &format!(" --faulty {}", rule.name());
    }
    command + " --trace"
}
