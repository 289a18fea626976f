//! `sim run`, `sim replay`, `sim hunt`.

use std::{
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use sim::{Options, Report, Verdict, run};

const USAGE: &str =
    "usage: sim run --seeds A..B [--duration 30s] [--jobs 2] [--nodes 3|5] [--twice] [--keep-going]
       sim replay SEED [--duration 30s] [--nodes 3|5] [--trace]
       sim hunt [--seeds A..B] [--duration 30s] [--jobs 2] [--nodes 3|5] [--only S3]";

struct Arguments {
    options: Options,
    seeds: Range<u64>,
    jobs: usize,
    twice: bool,
    keep_going: bool,
    only: Option<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = words.split_first() else { return usage("no verb") };
    let (positional, arguments) = match parse(rest) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error),
    };
    match (verb.as_str(), &positional[..]) {
        ("run", []) => many(&arguments, false),
        ("hunt", []) => many(&arguments, true),
        ("replay", [seed]) => match seed.parse() {
            Ok(seed) => replay(seed, &arguments.options),
            Err(_) => usage("a seed is a number"),
        },
        _ => usage("unknown verb"),
    }
}

fn usage(error: &str) -> ExitCode {
    eprintln!("{error}\n{USAGE}");
    ExitCode::from(2)
}

fn parse(words: &[String]) -> Result<(Vec<String>, Arguments), String> {
    let mut arguments = Arguments {
        options: Options { duration_us: 30_000_000, nodes: None, trace: false },
        seeds: 0..1000,
        jobs: 2,
        twice: false,
        keep_going: false,
        only: None,
    };
    let mut positional = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => arguments.seeds = range(value()?)?,
            "--duration" => arguments.options.duration_us = duration(value()?)?,
            "--jobs" => arguments.jobs = number(value()?)? as usize,
            "--nodes" => arguments.options.nodes = Some(number(value()?)? as usize),
            "--only" => arguments.only = Some(value()?.clone()),
            "--twice" => arguments.twice = true,
            "--keep-going" => arguments.keep_going = true,
            "--trace" => arguments.options.trace = true,
            flag if flag.starts_with("--") => return Err(format!("unknown flag {flag}")),
            other => positional.push(other.to_string()),
        }
    }
    Ok((positional, arguments))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn duration(text: &str) -> Result<u64, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text);
    Ok(number(seconds)? * 1_000_000)
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds read A..B")?;
    Ok(number(from)?..number(to)?)
}

fn replay(seed: u64, options: &Options) -> ExitCode {
    let begun = Instant::now();
    let report = run(seed, options);
    println!("seed {seed}: {}", verdict(&report.verdict));
    println!(
        "trace {:016x}, {} events, {} facts, {} faults, {:.1} s virtual in {:?}",
        report.hash,
        report.events,
        report.facts,
        report.faults,
        report.virtual_us as f64 / 1e6,
        begun.elapsed()
    );
    if matches!(report.verdict, Verdict::Bad(_)) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Good => "good".into(),
        Verdict::Blocked(reason) => format!("blocked on purpose: {reason}"),
        Verdict::Bad(violation) => format!("VIOLATION of {violation}"),
    }
}

/// What all jobs add up.
#[derive(Default)]
struct Sum {
    good: u64,
    blocked: u64,
    bad: u64,
    events: u64,
    facts: u64,
    faults: u64,
    few_faults: u64,
    virtual_us: u64,
    first: Option<u64>,
}

fn many(arguments: &Arguments, hunt: bool) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(arguments.seeds.start);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| job(arguments, hunt, &next, &sum, begun));
        }
    });
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runs = sum.good + sum.blocked + sum.bad;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{runs} runs in {seconds:.1} s: {} good, {} blocked on purpose, {} bad; {:.0} runs/min, {:.0} events/s, {:.0} facts/s, {:.0} times real time, {:.1} faults a run, {} runs with fewer than five",
        sum.good,
        sum.blocked,
        sum.bad,
        runs as f64 / seconds * 60.0,
        sum.events as f64 / seconds,
        sum.facts as f64 / seconds,
        sum.virtual_us as f64 / 1e6 / seconds,
        sum.faults as f64 / runs.max(1) as f64,
        sum.few_faults,
    );
    match (hunt, sum.first) {
        (true, Some(_)) | (false, None) => ExitCode::SUCCESS,
        (true, None) => {
            println!("not found");
            ExitCode::FAILURE
        }
        (false, Some(_)) => ExitCode::FAILURE,
    }
}

fn job(arguments: &Arguments, hunt: bool, next: &AtomicU64, sum: &Mutex<Sum>, begun: Instant) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= arguments.seeds.end {
            return;
        }
        let report = run(seed, &arguments.options);
        let mut bad = add(sum, seed, &report, arguments, begun);
        if arguments.twice {
            let again = run(seed, &arguments.options);
            if again != report {
                println!("seed {seed}: two runs differ: {:016x} {:016x}", report.hash, again.hash);
                bad = true;
            }
        }
        if bad && (hunt || !arguments.keep_going) {
            next.store(arguments.seeds.end, Ordering::Relaxed);
        }
    }
}

/// Counts a run; true if it is what was looked for.
fn add(
    sum: &Mutex<Sum>,
    seed: u64,
    report: &Report,
    arguments: &Arguments,
    begun: Instant,
) -> bool {
    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.events += report.events;
    sum.facts += report.facts;
    sum.faults += u64::from(report.faults);
    sum.few_faults += u64::from(report.faults < 5);
    sum.virtual_us += report.virtual_us;
    match &report.verdict {
        Verdict::Good => sum.good += 1,
        Verdict::Blocked(_) => sum.blocked += 1,
        Verdict::Bad(violation) => {
            if arguments.only.as_deref().is_some_and(|only| only != violation.id) {
                sum.good += 1;
                return false;
            }
            sum.bad += 1;
            sum.first.get_or_insert(seed);
            println!(
                "seed {seed} after {:.1} s: VIOLATION of {violation}\n  replay: cargo run --release -p sim -- replay {seed}{}",
                begun.elapsed().as_secs_f64(),
                flags(&arguments.options)
            );
            return true;
        }
    }
    false
}

/// What a replay needs to be the same run.
fn flags(options: &Options) -> String {
    let mut flags = String::new();
    if options.duration_us != 30_000_000 {
        flags += &format!(" --duration {}s", options.duration_us / 1_000_000);
    }
    if let Some(nodes) = options.nodes {
        flags += &format!(" --nodes {nodes}");
    }
    flags + " --trace"
}
