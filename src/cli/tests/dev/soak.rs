//! A box in rough hands for long: a thousand random operations, and fifty deaths of the box itself. Both print the seed;
//! `PALISADE_SOAK_SEED`, `PALISADE_SOAK_OPERATIONS` and `PALISADE_SOAK_KILLS` choose other ones.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base::SplitMix64;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

use crate::boxed::{
    Running, address, alone, palisade, served_by, status, until_within, whole, within_runtime,
};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// For everything to be ready and served again once nobody does harm any more: a machine that is out is let in when the
/// deadlines of its incident are over (about 20 s), and each of the three may have one open.
const CALM_MAX: Duration = Duration::from_secs(120);
/// Samples over a run; a third of them is warming up, the rest is measured.
const SAMPLES: u64 = 24;
/// Growth with each operation at most, as the median of the slopes between any two samples: what is left behind at each operation
/// shows between almost all of them, what grows in one step (a table that doubles, a break that the allocator moves) between
/// few. One object, descriptor or thread that is left behind at each operation is several times that; so is one process at
/// every fiftieth.
const RSS_BYTES_MAX: f64 = 1024.0;
/// Steps are bounded all the same: what the second half of a run may hold more than the first ever did.
const RSS_STEPS_MAX: u64 = 4 << 20;
const DESCRIPTORS_MAX: f64 = 0.1;
const THREADS_MAX: f64 = 0.02;
const PROCESSES_MAX: f64 = 0.01;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Printed, so that what was found can be had again as far as a clock lets it.
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::from(now.expect("after 1970").subsec_nanos());
    let seed = number("PALISADE_SOAK_SEED", now);
    println!("seed: PALISADE_SOAK_SEED={seed}");
    seed
}

/// Stays when the test fails: what is found once in an hour has to be looked at.
fn kept() -> PathBuf {
    let folder = tempfile::tempdir().expect("a folder").keep();
    println!("in {}, which stays if this fails", folder.display());
    folder
}

fn pick<'a, T: ?Sized>(rng: &mut SplitMix64, all: &[&'a T]) -> &'a T {
    all[usize::try_from(rng.below(all.len() as u64)).expect("small")]
}

