//! The engine's speed (POLICY.md section 5): `cargo bench -p cib --bench policy`. Prints tables of CPU seconds; no test
//! depends on them, and on a busy machine ratios tell more than figures.
//!
//! Needs the suite's folder (`PALISADE_SCHEDULER_SUITE`, or beside the workspace) and Python for its `gen.py`. With
//! `PALISADE_BIN` the suite is also run one process per case; with `crm_simulate` installed it is run beside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use policy::{Model, model::OperationRecord};

/// Nodes, instances, state of `gen.py`, target in seconds of CPU.
const SIZES: [(u32, u32, &str, Option<f64>); 8] = [
    (16, 200, "nodefail", Some(0.010)),
    (32, 1000, "fresh", Some(0.100)),
    (32, 1000, "steady", Some(0.100)),
    (32, 1000, "nodefail", Some(0.100)),
    (48, 2000, "fresh", None),
    (48, 2000, "steady", None),
    (48, 2000, "nodefail", None),
    (64, 4000, "nodefail", Some(1.5)),
];

/// `crm_simulate` takes minutes beyond this many nodes times instances.
const BESIDE_MAX: u32 = 32_000;

fn main() {
    // `cargo test --benches` asks whether it runs, not how fast
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let Some(suite) = suite() else {
        println!("NOT RUN: no scheduler suite; set PALISADE_SCHEDULER_SUITE to its folder");
        return;
    };
    let beside = Command::new("crm_simulate").arg("--version").output().is_ok();
    if !beside {
        println!("crm_simulate is not installed (Debian: pacemaker-cli-utils); ours stands alone");
    }
    whole_suite(&suite, beside);
    generated(&suite, beside);
}

fn suite() -> Option<PathBuf> {
    let folder = std::env::var_os("PALISADE_SCHEDULER_SUITE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/scheduler-suite")),
        PathBuf::from,
    );
    folder.join("xml").is_dir().then_some(folder)
}

fn whole_suite(suite: &Path, beside: bool) {
    let mut files: Vec<PathBuf> = fs::read_dir(suite.join("xml"))
        .expect("the suite can be read")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "xml"))
        .collect();
    files.sort();
    let texts: Vec<String> =
        files.iter().map(|f| fs::read_to_string(f).expect("cases are UTF-8")).collect();
    let (reading, models) = measured(|| {
        texts.iter().map(|t| cib::read(t).expect("a case").model).collect::<Vec<Model>>()
    });
    let (planning, planned) =
        best(|| models.iter().filter(|m| policy::schedule(m).is_ok()).count());
    let (explaining, _) = best(|| models.iter().filter(|m| policy::explain(m).is_ok()).count());
    println!("\nthe suite: {} cases, {planned} of them planned", files.len());
    println!("  in process, reading           {reading:8.3} s");
    println!("  in process, planning          {planning:8.3} s   (target 0.1 s)");
    println!("  in process, planning and why  {explaining:8.3} s");
    let mut ours = None;
    if let Some(program) = std::env::var_os("PALISADE_BIN") {
        let program = PathBuf::from(program);
        let seconds = children(|| {
            for file in &files {
                run(Command::new(&program)
                    .args(["simulate", "--output", "json", "--cib"])
                    .arg(file));
            }
        });
        println!("  one process per case, ours    {seconds:8.2} s   (target 2 s)");
        ours = Some(seconds);
    }
    if beside {
        let seconds = children(|| {
            for file in &files {
                run(Command::new("crm_simulate").args(["-S", "-Q", "-x"]).arg(file));
            }
        });
        let ratio = ours.map(|o| format!("   ({:.1} times ours)", seconds / o)).unwrap_or_default();
        println!("  one process per case, theirs  {seconds:8.2} s{ratio}");
    }
}

