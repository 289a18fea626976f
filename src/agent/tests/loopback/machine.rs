//! A lab of three machines in one process: what a machine does is a list, what a power supply does is a flag.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use agent::{
    executor::Outside,
    fencer::{Credential, Devices, FetchCredentials, Fetched},
    ipc::Port,
    keys::RingKeys,
    local::{Call, Reply, Request},
    messages::{FromExecutor, FromFencer, ToExecutor, ToFencer},
    metrics::Metrics,
    ring::{Dial, Ended, Prober, Setup, Stop},
    state::{FileKind, StateDir, random_u128},
    status::Status,
};
use base::{BootId, FenceDevice, ResourceId, ResourceKind, SystemUuid};
use cluster::Verdict;
use drivers::{
    power::{BoxFuture, DeviceIdentity, Permit, PowerDevice, PowerError, PowerOrder, PowerState},
    resource::Survivor,
};
use fencing::{Answer as Said, DeviceError};
use lifecycle::{Answer, Call as Todo, Operation, Outcome};
use tokio::sync::{mpsc, oneshot, watch};

use crate::revision::{three, uuid};

/// The resource of the lab.
pub(crate) const WEB: &str = "web";
const KEY: &str = "1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Ground truth.
#[derive(Default)]
pub(crate) struct World {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    off: Vec<u16>,
    mute: Vec<u16>,
    runs: BTreeMap<(u16, String), u64>,
    next_run: u64,
    overlaps: Vec<String>,
    commands: Vec<String>,
}

impl World {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where it runs.
    pub(crate) fn holder(&self, resource: &str) -> Option<u16> {
        self.with(|w| w.runs.keys().find(|(_, name)| name == resource).map(|(node, _)| *node))
    }

    /// Token of its run there.
    pub(crate) fn run(&self, node: u16, resource: &str) -> Option<u64> {
        self.with(|w| w.runs.get(&(node, resource.into())).copied())
    }

    /// Starts of what ran elsewhere.
    pub(crate) fn overlaps(&self) -> Vec<String> {
        self.with(|w| w.overlaps.clone())
    }

    /// Power commands, without reads.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.with(|w| w.commands.clone())
    }

    /// Its BMC answers no more.
    pub(crate) fn silence_bmc(&self, node: u16) {
        self.with(|w| w.mute.push(node));
    }

    fn is_off(&self, node: u16) -> bool {
        self.with(|w| w.off.contains(&node))
    }

    fn cut(&self, node: u16) {
        self.with(|w| {
            w.off.push(node);
            w.runs.retain(|(at, _), _| *at != node);
        });
    }
}

struct Machine {
    world: Arc<World>,
    node: u16,
}

impl Outside for Machine {
    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
        let found = self.world.with(|w| {
            let here = w.runs.iter().filter(|((node, _), _)| *node == self.node);
            here.map(|((_, name), run)| Survivor {
                resource: name.parse().expect("valid"),
                kind: None,
                run: *run,
            })
            .collect()
        });
        Box::pin(std::future::ready(found))
    }

    fn carry_out<'a>(&'a self, call: &'a Todo, permit: Permit) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let key = (self.node, call.resource.to_string());
            self.world.with(|w| {
                if w.off.contains(&self.node) {
                    return Answer::new(Outcome::TimedOut, 0);
                }
                let outcome = match call.operation {
                    Operation::Start if !permit.stands() => {
                        Outcome::Failed { code: 1, reason: "withdrawn".into() }
                    }
                    Operation::Start => {
                        if let Some((node, _)) =
                            w.runs.keys().find(|(node, name)| *node != key.0 && *name == key.1)
                        {
                            let text = format!("{} on {} while on {node}", key.1, key.0);
                            w.overlaps.push(text);
                        }
                        w.next_run += 1;
                        let run = w.next_run;
                        w.runs.entry(key.clone()).or_insert(run);
                        Outcome::Ok
                    }
                    Operation::Stop => {
                        w.runs.remove(&key);
                        Outcome::Ok
                    }
                    _ if w.runs.contains_key(&key) => Outcome::Ok,
                    _ => Outcome::NotRunning,
                };
                Answer::new(outcome, w.runs.get(&key).copied().unwrap_or(0))
            })
        })
    }

    fn renew(
        &self,
        _: &ResourceId,
        _: &ResourceKind,
        _: Option<Duration>,
    ) -> Option<tokio::task::JoinHandle<()>> {
        None
    }

    fn set_gone(&self, _: std::collections::BTreeSet<base::NodeName>) {}

    fn look_for(&self, _: &ResourceId, _: &ResourceKind, _: cluster::Station) {}

    fn seen_at(&self, _: &ResourceId, _: cluster::Station) {}

    fn set_networks(&self, _: BTreeMap<String, String>) {}

    fn fence_self(&self) {
        self.world.cut(self.node);
    }
}