/// As `palisade dev VERB NODE` does it, without its measuring of a gap.
fn operate(dir: &Path, verb: &str, node: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(dir.join("box.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(40)))?;
        stream.write_all(format!("{}\n", json!({"do": verb, "node": node})).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    };
    let line = ask().expect("the box answers");
    let told: Value = serde_json::from_str(&line).expect("JSON");
    match (told["done"].as_str(), told["refused"].as_str()) {
        (Some(done), _) => Ok(done.to_owned()),
        (_, Some(why)) => Err(why.to_owned()),
        _ => panic!("neither done nor refused: {line}"),
    }
}

/// What is held at one moment by the box, and by all that is below it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    operations: u64,
    /// Of `rss_bytes`, what lies between the program and its break: small things, and tables that double.
    heap_bytes: u64,
    /// Of the box; anonymous, so that pages of the program itself do not count.
    rss_bytes: u64,
    descriptors: u64,
    threads: u64,
    below: u64,
    below_descriptors: u64,
    below_threads: u64,
}

/// Threads for blocking calls end when they had nothing to do for ten seconds.
const IDLE_MAX: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Sample {
    /// At rest: `threads` is the least number that was seen in this run. What the stack of each idle one holds (400 KiB) is
    /// no leak; with six to fourteen of them, as one came upon them, it was more than all that grew.
    fn take(operations: u64, running: &Running, threads_least: u64) -> Self {
        let begun = Instant::now();
        while threads(running.pid()).expect("it lives") > threads_least
            && begun.elapsed() < IDLE_MAX
        {
            std::thread::sleep(LOOK_EVERY);
        }
        // The least of some looks: what is under way just then is no leak.
        let looks = (0..5).map(|look| {
            if look > 0 {
                std::thread::sleep(Duration::from_millis(200));
            }
            let below = running.below();
            let sum = |of: fn(i32) -> Option<u64>| below.iter().filter_map(|p| of(p.pid)).sum();
            Self {
                operations,
                heap_bytes: heap_bytes(running.pid()).expect("it lives"),
                rss_bytes: rss_bytes(running.pid()).expect("it lives"),
                descriptors: descriptors(running.pid()).expect("it lives"),
                threads: threads(running.pid()).expect("it lives"),
                below: below.len() as u64,
                below_descriptors: sum(descriptors),
                below_threads: sum(threads),
            }
        });
        let least = looks.reduce(|a, b| Self {
            operations,
            heap_bytes: a.heap_bytes.min(b.heap_bytes),
            rss_bytes: a.rss_bytes.min(b.rss_bytes),
            descriptors: a.descriptors.min(b.descriptors),
            threads: a.threads.min(b.threads),
            below: a.below.min(b.below),
            below_descriptors: a.below_descriptors.min(b.below_descriptors),
            below_threads: a.below_threads.min(b.below_threads),
        });
        least.expect("five looks")
    }
}

fn proc_status(pid: i32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn rss_bytes(pid: i32) -> Option<u64> {
    Some(proc_status(pid, "RssAnon:")? * 1024)
}

fn heap_bytes(pid: i32) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let (_, heap) = maps.split_once("[heap]\n")?;
    let line = heap.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Memory of each part of each machine: `ring`, `executor` and so on, all machines together. They live from one power cut
/// to the next, so nothing is asked of it: printed to see whose it is that grows.
fn by_part(running: &Running) -> BTreeMap<String, u64> {
    let mut parts = BTreeMap::new();
    for process in running.below() {
        let command = fs::read_to_string(format!("/proc/{}/cmdline", process.pid));
        let command = command.unwrap_or_default();
        let words = command.split('\0').skip(1).filter(|word| !word.starts_with(['-', '/']));
        let name: Vec<&str> = words.take(2).filter(|word| !NODES.contains(word)).collect();
        *parts.entry(name.join(" ")).or_default() += rss_bytes(process.pid).unwrap_or(0) >> 10;
    }
    parts
}

fn threads(pid: i32) -> Option<u64> {
    proc_status(pid, "Threads:")
}

fn descriptors(pid: i32) -> Option<u64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

/// What of a sample is measured.
type Count = fn(&Sample) -> u64;

/// Growth with each operation: the median of the slopes between any two samples.
fn slope(samples: &[Sample], of: Count) -> f64 {
    let mut slopes = Vec::new();
    for (at, a) in samples.iter().enumerate() {
        for b in &samples[at + 1..] {
            #[expect(clippy::cast_precision_loss, reason = "counts and bytes of one process")]
            let (more, after) = (of(b) as f64 - of(a) as f64, (b.operations - a.operations) as f64);
            slopes.push(more / after);
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().expect("two samples at least")
}

#[test]
fn a_leak_is_told_from_a_step() {
    let sample = |operations: u64, rss_bytes: u64| Sample {
        operations,
        heap_bytes: 0,
        rss_bytes,
        descriptors: 0,
        threads: 0,
        below: 0,
        below_descriptors: 0,
        below_threads: 0,
    };
    let noise = |n: u64| n * 7919 % 40_000;
    let leak: Vec<Sample> = (0..16).map(|n| sample(40 * n, 40 * n * 2048 + noise(n))).collect();
    assert!(slope(&leak, |s| s.rss_bytes) > 1.5 * RSS_BYTES_MAX);
    let step: Vec<Sample> =
        (0..16).map(|n| sample(40 * n, noise(n) + u64::from(n > 12) * (2 << 20))).collect();
    assert!(slope(&step, |s| s.rss_bytes) < 0.5 * RSS_BYTES_MAX);
}

/// The box as it is measured. The allocator keeps what was freed, for each of up to sixteen arenas as much as that one ever
/// needed at once; threads come and go between them, so that a box took 17 MiB with one, 22 MiB with sixteen after 12,000
/// writes, and more only because another arena had had its turn. With one arena what is held is what is seen.
const ONE_ARENA: [(&str, &str); 1] = [("MALLOC_ARENA_MAX", "1")];

/// Changes that fill the API server's window of past changes (4 MiB of text, each counted as it was and as it became).
const WINDOW_CHANGES: u64 = 2000;

/// What is kept on purpose, and up to a limit, is there from the beginning: 180 operations brought 1.4 MiB of past changes
/// otherwise, four fifths of all that grew.
fn fill_the_window(dir: &Path) {
    within_runtime(async {
        let witness = witness(dir).await.expect("it is ready");
        for number in 0..WINDOW_CHANGES {
            // As long as what a box writes of itself.
            let text = format!("{number:>1500}");
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "witness"},
                "data": {"number": number.to_string(), "text": text},
            });
            let params = PatchParams::apply("soak").force();
            witness.patch("witness", &params, &Patch::Apply(&object)).await.expect("written");
        }
    });
}

/// Closed records of fencing that are kept of each member (CLUSTER.md section 6), with room for those of the run.
const RECORDS_KEPT: u32 = 100;

/// These are kept on purpose as well, by the API server and by each of three agents that watch it: a run of 1,000 operations
/// began with none, and its agents grew by 4 KiB with each operation.
fn fill_the_records(dir: &Path) {
    within_runtime(async {
        let client = api::client::connect(Some(&dir.join("kubeconfig"))).await.expect("ready");
        let kind = GroupVersionKind::gvk("palisade.dev", "v1alpha1", "FencingOperation");
        let records: Api<DynamicObject> =
            Api::namespaced_with(client, "palisade", &ApiResource::from_gvk(&kind));
        for (number, node) in (1_u32..).zip(NODES) {
            for record in 1..=RECORDS_KEPT {
                let (name, incident) = (format!("{node}-1.{record:x}"), format!("1.{record:x}"));
                let head = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "FencingOperation",
                    "metadata": {"name": name}});
                let mut object = head.clone();
                object["spec"] = json!({"clusterRef": {"name": "quickstart"}, "node": node,
                    "nodeId": number, "incident": incident});
                let params = PatchParams::apply("soak").force();
                records.patch(&name, &params, &Patch::Apply(&object)).await.expect("made");
                let mut closed = head;
                // as long as what the coordinator says of one
                closed["status"] = json!({"phase": "Closed", "attempts": 1, "executor": node,
                    "evidence": {"kind": "VerifiedOff"}});
                records.patch_status(&name, &params, &Patch::Apply(&closed)).await.expect("closed");
            }
        }
    });
}

