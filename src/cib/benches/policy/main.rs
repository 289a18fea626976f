//! The engine's speed beside Pacemaker's (POLICY.md section 5), in one run: `cargo bench -p cib --bench policy`.
//!
//! Prints the machine and tables in Markdown (docs/speed.md keeps one): CPU seconds, the median of the runs that are named
//! beside it. No test depends on them; on a busy machine ratios tell more than figures. Needs the suite's folder
//! (`PALISADE_SCHEDULER_SUITE`, or beside the workspace) and Python for its `gen.py`. Processes are compared with processes
//! when there is a release build of `palisade` (`PALISADE_BIN`, or beside this program); Pacemaker's figures are there when
//! `crm_simulate` is (Debian: pacemaker-cli-utils). Both say so when they are missing. Words after `--` choose parts:
//! `suite`, `sizes`, `events`.

mod measure;
mod peer;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use measure::{Timed, forget_peak, kib, timed};
use peer::Peer;
use policy::{Model, Scheduler, model::Node, model::OperationRecord};

/// Nodes, instances, state of `gen.py`, target in seconds of CPU, and whether the peer is run beside (it takes ten
/// minutes for 48 x 2000 from nothing).
const SIZES: [(u32, u32, &str, Option<f64>, bool); 8] = [
    (16, 200, "nodefail", Some(0.010), true),
    (32, 1000, "fresh", Some(0.100), true),
    (32, 1000, "steady", Some(0.100), true),
    (32, 1000, "nodefail", Some(0.100), true),
    (48, 2000, "fresh", None, false),
    (48, 2000, "steady", None, true),
    (48, 2000, "nodefail", None, true),
    (64, 4000, "nodefail", Some(1.5), true),
];

/// What fails is said, with the part that it ended.
type Done<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Done {
    // `cargo test --benches` asks whether it runs, not how fast
    let words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--bench") {
        return Ok(());
    }
    let Some(suite) = suite() else {
        println!("NOT RUN: no scheduler suite; set PALISADE_SCHEDULER_SUITE to its folder");
        return Ok(());
    };
    let parts: Vec<&str> =
        words.iter().filter(|w| !w.starts_with("--")).map(String::as_str).collect();
    let asked = |part: &str| parts.is_empty() || parts.contains(&part);
    let peer = Peer::find();
    let ours = program();
    machine(peer.as_ref(), ours.as_deref());
    if asked("suite") {
        whole_suite(&suite, peer.as_ref(), ours.as_deref())?;
    }
    if asked("sizes") {
        generated(&suite, peer.as_ref(), ours.as_deref())?;
    }
    if asked("events") {
        events(&suite)?;
    }
    Ok(())
}

fn suite() -> Option<PathBuf> {
    let folder = std::env::var_os("PALISADE_SCHEDULER_SUITE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/scheduler-suite")),
        PathBuf::from,
    );
    folder.join("xml").is_dir().then_some(folder)
}

/// A release build of the command line.
fn program() -> Option<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("palisade"));
    let path = std::env::var_os("PALISADE_BIN").map(PathBuf::from).or_else(beside)?;
    path.is_file().then_some(path)
}

fn machine(peer: Option<&Peer>, ours: Option<&Path>) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("an unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    println!("Machine: {model}, {cores} cores, Linux {}, load {load} at the start.", kernel.trim());
    match peer {
        Some(peer) => println!("Peer: crm_simulate {}, schedule only (`-R -Q`).", peer.version()),
        None => println!(
            "Peer: crm_simulate is not installed (Debian: pacemaker-cli-utils); ours stands alone."
        ),
    }
    if ours.is_none() {
        println!(
            "Ours as a process: not measured, there is no release build of palisade; set PALISADE_BIN."
        );
    }
}

/// `1.234 s (5)` and how many times ours it is.
fn beside(theirs: Option<Timed>, ours: Option<Timed>) -> String {
    match (theirs, ours) {
        (None, _) => "- | -".to_owned(),
        (Some(theirs), None) => format!("{theirs} | -"),
        (Some(theirs), Some(ours)) => {
            format!("{theirs} | {:.0}", theirs.seconds / ours.seconds.max(1e-9))
        }
    }
}

fn told(timed: Option<Timed>) -> String {
    timed.map_or_else(|| "-".to_owned(), |timed| timed.to_string())
}