struct Bmc {
    world: Arc<World>,
    node: u16,
}

impl Bmc {
    fn state(&self, target: SystemUuid) -> Result<PowerState, PowerError> {
        assert_eq!(target, uuid(self.node), "the right machine");
        self.world.with(|w| {
            if w.mute.contains(&self.node) {
                Err(PowerError::Timeout("a toy that is mute"))
            } else if w.off.contains(&self.node) {
                Ok(PowerState::Off)
            } else {
                Ok(PowerState::On)
            }
        })
    }
}

impl PowerDevice for Bmc {
    fn identity(&self, _: Duration) -> BoxFuture<'_, Result<DeviceIdentity, PowerError>> {
        let mute = self.world.with(|w| w.mute.contains(&self.node));
        let said = match mute {
            true => Err(PowerError::Timeout("a toy that is mute")),
            false => Ok(DeviceIdentity(uuid(self.node).0.to_be_bytes())),
        };
        Box::pin(std::future::ready(said))
    }

    fn status(
        &self,
        target: SystemUuid,
        _: Duration,
    ) -> BoxFuture<'_, Result<PowerState, PowerError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.state(target)
        })
    }

    fn off(&self, order: PowerOrder) -> BoxFuture<'_, Result<Said, PowerError>> {
        Box::pin(async move {
            self.state(order.target)?;
            if !order.permit.stands() {
                return Err(PowerError::Superseded);
            }
            self.world.with(|w| w.commands.push(format!("off {}", self.node)));
            self.world.cut(self.node);
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.state(order.target).map(Said::Power)
        })
    }

    fn on(&self, order: PowerOrder) -> BoxFuture<'_, Result<Said, PowerError>> {
        Box::pin(async move {
            self.world.with(|w| {
                w.commands.push(format!("on {}", self.node));
                w.off.retain(|node| *node != self.node);
            });
            self.state(order.target).map(Said::Power)
        })
    }
}

struct Bmcs(Arc<World>);

impl Devices for Bmcs {
    fn open(
        &self,
        device: &FenceDevice,
        credential: Option<&Credential>,
    ) -> Result<Arc<dyn PowerDevice>, DeviceError> {
        if credential.is_none() {
            return Err(DeviceError::NoCredentials);
        }
        let node = device.targets[0].as_u16();
        Ok(Arc::new(Bmc { world: Arc::clone(&self.0), node }))
    }
}

struct Logins;

impl FetchCredentials for Logins {
    fn fetch(&self, secrets: std::collections::BTreeSet<String>) -> BoxFuture<'static, Fetched> {
        let login = || Credential {
            user: "admin".into(),
            password: drivers::secret::Password::new(b"canary".to_vec()),
            authority: None,
        };
        let found = secrets.into_iter().map(|secret| (secret, login())).collect();
        let all = Fetched { found, asked: true, ..Fetched::default() };
        Box::pin(std::future::ready(all))
    }
}

/// A machine that was cut answers nobody; one whose agent is gone refuses its port.
struct Look(Arc<World>);