/// Nobody does harm any more, and a person switches on what is off: then all is as at the beginning.
fn calm(dir: &Path) -> Duration {
    let begun = Instant::now();
    let mut mended: Option<Instant> = None;
    let what = "all machines are there, and the address is served";
    until_within(what, CALM_MAX, || {
        // Again and again: a machine may be fenced for what was done to it before.
        if mended.is_none_or(|at| at.elapsed() > Duration::from_secs(2)) {
            for node in NODES {
                for verb in ["heal", "thaw", "start"] {
                    may_be_refused(verb, operate(dir, verb, node));
                }
            }
            mended = Some(Instant::now());
        }
        let served = whole(dir, &NODES) && served_by(address(dir)).is_some();
        if !served && begun.elapsed() + Duration::from_millis(200) > CALM_MAX {
            for node in NODES {
                eprintln!("{node}: {:#?}", status(dir, node));
            }
        }
        served.then_some(())
    });
    begun.elapsed()
}

/// The state of the machine forbids it, and the box says so; anything else is a fault.
fn may_be_refused(verb: &str, told: Result<String, String>) {
    if let Err(why) = told {
        let plain = ["is dead already", "is dead: ", " runs"].iter().any(|text| why.contains(text));
        assert!(plain, "{verb}: {why}");
    }
}