fn whole_suite(suite: &Path, peer: Option<&Peer>, ours: Option<&Path>) -> Done {
    let folder = suite.join("xml");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "xml"))
        .collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
    let models: Vec<Model> =
        texts.iter().map(|text| Ok(cib::read(text)?.model)).collect::<Done<_>>()?;
    let planned = models.iter().filter(|m| policy::schedule(m).is_ok()).count();
    let reading = timed(5, || drop(texts.iter().map(|t| cib::read(t).is_ok()).collect::<Vec<_>>()));
    let planning = timed(9, || models.iter().for_each(|m| drop(policy::schedule(m))));
    let explaining = timed(5, || models.iter().for_each(|m| drop(policy::explain(m))));
    println!(
        "\n| the {} cases of the suite | target | ours (runs) | crm_simulate (runs) | times ours |",
        files.len()
    );
    println!("|---|---|---|---|---|");
    let theirs = peer.map(|peer| peer.in_process(&folder));
    println!(
        "| in process, no reading ({planned} planned, the rest refused) | 0.1 s | {planning} | {} |",
        beside(theirs, Some(planning))
    );
    println!("| in process, with all explanations | - | {explaining} | - | - |");
    println!("| reading | - | {reading} | - | - |");
    let each = |program: &Path, words: &[&str]| {
        measure::children(3, || files.iter().for_each(|file| run(program, words, file)))
    };
    let ours = ours.map(|program| each(program, &["simulate", "--output", "json", "--cib"]));
    let theirs = peer.map(|_| each(Path::new("crm_simulate"), peer::WORDS));
    println!("| one process per case | 2 s | {} | {} |", told(ours), beside(theirs, ours));
    Ok(())
}

fn generated(suite: &Path, peer: Option<&Peer>, program: Option<&Path>) -> Done {
    println!(
        "\n| nodes x resources | state | target | ours in process (runs) | peak | ours as a process (runs) | crm_simulate (runs) | times ours, process to process |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (nodes, instances, state, target, with_peer) in SIZES {
        let Some(text) = generate(suite, nodes, instances, state) else {
            println!("gen.py could not be run: is python3 installed?");
            return Ok(());
        };
        let model = cib::read(&text)?.model;
        forget_peak();
        let base = kib("VmRSS:");
        drop(policy::schedule(&model)?);
        let peak = kib("VmHWM:").saturating_sub(base) / 1024;
        let planning = timed(7, || drop(policy::schedule(&model)));
        let file = std::env::temp_dir().join(format!("palisade-bench-{}.xml", std::process::id()));
        fs::write(&file, &text)?;
        let process =
            |program: &Path, words: &[&str]| measure::children(3, || run(program, words, &file));
        let ours = program.map(|p| process(p, &["simulate", "--output", "json", "--cib"]));
        let theirs =
            peer.filter(|_| with_peer).map(|_| process(Path::new("crm_simulate"), peer::WORDS));
        fs::remove_file(&file)?;
        let goal = target.map_or_else(|| "-".to_owned(), |t| format!("{:.0} ms", t * 1000.0));
        println!(
            "| {nodes} x {instances} | {state} | {goal} | {planning} | {peak} MiB | {} | {} |",
            told(ours),
            beside(theirs, ours)
        );
    }
    Ok(())
}

/// What the coordinator does after an event: the last model with one thing changed, a scheduler that knows the last one.
fn events(suite: &Path) -> Done {
    println!("\n| one event at 32 x 1000 | target | remembered (runs) | from scratch (runs) |");
    println!("|---|---|---|---|");
    let Some(text) = generate(suite, 32, 1000, "steady") else { return Ok(()) };
    let steady = cib::read(&text)?.model;
    let count = steady.nodes.len();
    for (name, event) in [
        ("a monitor fails", fail as fn(&mut Model, usize) -> Done),
        ("a node is lost", |model, at| {
            model.nodes[at].state = Node::lost("").state;
            Ok(())
        }),
    ] {
        let mut models: Vec<Model> = vec![steady.clone(); count];
        for (at, model) in models.iter_mut().enumerate() {
            event(model, at)?;
            // Once for each that is timed below: a plan that fails is quick.
            drop(policy::schedule(model)?);
        }
        let mut scheduler = Scheduler::default();
        drop(scheduler.schedule(&steady));
        let mut at = 0;
        // each time another node, so that the last event is taken back as well
        let remembered = timed(9, || {
            at = (at + 1) % count;
            drop(scheduler.schedule(&models[at]));
        });
        let scratch = timed(9, || {
            at = (at + 1) % count;
            drop(policy::schedule(&models[at]));
        });
        println!("| {name} | 5 ms | {remembered} | {scratch} |");
    }
    Ok(())
}

fn fail(model: &mut Model, at: usize) -> Done {
    let watched = model.nodes[at]
        .history
        .iter_mut()
        .find(|h| h.operations.iter().any(|op| op.interval_ms > 0))
        .ok_or("a steady cluster runs something on every node: gen.py wrote another one")?;
    watched.operations.push(OperationRecord {
        id: format!("{}_last_failure_0", watched.resource),
        operation: "monitor".to_owned(),
        interval_ms: 10_000,
        call_id: 1000,
        exit_code: 1,
        expected_code: Some(0),
        ..OperationRecord::default()
    });
    Ok(())
}

fn generate(suite: &Path, nodes: u32, instances: u32, state: &str) -> Option<String> {
    let output = Command::new("python3")
        .arg(suite.join("gen.py"))
        .args([&nodes.to_string(), &instances.to_string(), "--constraints", "--state", state])
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

fn run(program: &Path, words: &[&str], file: &Path) {
    let mut command = Command::new(program);
    command.args(words).arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    // some cases end with an error in either program: what it costs is measured all the same
    // (and one that cannot be started was found a moment before: `program`, `Peer::find`)
    let _ = command.status();
}