impl Prober for Look {
    fn probe(&self, addresses: Vec<IpAddr>, _: u16) -> BoxFuture<'static, Verdict> {
        let IpAddr::V4(address) = addresses[0] else { panic!("IPv4 only") };
        let silent = self.0.is_off(address.octets()[3].into());
        Box::pin(std::future::ready(if silent { Verdict::Silent } else { Verdict::PortClosed }))
    }
}

struct RingPart {
    kill: oneshot::Sender<()>,
    stop: mpsc::Sender<Stop>,
    calls: mpsc::Sender<Call>,
    thread: JoinHandle<Option<Ended>>,
}

struct Others {
    kill: oneshot::Sender<()>,
    executor: mpsc::Sender<Port<FromExecutor, ToExecutor>>,
    fencer: mpsc::Sender<Port<FromFencer, ToFencer>>,
    thread: JoinHandle<()>,
}

/// Three machines.
pub(crate) struct Lab {
    /// What is true.
    pub(crate) world: Arc<World>,

    dir: tempfile::TempDir,
    rings: BTreeMap<u16, RingPart>,
    others: BTreeMap<u16, Others>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

impl Lab {
    /// All three are started, with what the API gave them in their state directories.
    pub(crate) fn start(port: u16) -> Self {
        let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into());
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut lab =
            Self { world: Arc::default(), dir, rings: BTreeMap::new(), others: BTreeMap::new() };
        for node in [1, 2, 3] {
            let mut state = lab.state_dir(node);
            state.write_as(FileKind::Revision, &three(port)).expect("written");
            state.write(FileKind::RingKeys, KEY.as_bytes()).expect("written");
            assert!(state.ring_keys().expect("read").is_some());
            drop(state);
            lab.start_others(node);
            lab.start_ring(node);
        }
        lab
    }

    fn state_dir(&self, node: u16) -> StateDir {
        let dir = self.dir.path().join(format!("state-{node}"));
        StateDir::open(&dir, Duration::from_secs(5)).expect("opened")
    }

    fn start_others(&mut self, node: u16) {
        let world = Arc::clone(&self.world);
        let run_dir = self.dir.path().join(format!("run-{node}"));
        std::fs::create_dir(&run_dir).expect("made");
        let (kill, killed) = oneshot::channel();
        let (executor, executor_rings) = mpsc::channel(1);
        let (fencer, fencer_rings) = mpsc::channel(1);
        let thread = std::thread::spawn(move || {
            let (_keep, askers) = mpsc::channel(1);
            let (_keep, executors) = mpsc::channel(1);
            let (_keep, news) = mpsc::channel(1);
            let (_keep, stop) = oneshot::channel();
            let executor = agent::executor::Setup {
                run_dir: run_dir.clone(),
                boot_id: BootId(node.into()),
                outside: Arc::new(Machine { world: Arc::clone(&world), node }),
                rings: executor_rings,
                askers,
                news,
                health: Arc::default(),
            };
            let fencer = agent::fencer::Setup {
                dir: run_dir,
                devices: Arc::new(Bmcs(Arc::clone(&world))),
                fetch: Arc::new(Logins),
                dog: None,
                rings: fencer_rings,
                executors,
                executor_lost: Arc::default(),
                health: Arc::default(),
            };
            runtime().block_on(async {
                tokio::select! {
                    _ = killed => {}
                    () = agent::executor::run(executor) => panic!("the executor ended"),
                    () = agent::fencer::run(fencer, stop) => panic!("the fencer ended"),
                }
            });
        });
        self.others.insert(node, Others { kill, executor, fencer, thread });
    }