#[test]
#[ignore = "half an hour: cargo test -p cli --test dev -- --ignored --nocapture a_thousand"]
fn a_thousand_random_operations_leave_nothing_behind_and_nothing_stuck() {
    let _alone = alone();
    let mut rng = SplitMix64::new(seed());
    let operations = number("PALISADE_SOAK_OPERATIONS", 1000);
    assert!(operations >= SAMPLES, "too few to measure anything");
    let folder = kept();
    let dir = folder.join("box");
    let running = Running::start_with(&dir, &ONE_ARENA);
    running.wait_ready(&dir);
    fill_the_records(&dir);
    fill_the_window(&dir);
    let (mut samples, mut slowest, mut harm) = (Vec::new(), Duration::ZERO, 0);
    let begun = Instant::now();
    for done in 1..=operations {
        let verbs = ["kill", "start", "start", "freeze", "thaw", "isolate", "heal"];
        let verb = pick(&mut rng, &verbs);
        let told = operate(&dir, verb, pick(&mut rng, &NODES));
        harm += u64::from(told.is_ok());
        may_be_refused(verb, told);
        std::thread::sleep(Duration::from_millis(rng.below(800)));
        if done % (operations / SAMPLES) == 0 {
            let took = calm(&dir);
            slowest = slowest.max(took);
            let least = samples.iter().map(|sample: &Sample| sample.threads).min();
            let sample = Sample::take(done, &running, least.unwrap_or(0));
            let elapsed = begun.elapsed();
            let left = elapsed * u32::try_from(operations - done).expect("few")
                / u32::try_from(done).expect("few");
            println!(
                "{done} of {operations} after {} s, calm after {:.1} s; about {} s to go; {sample:?}; KiB below: {:?}",
                elapsed.as_secs(),
                took.as_secs_f64(),
                left.as_secs(),
                by_part(&running)
            );
            samples.push(sample);
        }
    }
    println!("{operations} operations, {harm} of them not refused; calm after {slowest:?} at most");
    let measured = &samples[samples.len() / 3..];
    let mut grew = Vec::new();
    let checks: [(&str, Count, f64); 6] = [
        ("bytes of memory", |s| s.rss_bytes, RSS_BYTES_MAX),
        ("descriptors", |s| s.descriptors, DESCRIPTORS_MAX),
        ("threads", |s| s.threads, THREADS_MAX),
        ("processes below", |s| s.below, PROCESSES_MAX),
        ("descriptors below", |s| s.below_descriptors, DESCRIPTORS_MAX),
        ("threads below", |s| s.below_threads, THREADS_MAX),
    ];
    for (what, of, max) in checks {
        let slope = slope(measured, of);
        println!("{what}: {slope:+.4} with each operation, {max} at most");
        if slope > max {
            grew.push(what);
        }
    }
    let (first, second) = measured.split_at(measured.len() / 2);
    let most = |half: &[Sample]| half.iter().map(|s| s.rss_bytes).max().unwrap_or(0);
    let steps = most(second).saturating_sub(most(first));
    println!("steps of memory: {steps} bytes in the second half, {RSS_STEPS_MAX} at most");
    if steps > RSS_STEPS_MAX {
        grew.push("bytes of memory, in steps");
    }
    let (_, described) = palisade(&["dev", "describe", "--dir"], &dir);
    assert!(described.contains("overlaps: 0"), "{described}");
    assert!(grew.is_empty(), "grew with every operation: {grew:?}");
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    drop(running);
    // What is on the disks after all that is whole, of the box as of its machines.
    let again = Running::start(&dir);
    again.wait_ready_within(&dir, CALM_MAX);
    assert!(read_number(&dir).is_some(), "the API server kept what it acknowledged");
    for node in NODES {
        let state = fs::read_dir(dir.join("machines").join(node).join("state")).expect("there");
        let names: Vec<_> = state.map(|entry| entry.expect("readable").file_name()).collect();
        let aside = names.iter().find(|name| name.to_string_lossy().contains(".corrupt-"));
        assert_eq!(aside, None, "a state file of {node} could not be believed: {names:?}");
    }
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    fs::remove_dir_all(folder).expect("removed");
}