fn generated(suite: &Path, beside: bool) {
    println!(
        "\n  nodes x instances  state      planning      target    peak   crm_simulate (times ours)"
    );
    for (nodes, instances, state, target) in SIZES {
        let Some(text) = generate(suite, nodes, instances, state) else {
            println!("  gen.py could not be run: is python3 installed?");
            return;
        };
        let model = cib::read(&text).expect("what gen.py writes").model;
        forget_peak();
        let base = status_kib("VmRSS:");
        let (seconds, ()) = best(|| drop(policy::schedule(&model).expect("a plan")));
        let peak = status_kib("VmHWM:").saturating_sub(base) / 1024;
        let goal = target.map_or_else(|| "-".to_owned(), |t| format!("{:.0} ms", t * 1000.0));
        let label = format!("{nodes} x {instances}");
        print!("  {label:17}  {state:9}  {:7.1} ms  {goal:>8}  {peak:4} MiB", seconds * 1000.0);
        if beside && nodes * instances <= BESIDE_MAX {
            let file =
                std::env::temp_dir().join(format!("palisade-bench-{}.xml", std::process::id()));
            fs::write(&file, &text).expect("the temporary folder can be written");
            let theirs =
                children(|| run(Command::new("crm_simulate").args(["-S", "-Q", "-x"]).arg(&file)));
            fs::remove_file(&file).expect("it was just written");
            print!("   {theirs:6.2} s ({:.0}, with reading)", theirs / seconds);
        }
        println!();
        if (nodes, state) == (32, "steady") {
            one_event(&model);
        }
    }
}

/// One monitor fails in a cluster at rest: the whole is planned anew.
fn one_event(steady: &Model) {
    let mut model = steady.clone();
    let history = model.nodes.iter_mut().find_map(|n| {
        n.history.iter_mut().find(|h| h.operations.iter().any(|op| op.interval_ms > 0))
    });
    let history = history.expect("a steady cluster runs something");
    history.operations.push(OperationRecord {
        id: format!("{}_last_failure_0", history.resource),
        operation: "monitor".to_owned(),
        interval_ms: 10_000,
        call_id: 1000,
        exit_code: 1,
        expected_code: Some(0),
        ..OperationRecord::default()
    });
    let (seconds, actions) = best(|| policy::schedule(&model).expect("a plan").actions.len());
    println!(
        "  32 x 1000          one event  {:7.1} ms      5 ms  ({actions} actions)",
        seconds * 1000.0
    );
}

fn generate(suite: &Path, nodes: u32, instances: u32, state: &str) -> Option<String> {
    let output = Command::new("python3")
        .arg(suite.join("gen.py"))
        .args([&nodes.to_string(), &instances.to_string(), "--constraints", "--state", state])
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

fn run(command: &mut Command) {
    // some cases end with an error in the other program: what it costs is measured all the same
    let _ =
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it can be started");
}

/// The mean of so many runs that the kernel's clock (it counts at its ticks) is good to a few per cent; the least of
/// three such means.
fn best<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    const LONG_ENOUGH: f64 = 0.2;
    let (mut least, mut result) = (f64::MAX, work());
    for _ in 0..3 {
        let (before, mut runs) = (own_cpu(), 0.0);
        while own_cpu() - before < LONG_ENOUGH {
            result = work();
            runs += 1.0;
        }
        least = least.min((own_cpu() - before) / runs);
    }
    (least, result)
}

fn measured<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = own_cpu();
    let result = work();
    (own_cpu() - before, result)
}

/// CPU seconds of this thread, from the kernel's count of nanoseconds.
fn own_cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.expect("a number") / 1e9
}

/// CPU seconds of the children that end meanwhile; the kernel counts in hundredths.
fn children(work: impl FnOnce()) -> f64 {
    let count = || {
        let text = fs::read_to_string("/proc/self/stat").expect("Linux");
        let fields: Vec<&str> =
            text.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        // cutime and cstime, fields 16 and 17 of proc(5)
        fields[13..15].iter().map(|f| f.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
    };
    let before = count();
    work();
    count() - before
}

fn forget_peak() {
    // 5 resets the peak (proc(5)); where that is not allowed the peak is that of the whole run
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status_kib(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with(key)).expect("a known key");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}
