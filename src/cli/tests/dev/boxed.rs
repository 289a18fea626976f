//! A box that a test runs. Needs no root; ends everything by the ids that it recorded.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use agent::{
    local::{Reply, Request, call},
    status::Status,
};
use drivers::process::{ProcessId, descendants};
use serde_json::Value;

/// Or `PALISADE_PROGRAM`: a release, or one of yesterday.
pub(crate) fn program() -> String {
    let chosen = std::env::var("PALISADE_PROGRAM");
    chosen.unwrap_or_else(|_| env!("CARGO_BIN_EXE_palisade").to_owned())
}

/// On a machine that compiles something else meanwhile.
pub(crate) const READY_MAX: Duration = Duration::from_secs(60);
pub(crate) const SERVED_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(10);
const STATUS_MAX: Duration = Duration::from_millis(500);

/// One box at a time: two beside each other starve each other on a small machine.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A test that failed left nothing that the next one would meet.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running box; dropped, it is ended, and its machines with it.
pub(crate) struct Running {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// With these in its environment, and in that of all below it.
    pub(crate) fn start_with(dir: &Path, environment: &[(&str, &str)]) -> Self {
        let mut program = Command::new(program());
        program.envs(environment.iter().copied());
        Self::start_as(program, dir)
    }

    /// With what `program` has already.
    pub(crate) fn start_as(program: Command, dir: &Path) -> Self {
        Self::spawn(program, dir, &[])
    }

    /// On the API server of this kubeconfig.
    pub(crate) fn start_on(dir: &Path, kubeconfig: &str) -> Self {
        Self::spawn(Command::new(program()), dir, &["--kubeconfig", kubeconfig])
    }

    fn spawn(mut program: Command, dir: &Path, arguments: &[&str]) -> Self {
        let mut child = program
            .args(["dev", "--boot-ms", "500", "--dir"])
            .arg(dir)
            .args(arguments)
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

    pub(crate) fn wait_ready(&self, dir: &Path) {
        self.wait_ready_within(dir, READY_MAX);
    }

    pub(crate) fn wait_ready_within(&self, dir: &Path, max: Duration) {
        let said = self.said.recv_timeout(max);
        if said.as_deref() != Ok("ready") {
            for node in ["n1", "n2", "n3"] {
                eprintln!("{node}: {:#?}", status(dir, node));
                let log =
                    std::fs::read_to_string(dir.join("machines").join(node).join("agent.log"));
                let log = log.unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(200).collect();
                eprintln!("{node}, newest first: {}", last.join("\n"));
            }
            panic!("not ready: {said:?}");
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().try_into().expect("a pid")
    }

    /// Everything below it, as it is now.
    pub(crate) fn below(&self) -> Vec<ProcessId> {
        descendants(self.pid())
    }

    /// Without a word. What was below it is gone with it, or the test fails.
    pub(crate) fn kill(mut self) {
        let below = self.below();
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        gone(&below);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn palisade(words: &[&str], dir: &Path) -> (bool, String) {
    let output = Command::new(program()).args(words).arg(dir).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

pub(crate) fn address(dir: &Path) -> SocketAddr {
    let plan = std::fs::read(dir.join("box.json")).expect("there");
    let plan: Value = serde_json::from_slice(&plan).expect("JSON");
    let subnet = plan["subnet"].as_u64().and_then(|n| u8::try_from(n).ok()).expect("a number");
    SocketAddr::from(([127, 77, subnet, 250], 8080))
}

/// As curl would.
pub(crate) fn served_by(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("served by ")?.1.trim().to_owned())
}

/// The power of the machine that serves fails. Who that was.
pub(crate) fn kill_holder(dir: &Path) -> String {
    let at = address(dir);
    let holder = until("it is served", || served_by(at));
    let (ok, said) = palisade(&["dev", "kill", &holder, "--dir"], dir);
    assert!(ok, "{said}");
    holder
}

/// Whether each of the machines says that all are there, with quorum and an open era.
pub(crate) fn whole(dir: &Path, nodes: &[&str]) -> bool {
    nodes.iter().all(|node| status(dir, node).is_some_and(|s| is_whole(&s, nodes.len())))
}

fn is_whole(status: &Status, nodes: usize) -> bool {
    let online = status.nodes.iter().filter(|node| node.state == "online").count();
    online == nodes && status.quorate && status.era.as_ref().is_some_and(|era| era.open)
}

pub(crate) fn status(dir: &Path, node: &str) -> Option<Status> {
    let socket = dir.join("machines").join(node).join("run/agent/agent.sock");
    match call(&socket, &Request::Status {}, STATUS_MAX) {
        Ok(Reply::Status(status)) => Some(*status),
        _ => None,
    }
}

pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(what, SERVED_MAX, look)
}

pub(crate) fn until_within<T>(what: &str, max: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < max, "{what}: not within {max:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn gone(processes: &[ProcessId]) {
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

pub(crate) fn within_runtime<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(task)
}
