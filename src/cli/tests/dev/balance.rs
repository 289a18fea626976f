//! A `LoadBalancer` in a box: the example that the box keeps, with each trouble that a backend or a balancer can have.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::boxed::{
    READY_MAX, Running, address, alone, palisade, status, until, until_within, whole,
    within_runtime,
};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const EXAMPLE: &str = "load-balancer.yaml";
/// Of a client that is patient for as long as a server of whom there is doubt stays in turn.
const PATIENT: Duration = Duration::from_secs(20);
const RELOADS: u32 = 6;

fn api(client: &kube::Client, object: &Value) -> Api<DynamicObject> {
    let kind = object["kind"].as_str().expect("a kind");
    let gvk = GroupVersionKind::gvk("palisade.dev", "v1alpha1", kind);
    Api::namespaced_with(client.clone(), "palisade", &ApiResource::from_gvk(&gvk))
}

fn apply(dir: &Path, objects: &[Value]) {
    within_runtime(async {
        let client = api::client::connect(Some(&dir.join("kubeconfig"))).await.expect("an API");
        for object in objects {
            let name = object["metadata"]["name"].as_str().expect("a name");
            let params = PatchParams::apply("test");
            let applied = api(&client, object).patch(name, &params, &Patch::Apply(object)).await;
            applied.expect("applied");
        }
    });
}

fn example(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("examples").join(EXAMPLE)).expect("there");
    let read = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    read.collect::<Result<_, _>>().expect("YAML")
}

/// Of the example.
fn door(dir: &Path) -> SocketAddr {
    let mut at = address(dir);
    let IpAddr::V4(ip) = at.ip() else { panic!("{at}") };
    let [a, b, c, _] = ip.octets();
    at.set_ip([a, b, c, 249].into());
    at
}

/// One request; the machine that answers.
fn ask(at: SocketAddr, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("served by ")?.1.trim().to_owned())
}

/// Who answers, of so many requests, all of which are answered.
fn answers(at: SocketAddr, count: usize) -> BTreeSet<String> {
    (0..count).map(|_| ask(at, PATIENT).expect("each request is answered")).collect()
}