/// Writes one number after the other into an object until the API goes away; what was acknowledged counts.
fn write_numbers(dir: &Path, acknowledged: &AtomicU64) -> Result<(), kube::Error> {
    within_runtime(async {
        let Some(witness) = witness(dir).await else { return Ok(()) };
        loop {
            let next = acknowledged.load(Ordering::SeqCst) + 1;
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "witness"},
                "data": {"number": next.to_string()},
            });
            let params = PatchParams::apply("soak").force();
            witness.patch("witness", &params, &Patch::Apply(&object)).await?;
            acknowledged.store(next, Ordering::SeqCst);
        }
    })
}

fn read_number(dir: &Path) -> Option<u64> {
    within_runtime(async {
        let witness = witness(dir).await?.get_opt("witness").await.ok()??;
        witness.data["data"]["number"].as_str()?.parse().ok()
    })
}

async fn witness(dir: &Path) -> Option<Api<DynamicObject>> {
    let client = api::client::connect(Some(&dir.join("kubeconfig"))).await.ok()?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    Some(Api::namespaced_with(client, "default", &resource))
}

/// A start of a box that died in whatever moment. A command of which nobody knows, since its sender died before it was
/// answered, is waited for as long as its FenceDevice says: 5 s in a box; all else that is not known is asked anew at once.
const START_MAX: Duration = Duration::from_secs(10);

fn ready_after(running: &Running, dir: &Path) -> Duration {
    let begun = Instant::now();
    running.wait_ready_within(dir, CALM_MAX);
    begun.elapsed()
}

#[test]
#[ignore = "ten minutes: cargo test -p cli --test dev -- --ignored --nocapture fifty"]
fn fifty_deaths_of_the_box_lose_nothing_that_was_acknowledged() {
    let _alone = alone();
    let mut rng = SplitMix64::new(seed());
    let kills = number("PALISADE_SOAK_KILLS", 50);
    let folder = kept();
    let dir = folder.join("box");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (mut was_ready, mut slowest) = (0, Duration::ZERO);
    for kill in 0..kills {
        let running = Running::start(&dir);
        // Every fifth comes up whole, and some trouble is under way when it dies; the others die on their way.
        if kill % 5 == 0 {
            slowest = slowest.max(ready_after(&running, &dir));
            was_ready += 1;
            let verb = pick(&mut rng, &["kill", "freeze", "isolate"]);
            may_be_refused(verb, operate(&dir, verb, pick(&mut rng, &NODES)));
        }
        let writer = {
            let (dir, acknowledged) = (dir.clone(), Arc::clone(&acknowledged));
            std::thread::spawn(move || {
                // Until the folder is there, and the API of this life, not of the last one.
                let until = Instant::now() + Duration::from_secs(2);
                while Instant::now() < until {
                    // It ends by an error: the API is not there yet, or no longer.
                    let _ = write_numbers(&dir, &acknowledged);
                    std::thread::sleep(Duration::from_millis(20));
                }
            })
        };
        std::thread::sleep(Duration::from_millis(rng.below(2500)));
        running.kill();
        writer.join().expect("it ends");
        if let Ok(plan) = fs::read(dir.join("box.json")) {
            serde_json::from_slice::<Value>(&plan).expect("whole");
        }
    }
    let running = Running::start(&dir);
    slowest = slowest.max(ready_after(&running, &dir));
    let (least, kept) = (acknowledged.load(Ordering::SeqCst), read_number(&dir));
    println!(
        "{kills} deaths, {was_ready} of them when ready; {least} writes acknowledged, {kept:?} is kept; ready after {slowest:?} at most"
    );
    assert!(slowest < START_MAX, "a start took {slowest:?}");
    assert!(least > kills, "hardly anything was written: {least}");
    // one more may have been written and not been acknowledged
    assert!(kept.is_some_and(|kept| kept >= least), "{kept:?} is kept of {least}");
    calm(&dir);
    let (_, described) = palisade(&["dev", "describe", "--dir"], &dir);
    assert!(described.contains("overlaps: 0"), "{described}");
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    fs::remove_dir_all(folder).expect("removed");
}