    /// Starts the ring part of a machine, as its supervisor would.
    pub(crate) fn start_ring(&mut self, node: u16) {
        let others = &self.others[&node];
        let (executor, fencer) = (others.executor.clone(), others.fencer.clone());
        let mut state_dir = self.state_dir(node);
        let id = base::NodeId::new(node).expect("not zero");
        let wall = agent::clock::wall_ms();
        let loaded = state_dir.begin("ha/main", id, random_u128(), wall).expect("begun");
        let revision =
            state_dir.read_as(FileKind::Revision).expect("read").expect("written before");
        let keys: RingKeys = state_dir.ring_keys().expect("read").expect("written before");
        let (kill, killed) = oneshot::channel();
        let (stop, stopping) = mpsc::channel(1);
        let (calls, call_queue) = mpsc::channel(4);
        let world = Arc::clone(&self.world);
        let thread = std::thread::spawn(move || {
            let (_keep, feed) = mpsc::channel(1);
            let (views, _views) = watch::channel(None);
            let setup = Setup {
                node_name: format!("ctl-{node}").parse().expect("valid"),
                state_dir,
                loaded,
                revision,
                keys,
                boot_id: BootId(node.into()),
                system_uuid: Some(uuid(node)),
                networks: BTreeMap::new(),
                bound: Vec::new(),
                executor: Dial::Here(executor),
                fencer: Dial::Here(fencer),
                prober: Arc::new(Look(world)),
                calls: call_queue,
                feed,
                views,
                stop: stopping,
                metrics: Arc::new(Metrics::new()),
                watchdog: false,
                conditions: Vec::new(),
                lonely: watch::Sender::new(None),
            };
            runtime().block_on(async {
                tokio::select! {
                    _ = killed => None,
                    ended = agent::ring::run(setup) => Some(ended.expect("no error")),
                }
            })
        });
        self.rings.insert(node, RingPart { kill, stop, calls, thread });
    }

    /// The ring part dies without a word.
    pub(crate) fn crash_ring(&mut self, node: u16) {
        let ring = self.rings.remove(&node).expect("it runs");
        drop(ring.kill);
        assert_eq!(ring.thread.join().expect("no panic"), None);
    }

    /// The agent stops for 30 s, with a word.
    pub(crate) fn detach_ring(&mut self, node: u16) {
        let ring = self.rings.remove(&node).expect("it runs");
        ring.stop.blocking_send(Stop::Detach(Duration::from_secs(30))).expect("it listens");
        assert_eq!(ring.thread.join().expect("no panic"), Some(Ended::Detached));
        drop(ring.kill);
    }

    /// The plug is pulled.
    pub(crate) fn cut(&mut self, node: u16) {
        self.world.cut(node);
        if let Some(ring) = self.rings.remove(&node) {
            drop(ring.kill);
            ring.thread.join().expect("no panic");
        }
        if let Some(others) = self.others.remove(&node) {
            drop(others.kill);
            others.thread.join().expect("no panic");
        }
    }

    /// Asks a member as the local socket would.
    pub(crate) fn ask(&self, node: u16, request: Request) -> Reply {
        let (reply, answered) = oneshot::channel();
        let ring = &self.rings[&node];
        ring.calls.blocking_send(Call { request, reply }).expect("it listens");
        answered.blocking_recv().expect("an answer")
    }

    /// Its view.
    pub(crate) fn status(&self, node: u16) -> Status {
        match self.ask(node, Request::Status {}) {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for something.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if begun.elapsed() > patience {
                self.tell();
                panic!("{what}: not within {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a resource runs; where.
    pub(crate) fn until_runs(&self, resource: &str, patience: Duration) -> u16 {
        self.until("the resource runs", patience, |lab| lab.world.holder(resource))
    }

    /// Lets the cluster write down what it did.
    pub(crate) fn settle(&self) {
        std::thread::sleep(Duration::from_millis(1500));
    }

    /// What everybody says, for a test that failed.
    fn tell(&self) {
        for node in self.rings.keys() {
            eprintln!("ctl-{node}: {:#?}", self.status(*node));
            if let Reply::Timeline(entries) = self.ask(*node, Request::Timeline { limit: 100 }) {
                for entry in entries {
                    eprintln!("  {} {} {}", entry.boot_us, entry.kind, entry.text);
                }
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for node in [1, 2, 3] {
            if let Some(ring) = self.rings.remove(&node) {
                drop(ring.kill);
                let _ = ring.thread.join();
            }
            if let Some(others) = self.others.remove(&node) {
                drop(others.kill);
                let _ = others.thread.join();
            }
        }
    }
}