/// What the copy on that machine says on its administrative socket.
fn said(dir: &Path, node: &str, words: &str) -> Option<String> {
    let socket = dir.join("machines").join(node).join("run/balancers/front/admin.sock");
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    writeln!(stream, "{words}").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn info(dir: &Path, node: &str, name: &str) -> Option<String> {
    let all = said(dir, node, "show info")?;
    let found = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.map(str::to_owned)
}

fn state_of(dir: &Path, on: &str, server: &str) -> Option<String> {
    let all = said(dir, on, "show stat")?;
    let line = all.lines().find(|line| line.starts_with(&format!("site,{server},")))?;
    line.rsplit(',').next().map(str::to_owned)
}

/// What the copy on that machine has printed.
fn printed(dir: &Path, node: &str) -> String {
    let log = "run/balancers/front/process/front/output.log";
    std::fs::read_to_string(dir.join("machines").join(node).join(log)).unwrap_or_default()
}

fn holder(dir: &Path, of: &str) -> Option<String> {
    let seen = NODES.iter().find_map(|node| status(dir, node))?;
    let resource = seen.resources.iter().find(|resource| resource.id == of)?;
    let found = resource.instances.iter().find(|instance| instance.role == "Started")?;
    Some(found.node.clone())
}

/// The example, served by all machines.
fn started(dir: &Path) -> (Running, SocketAddr) {
    let running = Running::start(dir);
    running.wait_ready(dir);
    let begun = Instant::now();
    apply(dir, &example(dir));
    let at = door(dir);
    until("the new address is served", || ask(at, Duration::from_secs(2)));
    println!("from apply to served: {:?}", begun.elapsed());
    all_serve(dir, at);
    (running, at)
}

fn all_serve(dir: &Path, at: SocketAddr) {
    until_within("all machines are there", READY_MAX, || whole(dir, &NODES).then_some(()));
    until("each machine serves", || {
        let by: BTreeSet<_> = (0..6).filter_map(|_| ask(at, Duration::from_secs(2))).collect();
        (by.len() == NODES.len()).then_some(())
    });
}

/// Clients that ask without a pause.
struct Load {
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn begin(at: SocketAddr) -> Self {
        let (ended, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = || {
            let (ended, answered) = (Arc::clone(&ended), Arc::clone(&answered));
            thread::spawn(move || {
                let mut failed = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    match ask(at, PATIENT) {
                        Some(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        None => failed.push(format!("after {:?}", begun.elapsed())),
                    }
                    thread::sleep(Duration::from_millis(2));
                }
                failed
            })
        };
        Self { clients: (0..4).map(|_| client()).collect(), ended, answered }
    }

    /// How many were answered, and each that was not.
    fn end(self) -> (u64, Vec<String>) {
        self.ended.store(true, Ordering::Relaxed);
        let all = self.clients.into_iter().map(|client| client.join().expect("whole"));
        let failed = all.flatten().collect();
        (self.answered.load(Ordering::Relaxed), failed)
    }
}

#[test]
fn a_balancer_of_a_box_spreads_requests_finds_a_frozen_server_and_survives_its_holder() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let (running, at) = started(&dir);

    // it says what it is: in the machine's status, in its own output, to whoever asks it
    let seen = status(&dir, "n1").expect("it answers");
    let condition = seen.conditions.iter().find(|c| c.kind == "StandIn").expect("said");
    assert!(condition.message.contains("no HAProxy"), "{condition:?}");
    for node in NODES {
        assert!(printed(&dir, node).contains("this is no HAProxy"), "{node}");
        assert!(info(&dir, node, "Name").expect("it answers").contains("no HAProxy"), "{node}");
    }

    // a machine stands still: its kernel takes connections, so that only a look finds it
    let held = until("the address is held", || holder(&dir, "door"));
    let frozen = NODES.into_iter().find(|node| *node != held).expect("another one");
    let begun = Instant::now();
    let (ok, text) = palisade(&["dev", "freeze", frozen, "--dir"], &dir);
    assert!(ok, "{text}");
    let down = format!("site/{frozen} is down");
    until("a look finds it", || printed(&dir, &held).contains(&down).then_some(()));
    println!("frozen server found after {:?}", begun.elapsed());
    let by = answers(at, 12);
    assert!(!by.contains(frozen) && by.len() >= 2, "{by:?}");
    // it is fenced, and no look is needed from then on
    until("it is told", || (state_of(&dir, &held, frozen)? == "MAINT").then_some(()));
    all_serve(&dir, at);
    assert_eq!(state_of(&dir, &held, frozen).as_deref(), Some("UP"));

    // the machine whose copy clients meet dies
    let held = until("the address is held", || holder(&dir, "door"));
    let watcher = Gap::begin(at);
    thread::sleep(Duration::from_millis(500));
    let (ok, text) = palisade(&["dev", "kill", &held, "--dir"], &dir);
    assert!(ok, "{text}");
    let (gap, by) = watcher.end();
    println!("no answer through the balancer of {held} for {gap:?}, then by {by}");
    assert!(gap > Duration::from_millis(50) && gap < Duration::from_secs(20), "{gap:?}");
    assert_ne!(by, held, "it is not there yet");
    assert_ne!(until("the address is held", || holder(&dir, "door")), held, "it moved");
    all_serve(&dir, at);
    let (_, described) = palisade(&["dev", "describe", "--dir"], &dir);
    assert!(described.contains("overlaps: 0"), "{described}");
    let (ok, text) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{text}");
    drop(running);
}

#[test]
#[ignore = "30 s: cargo test -p cli --test dev -- --ignored --nocapture a_changed_balancer"]
fn a_changed_balancer_is_reloaded_without_one_failed_request_and_pulled_cables_are_pulled_for_it() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let (running, at) = started(&dir);

    let pids: Vec<_> = NODES.map(|node| info(&dir, node, "Pid").expect("it runs")).into();
    let mut balancer = example(&dir).pop().expect("the last one");
    let load = Load::begin(at);
    for number in 0..RELOADS {
        let before = NODES.map(|node| info(&dir, node, "description").expect("it answers"));
        let spread = if number % 2 == 0 { "LeastConnections" } else { "RoundRobin" };
        balancer["spec"]["backends"][0]["balance"] = json!(spread);
        balancer["spec"]["maxConnections"] = json!(1000 + number);
        apply(&dir, std::slice::from_ref(&balancer));
        until("each copy has the new parameters", || {
            let now = NODES.map(|node| info(&dir, node, "description"));
            now.iter().zip(&before).all(|(n, b)| n.as_ref().is_some_and(|n| n != b)).then_some(())
        });
    }
    let (answered, failed) = load.end();
    println!("{RELOADS} reloads of each copy: {answered} answered, {} failed", failed.len());
    assert_eq!(failed, Vec::<String>::new());
    assert!(answered > 500, "too few to prove anything: {answered}");
    let now: Vec<_> = NODES.map(|node| info(&dir, node, "Pid").expect("it runs")).into();
    assert_eq!(now, pids, "none was restarted");

    // what it does not take is not used, and said
    let mut outside = balancer.clone();
    outside["spec"]["backends"][0]["servers"][0]["address"] = json!("10.20.0.11");
    apply(&dir, std::slice::from_ref(&outside));
    until("the machine says why", || {
        let said = NODES.iter().all(|node| {
            let log = dir.join("machines").join(node).join("agent.log");
            let log = std::fs::read_to_string(log).unwrap_or_default();
            log.contains("10.20.0.11 is no address of loopback")
        });
        said.then_some(())
    });
    assert_eq!(answers(at, 9).len(), NODES.len(), "the one before goes on");
    apply(&dir, std::slice::from_ref(&balancer));

    // its server runs on, and no way leads there: looks find it before it is fenced
    let held = until("the address is held", || holder(&dir, "door"));
    let alone = NODES.into_iter().find(|node| *node != held).expect("another one");
    let (ok, text) = palisade(&["dev", "isolate", alone, "--dir"], &dir);
    assert!(ok, "{text}");
    let down = format!("site/{alone} is down");
    until("a look finds no way", || printed(&dir, &held).contains(&down).then_some(()));
    let by = answers(at, 12);
    assert!(!by.contains(alone) && by.len() == 2, "{by:?}");
    let (ok, text) = palisade(&["dev", "heal", alone, "--dir"], &dir);
    assert!(ok, "{text}");
    all_serve(&dir, at);
    let (ok, text) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{text}");
    drop(running);
}

/// The longest time between two answers, and whose the second was.
struct Gap {
    ended: Arc<AtomicBool>,
    client: JoinHandle<(Duration, String)>,
}

impl Gap {
    fn begin(at: SocketAddr) -> Self {
        let ended = Arc::<AtomicBool>::default();
        let end = Arc::clone(&ended);
        let client = thread::spawn(move || {
            let (mut last, mut longest) = (Instant::now(), (Duration::ZERO, String::new()));
            while !end.load(Ordering::Relaxed) {
                if let Some(by) = ask(at, Duration::from_millis(250)) {
                    if last.elapsed() > longest.0 {
                        longest = (last.elapsed(), by);
                    }
                    last = Instant::now();
                }
                thread::sleep(Duration::from_millis(10));
            }
            longest
        });
        Self { ended, client }
    }

    fn end(self) -> (Duration, String) {
        // It is over when one answers after the trouble.
        thread::sleep(Duration::from_secs(3));
        self.ended.store(true, Ordering::Relaxed);
        self.client.join().expect("whole")
    }
}
