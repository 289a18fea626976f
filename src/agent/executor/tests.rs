mod ocf;

use std::sync::Mutex;

use base::{Incarnation, NodeId, ResourceKind, RingId};
use drivers::{power::BoxFuture, resource::Survivor};
use lifecycle::{Order, OrderEnd, OrderId, Outcome, Report};

use super::*;
use crate::ipc::pair;

/// A machine on which everything works; what was done stands in a list.
#[derive(Default)]
struct Toy {
    done: Mutex<Vec<String>>,
    survivors: Mutex<Vec<Survivor>>,
}

impl Toy {
    fn note(&self, what: String) {
        self.done.lock().expect("not poisoned").push(what);
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().expect("not poisoned").clone()
    }
}

impl Outside for Toy {
    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
        let found = self.survivors.lock().expect("not poisoned").clone();
        Box::pin(std::future::ready(found))
    }

    fn carry_out<'a>(&'a self, call: &'a Call, permit: Permit) -> BoxFuture<'a, Answer> {
        assert!(permit.stands());
        self.note(format!("{:?} {}", call.operation, call.resource));
        Box::pin(std::future::ready(Answer::new(Outcome::Ok, 42)))
    }

    fn renew(
        &self,
        resource: &ResourceId,
        _: &ResourceKind,
        lifetime: Option<Duration>,
    ) -> Option<JoinHandle<()>> {
        self.note(format!("renew {resource} {lifetime:?}"));
        None
    }

    fn set_gone(&self, _: std::collections::BTreeSet<base::NodeName>) {}

    fn look_for(&self, resource: &ResourceId, _: &ResourceKind, station: cluster::Station) {
        self.note(format!("look for {resource} at {station:?}"));
    }

    fn seen_at(&self, resource: &ResourceId, station: cluster::Station) {
        self.note(format!("{resource} seen at {station:?}"));
    }

    fn set_networks(&self, _: BTreeMap<String, String>) {}

    fn fence_self(&self) {
        self.note("fence self".into());
    }
}

fn epoch(seq: u64) -> Epoch {
    let ring = RingId { seq, rep: NodeId::new(1).expect("not zero") };
    Epoch { ring, coordinator: Incarnation { counter: 1, random: 1 } }
}

fn order(id: u64, operation: Operation) -> Order {
    Order {
        id: OrderId(id),
        epoch: epoch(8),
        resource: "web".parse().expect("valid"),
        kind: ResourceKind::Process { template: "web".parse().expect("valid") },
        exclusive: true,
        operation,
        interval: None,
        timeout: Duration::from_secs(5),
        deadline: Duration::from_secs(5),
    }
}

struct Machine {
    toy: Arc<Toy>,
    rings: mpsc::Sender<Port<FromExecutor, ToExecutor>>,
    askers: mpsc::Sender<Port<Pong, Ping>>,
    _dir: Option<tempfile::TempDir>,
}

fn machine(toy: Arc<Toy>, dir: PathBuf) -> Machine {
    let (rings, ring_queue) = mpsc::channel(1);
    let (askers, asker_queue) = mpsc::channel(1);
    let setup = Setup {
        run_dir: dir,
        boot_id: BootId(1),
        outside: Arc::clone(&toy) as Arc<dyn Outside>,
        rings: ring_queue,
        askers: asker_queue,
        news: mpsc::channel(1).1,
        health: Arc::default(),
    };
    tokio::spawn(run(setup));
    Machine { toy, rings, askers, _dir: None }
}

type Ring = Port<ToExecutor, FromExecutor>;

async fn connect(machine: &Machine) -> Ring {
    let (ours, theirs) = pair();
    machine.rings.send(theirs).await.expect("it runs");
    let mut ring: Ring = ours;
    assert!(matches!(ring.rx.recv().await, Some(FromExecutor::Hello { .. })));
    ring
}

/// The next thing that is for the engine.
async fn says(ring: &mut Ring) -> ExecutorSays {
    let next = tokio::time::timeout(Duration::from_secs(5), ring.rx.recv()).await;
    match next.expect("in time").expect("connected") {
        FromExecutor::Says(what) => what,
        other => panic!("{other:?}"),
    }
}

fn take_epoch(ring: &Ring) {
    let take = ExecutorDo::TakeEpoch { epoch: epoch(8), quorum: Quorum::Quorate };
    assert!(ring.send(ToExecutor::Do(take, clock::now())));
}

fn token(ring: &Ring) {
    assert!(ring.send(ToExecutor::Token { ring: epoch(8).ring, seen_at: clock::now() }));
}

