//! `sim run`, `sim replay`, `sim hunt`.

use std::{ops::Range, process::ExitCode, time::Duration};

use sim::{
    Options, Verdict,
    campaign::{self, Campaign},
    print, run,
};

const USAGE: &str = "usage: sim run [--seeds A..B] [--duration 30s] [--jobs N] [--nodes 3|5] [--crowd N] [--database] [--twice] [--keep-going]
       sim replay SEED [--duration 30s] [--nodes 3|5] [--crowd N] [--database] [--trace] [--faulty RULE]
       sim hunt RULE|all [--seeds A..B] [--seconds 60] [--duration 30s] [--jobs N] [--nodes 3|5]
hunt and --faulty want a build with --features sabotage";

struct Arguments {
    campaign: Campaign,
    positional: Vec<String>,
    faulty: Option<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = words.split_first() else { return usage("no verb") };
    let mut arguments = match parse(rest) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error),
    };
    if let Some(name) = &arguments.faulty {
        match rule(name) {
            Ok(rule) => arguments.campaign.options.faulty = Some(rule),
            Err(error) => return usage(&error),
        }
    }
    match (verb.as_str(), &arguments.positional[..]) {
        ("run", []) => many(&arguments.campaign),
        ("hunt", [name]) => hunt(name, &arguments.campaign),
        ("replay", [seed]) => match seed.parse() {
            Ok(seed) => replay(seed, &arguments.campaign.options),
            Err(_) => usage("a seed is a number"),
        },
        _ => usage("unknown verb"),
    }
}

fn usage(error: &str) -> ExitCode {
    print::progress(format_args!("{error}\n{USAGE}"));
    ExitCode::from(2)
}

fn parse(words: &[String]) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        campaign: Campaign {
            options: Options::default(),
            seeds: 0..1000,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            twice: false,
            keep_going: false,
            only: Vec::new(),
            at_most: None,
            progress: true,
        },
        positional: Vec::new(),
        faulty: None,
    };
    let campaign = &mut arguments.campaign;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => campaign.seeds = range(value()?)?,
            "--duration" => campaign.options.duration_us = duration(value()?)?,
            "--jobs" => campaign.jobs = number(value()?)? as usize,
            "--nodes" => campaign.options.nodes = Some(number(value()?)? as usize),
            "--seconds" => campaign.at_most = Some(Duration::from_secs(number(value()?)?)),
            "--faulty" => arguments.faulty = Some(value()?.clone()),
            "--twice" => campaign.twice = true,
            "--keep-going" => campaign.keep_going = true,
            "--crowd" => campaign.options.crowd = number(value()?)? as usize,
            "--database" => campaign.options.database = true,
            "--trace" => campaign.options.trace = true,
            flag if flag.starts_with("--") => return Err(format!("unknown flag {flag}")),
            other => arguments.positional.push(other.to_string()),
        }
    }
    Ok(arguments)
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

#[cfg(feature = "sabotage")]
fn rule(name: &str) -> Result<base::faulty::Rule, String> {
    base::faulty::Rule::named(name).ok_or_else(|| {
        let names = base::faulty::Rule::ALL.map(base::faulty::Rule::name);
        format!("no faulty rule {name}; there are {}", names.join(" "))
    })
}

#[cfg(not(feature = "sabotage"))]
fn rule(name: &str) -> Result<base::faulty::Rule, String> {
    Err(format!("{name}: this build has no faulty rules; build with --features sabotage"))
}

fn replay(seed: u64, options: &Options) -> ExitCode {
    let begun = std::time::Instant::now();
    let report = run(seed, options);
    print::line(format_args!("seed {seed}: {}", verdict(&report.verdict)));
    print::line(format_args!(
        "trace {:016x}, {} events, {} facts, {} faults, {:.1} s virtual in {:?}",
        report.hash,
        report.events,
        report.facts,
        report.faults,
        report.virtual_us as f64 / 1e6,
        begun.elapsed()
    ));
    if matches!(report.verdict, Verdict::Bad(_)) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Good => "good".into(),
        Verdict::Blocked(reason) => format!("blocked on purpose: {reason}"),
        Verdict::Bad(violation) => format!("VIOLATION of {violation}"),
    }
}

fn many(campaign: &Campaign) -> ExitCode {
    let sum = campaign::campaign(campaign);
    print::line(format_args!("{}\n{}", sum.line(), sum.faults()));
    if sum.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Seeds until one finds the faulty rule by a check that means it.
#[cfg(feature = "sabotage")]
fn hunt(name: &str, campaign: &Campaign) -> ExitCode {
    let rules: Vec<base::faulty::Rule> = match name {
        "all" => sim::hunt::rules().collect(),
        name => match rule(name) {
            Ok(rule) => vec![rule],
            Err(error) => return usage(&error),
        },
    };
    let mut missed = 0;
    for rule in rules {
        let mut campaign = campaign.clone();
        campaign.options.faulty = Some(rule);
        campaign.only = sim::hunt::meant_by(rule).to_vec();
        campaign.progress = false;
        campaign.at_most.get_or_insert(Duration::from_secs(60));
        let sum = campaign::campaign(&campaign);
        let seconds = sum.took.as_secs_f64();
        match sum.found.first() {
            Some(found) => print::line(format_args!(
                "{:<32} seed {:>5} {:>6.1} s ({:.1} s of a core) {:>5} runs  {}",
                rule.name(),
                found.seed,
                found.after.as_secs_f64(),
                sum.cpu.as_secs_f64(),
                sum.runs(),
                found.violation
            )),
            None => {
                missed += 1;
                print::line(format_args!(
                    "{:<32} NOT FOUND in {} runs, {seconds:.1} s ({:.1} s of a core)",
                    rule.name(),
                    sum.runs(),
                    sum.cpu.as_secs_f64()
                ));
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "sabotage"))]
fn hunt(name: &str, _campaign: &Campaign) -> ExitCode {
    usage(&rule(name).err().unwrap_or_default())
}
