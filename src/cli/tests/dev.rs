//! A box as a person has it: from nothing to ready, a power failure of the machine that serves, the end. Needs no root; ends
//! everything by the ids that it recorded.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use drivers::process::{ProcessId, descendants};
use serde_json::Value;

const PALISADE: &str = env!("CARGO_BIN_EXE_palisade");
/// On a machine that compiles something else meanwhile.
const READY_MAX: Duration = Duration::from_secs(60);
const SERVED_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(10);

/// A running box; dropped, it is ended, and its machines with it.
struct Box_ {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Box_ {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(PALISADE)
            .args(["dev", "--boot-ms", "500", "--dir"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self { child, said }
    }

    fn wait_ready(&self, dir: &Path) {
        let said = self.said.recv_timeout(READY_MAX);
        if said.as_deref() != Ok("ready") {
            for node in ["n1", "n2", "n3"] {
                let log =
                    std::fs::read_to_string(dir.join("machines").join(node).join("agent.log"));
                eprintln!("{node}: {}", log.unwrap_or_default());
            }
            panic!("not ready: {said:?}");
        }
    }

    /// Everything below it, as it is now.
    fn below(&self) -> Vec<ProcessId> {
        descendants(self.child.id().try_into().expect("a pid"))
    }
}

impl Drop for Box_ {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn palisade(words: &[&str], dir: &Path) -> (bool, String) {
    let output = Command::new(PALISADE).args(words).arg(dir).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn address(dir: &Path) -> SocketAddr {
    let plan = std::fs::read(dir.join("box.json")).expect("there");
    let plan: Value = serde_json::from_slice(&plan).expect("JSON");
    let subnet = plan["subnet"].as_u64().and_then(|n| u8::try_from(n).ok()).expect("a number");
    SocketAddr::from(([127, 77, subnet, 250], 8080))
}

/// As curl would.
fn served_by(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("served by ")?.1.trim().to_owned())
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < SERVED_MAX, "{what}: not within {SERVED_MAX:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn gone(processes: &[ProcessId]) {
    let begun = Instant::now();
    while let Some(left) = processes.iter().find(|process| lives(process)) {
        assert!(begun.elapsed() < END_MAX, "{left:?} outlived its box");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// By pid and start time: a pid alone names nobody.
fn lives(process: &ProcessId) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)) else {
        return false;
    };
    let (_, rest) = stat.rsplit_once(')').expect("a stat line");
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    fields[0] != "Z" && fields[19] == process.start.to_string()
}

#[test]
fn a_box_comes_up_survives_its_own_death_and_the_power_failure_of_a_machine_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let mut first = Box_::start(&dir);
    first.wait_ready(&dir);
    let at = address(&dir);
    until("it is served", || served_by(at));
    // killed without a word, it leaves nothing behind
    let below = first.below();
    assert!(below.len() > 12, "agents of three machines at least: {}", below.len());
    first.child.kill().expect("killed");
    first.child.wait().expect("gone");
    gone(&below);

    let running = Box_::start(&dir);
    running.wait_ready(&dir);
    assert_eq!(address(&dir), at, "the same box");
    let holder = until("the same address is served", || served_by(at));

    let (ok, said) = palisade(&["dev", "kill", &holder, "--dir"], &dir);
    println!("{said}");
    assert!(ok && said.contains("its BMC still says on"), "{said}");
    let gap = said.split_once("no answer for ").and_then(|(_, rest)| rest.split(' ').next());
    let gap: u64 = gap.and_then(|ms| ms.parse().ok()).expect("the gap is said");
    assert!((50..20_000).contains(&gap), "a lost machine is noticed, and survived: {gap} ms");
    // a machine that is starved of processor time may lose a token more
    until("another machine serves", || served_by(at).filter(|by| *by != holder));

    // nothing was taken over without evidence
    until("its power was read as off", || {
        let (_, status) = palisade(&["status", "--output", "json", "--agent"], &dir);
        let status: Value = serde_json::from_str(status.lines().next()?).ok()?;
        let all = status["operations"].as_array()?;
        let proven = |operation: &&Value| {
            operation["node"] == holder.as_str() && !operation["evidence"].is_null()
        };
        all.iter().find(proven).map(drop)
    });
    let (ok, steps) = palisade(&["timeline", "--agent"], &dir);
    assert!(ok && steps.contains(" was heard last at ") && steps.contains("verify"), "{steps}");
    let (_, described) = palisade(&["dev", "describe", "--dir"], &dir);
    assert!(described.contains("overlaps: 0"), "{described}");

    let below = running.below();
    assert!(below.len() > 6, "agents and services of two machines at least: {}", below.len());
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    gone(&below);
    drop(running);
}

#[test]
fn what_is_not_there_is_said_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let (ok, said) = palisade(&["dev", "kill", "n1", "--dir"], &dir);
    assert!(!ok && said.contains("`palisade dev` makes one"), "{said}");
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(!ok && said.contains("no box runs in"), "{said}");
}