#[tokio::test]
async fn an_order_of_the_installed_epoch_is_carried_out_on_a_fresh_token_only() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let machine = machine(Arc::default(), dir.path().into());
    let mut ring = connect(&machine).await;
    take_epoch(&ring);
    let report = Report { instances: Vec::new() };
    assert_eq!(says(&mut ring).await, ExecutorSays::Report { epoch: epoch(8), report });

    let old = clock::now() - Duration::from_secs(1);
    assert!(ring.send(ToExecutor::Token { ring: epoch(8).ring, seen_at: old }));
    // the executor itself is older than half of a token time by now
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(ring.send(ToExecutor::Do(ExecutorDo::Carry(order(1, Operation::Start)), clock::now())));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(machine.toy.done(), Vec::<String>::new(), "silence: the token is old");
    token(&ring);
    let end = OrderEnd::Done(Outcome::Ok);
    let ended = ExecutorSays::Ended { epoch: epoch(8), id: OrderId(1), end };
    assert_eq!(says(&mut ring).await, ended);
    assert_eq!(machine.toy.done(), ["Start web"]);

    // another epoch's order has no effect
    let mut stale = order(2, Operation::Stop);
    stale.epoch = epoch(4);
    assert!(ring.send(ToExecutor::Do(ExecutorDo::Carry(stale), clock::now())));
    let ExecutorSays::Ended { end: OrderEnd::Refused(_), .. } = says(&mut ring).await else {
        panic!("carried out");
    };
    assert_eq!(machine.toy.done(), ["Start web"]);

    // one that waited in our queue for longer than its deadline is late, though it is read just now
    token(&ring);
    let given = clock::now() - Duration::from_secs(6);
    assert!(ring.send(ToExecutor::Do(ExecutorDo::Carry(order(3, Operation::Stop)), given)));
    let ExecutorSays::Ended { end: OrderEnd::Refused(_), .. } = says(&mut ring).await else {
        panic!("carried out");
    };
    assert_eq!(machine.toy.done(), ["Start web"]);
}

#[tokio::test]
async fn a_restarted_executor_adopts_what_its_record_names_and_stops_what_it_does_not() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let first = machine(Arc::default(), dir.path().into());
    let mut ring = connect(&first).await;
    take_epoch(&ring);
    says(&mut ring).await;
    token(&ring);
    assert!(ring.send(ToExecutor::Do(ExecutorDo::Carry(order(1, Operation::Start)), clock::now())));
    says(&mut ring).await;
    drop((ring, first));

    let toy = Arc::new(Toy::default());
    let survivor = |name: &str| Survivor {
        resource: name.parse().expect("valid"),
        kind: Some(order(1, Operation::Start).kind),
        run: 42,
    };
    *toy.survivors.lock().expect("not poisoned") = vec![survivor("web"), survivor("stray")];
    let second = machine(toy, dir.path().into());
    let mut ring = connect(&second).await;
    take_epoch(&ring);
    let ExecutorSays::Report { report, .. } = says(&mut ring).await else { panic!("no report") };
    let mut done = second.toy.done();
    done.sort();
    assert_eq!(done, ["Probe web", "Stop stray"]);
    let roles: Vec<_> =
        report.instances.iter().map(|i| (i.resource.as_str(), i.role, i.run)).collect();
    assert_eq!(roles, [("stray", Some(Role::Stopped), 0), ("web", Some(Role::Started), 42)]);
}

#[tokio::test]
async fn without_a_ring_part_pings_are_answered_and_nothing_is_accepted() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let machine = machine(Arc::default(), dir.path().into());
    let (ours, theirs) = pair::<Ping, Pong>();
    machine.askers.send(theirs).await.expect("it runs");
    let mut asker = ours;
    assert!(asker.send(Ping));
    assert_eq!(asker.rx.recv().await, Some(Pong));
    let mut ring = connect(&machine).await;
    take_epoch(&ring);
    says(&mut ring).await;
    drop(ring);
    let mut ring = connect(&machine).await;
    token(&ring);
    assert!(ring.send(ToExecutor::Do(ExecutorDo::Carry(order(1, Operation::Start)), clock::now())));
    let ExecutorSays::Ended { end: OrderEnd::Refused(_), .. } = says(&mut ring).await else {
        panic!("an order of the connection before was carried out");
    };
    assert_eq!(machine.toy.done(), Vec::<String>::new());
}

#[tokio::test]
async fn a_suspended_executor_answers_no_ping_and_its_next_life_knows_of_it() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let first = machine(Arc::default(), dir.path().into());
    let ring = connect(&first).await;
    assert!(ring.send(ToExecutor::Do(ExecutorDo::Suspend, clock::now())));
    let mut ring = ring;
    assert_eq!(says(&mut ring).await, ExecutorSays::Suspended);
    drop((ring, first));

    // no ring part: its last word is on record
    let second = machine(Arc::default(), dir.path().into());
    let (ours, theirs) = pair::<Ping, Pong>();
    second.askers.send(theirs).await.expect("it runs");
    let mut fencer = ours;
    assert!(fencer.send(Ping));
    let pong = tokio::time::timeout(Duration::from_millis(300), fencer.rx.recv()).await;
    assert!(
        pong.is_err(),
        "the watchdog must not look armed on a machine that stops nothing by itself"
    );
    let ring = connect(&second).await;
    assert!(ring.send(ToExecutor::Do(ExecutorDo::Resume, clock::now())));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(fencer.send(Ping));
    let pong = tokio::time::timeout(Duration::from_secs(5), fencer.rx.recv()).await;
    assert_eq!(pong.expect("in time"), Some(Pong));
    assert!(!dir.path().join("suspended").exists());
}
