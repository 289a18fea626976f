//! The executor with a real OCF agent, which the test writes: a new life finds what runs; a secret is said nowhere.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, sync::PoisonError};

use base::{
    OcfAgent,
    ocf::{OcfParameter, OcfValue},
};
use drivers::{
    haproxy::{BalancerConfig, Engine},
    ocf::{AgentsConfig, OcfConfig},
    process::{Cgroups, ProcessConfig},
};
use lifecycle::InstanceReport;

use super::*;

/// Each of its signs has a meaning in a shell, in a log, or in a message.
const CANARY: &str = "Seč'r\"$(x)";
/// `sick`: degraded from now on. Whatever it does, it tells what it knows.
const AGENT: &str = r#"#!/bin/sh
if [ "$1" = meta-data ]; then cat <<'X'
<resource-agent name="Fake"><parameters><parameter name="db_passwd"/></parameters>
<actions><action name="start"/><action name="stop"/><action name="monitor"/><action name="promote"/><action name="demote"/></actions></resource-agent>
X
exit 0; fi
echo $1 >> $OCF_ROOT/done
tr '\0' ' ' < /proc/$$/cmdline >> $OCF_ROOT/cmdline
tr '\0' ' ' < /proc/$PPID/cmdline >> $OCF_ROOT/cmdline
echo "logged in as x with $OCF_RESKEY_db_passwd"
case $1 in
start) echo Unpromoted > $OCF_ROOT/state;;
promote) echo Promoted > $OCF_ROOT/state;;
demote) echo Unpromoted > $OCF_ROOT/state;;
stop) rm -f $OCF_ROOT/state;;
monitor) case $(cat $OCF_ROOT/state 2>/dev/null) in Promoted) up=8;; Unpromoted) up=0;; *) exit 7;; esac
  if [ -e $OCF_ROOT/sick ]; then echo "ocf-exit-reason:slow, with $OCF_RESKEY_db_passwd" >&2; exit 19$((up / 8)); fi
  exit $up;;
esac
"#;

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The machine's files, which outlive an executor.
struct Files(tempfile::TempDir);

/// Where the ring connects, the executor itself, where the fencer's watch connects.
type Life =
    (mpsc::Sender<Port<FromExecutor, ToExecutor>>, JoinHandle<()>, mpsc::Sender<Port<Pong, Ping>>);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().expect("a directory for the test"));
        for folder in ["ocf/resource.d/test", "secrets", "run"] {
            fs::create_dir_all(files.path(folder)).expect("created");
        }
        for (folder, mode) in [
            ("ocf/resource.d", 0o755),
            ("ocf/resource.d/test", 0o755),
            ("ocf", 0o755),
            ("secrets", 0o700),
        ] {
            files.mode(folder, mode);
        }
        fs::write(files.path("ocf/resource.d/test/Fake"), AGENT).expect("written");
        files.mode("ocf/resource.d/test/Fake", 0o755);
        fs::write(files.path("secrets/db"), format!("{CANARY}\n")).expect("written");
        files.mode("secrets/db", 0o600);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("set");
    }

    fn done(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("ocf/done")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A life of the executor, as the configuration of a machine makes it.
    fn executor(&self) -> Life {
        let name = "test/Fake".parse().expect("valid");
        let outside = RealOutside::open(RealSetup {
            process: ProcessConfig {
                templates: self.path("templates"),
                resources: self.path("run/resources"),
                shim: Vec::new(),
                cgroups: Cgroups::Stay,
            },
            systemd: None,
            containers: None,
            balancers: BalancerConfig {
                root: self.path("run/balancers"),
                shim: Vec::new(),
                cgroups: Cgroups::Stay,
                engine: Engine::haproxy("/nowhere".into()),
            },
            ocf: OcfConfig {
                agents: AgentsConfig {
                    root: self.path("ocf"),
                    allowed: [name].into(),
                    launch: None,
                },
                secrets: self.path("secrets"),
                records: self.path("run/ocf"),
                node: "ctl-1".parse().expect("valid"),
                tools: None,
            },
            addresses: AddressesBy::StandIn(self.path("nobody.sock")),
            self_fence: crate::config::SelfFenceConfig::Watchdog,
            news: mpsc::channel(1).0,
        });
        let (rings, ring_queue) = mpsc::channel(1);
        let (askers, asker_queue) = mpsc::channel(1);
        let setup = Setup {
            run_dir: self.path("run"),
            boot_id: BootId(1),
            outside: Arc::new(outside),
            rings: ring_queue,
            askers: asker_queue,
            news: mpsc::channel(1).1,
            health: Arc::default(),
        };
        (rings, tokio::spawn(run(setup)), askers)
    }
}

fn kind() -> ResourceKind {
    ResourceKind::Ocf(Box::new(OcfAgent {
        name: "test/Fake".parse().expect("valid"),
        parameters: vec![OcfParameter {
            name: "db_passwd".parse().expect("valid"),
            value: OcfValue::Secret("db".parse().expect("valid")),
        }],
        copies: None,
    }))
}

/// A ring part that takes the epoch, and gives tokens with each order.
struct Part {
    ring: Ring,
    next: u64,
    said: String,
}

impl Part {
    async fn connect(rings: &mpsc::Sender<Port<FromExecutor, ToExecutor>>) -> (Self, Report) {
        let (ours, theirs) = pair();
        rings.send(theirs).await.expect("it runs");
        let mut ring: Ring = ours;
        assert!(matches!(ring.rx.recv().await, Some(FromExecutor::Hello { .. })));
        take_epoch(&ring);
        let mut part = Self { ring, next: 1, said: String::new() };
        let ExecutorSays::Report { report, .. } = part.hears().await else { panic!("no report") };
        (part, report)
    }

    async fn hears(&mut self) -> ExecutorSays {
        let said = tokio::time::timeout(Duration::from_secs(20), says(&mut self.ring)).await;
        let said = said.expect("in time");
        self.said += &format!("{said:?}\n");
        said
    }

    async fn orders(&mut self, operation: Operation, interval: Option<Duration>) -> Outcome {
        let id = self.next;
        self.next += 1;
        let order = Order {
            kind: kind(),
            interval,
            timeout: Duration::from_secs(20),
            ..order(id, operation)
        };
        token(&self.ring);
        assert!(self.ring.send(ToExecutor::Do(ExecutorDo::Carry(order), clock::now())));
        loop {
            if let ExecutorSays::Ended { id: ended, end, .. } = self.hears().await
                && ended == OrderId(id)
            {
                let OrderEnd::Done(outcome) = end else { panic!("{end:?}") };
                return outcome;
            }
        }
    }
}

fn only(report: &Report) -> &InstanceReport {
    let [only] = report.instances.as_slice() else { panic!("{report:?}") };
    assert_eq!((only.resource.as_str(), &only.kind), ("web", &kind()));
    only
}

fn texts(folder: &Path) -> String {
    fs::read_dir(folder).expect("readable").fold(String::new(), |all, entry| {
        let path = entry.expect("read").path();
        let text = if path.is_dir() {
            texts(&path)
        } else {
            String::from_utf8_lossy(&fs::read(&path).expect("read")).into()
        };
        all + &text
    })
}

#[tokio::test]
async fn an_agent_runs_on_through_a_new_life_of_the_executor_and_its_secret_is_said_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let _logging = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish(),
    );
    let files = Files::new();
    let (rings, first, _askers) = files.executor();
    let (mut part, report) = Part::connect(&rings).await;
    assert_eq!(report, Report { instances: Vec::new() });
    assert_eq!(part.orders(Operation::Probe, None).await, Outcome::NotRunning);
    assert_eq!(part.orders(Operation::Start, None).await, Outcome::Ok);
    assert_eq!(part.orders(Operation::Promote, None).await, Outcome::Ok);
    let every = Some(Duration::from_millis(50));
    assert_eq!(part.orders(Operation::Monitor, every).await, Outcome::RunningPromoted);
    fs::write(files.path("ocf/sick"), "").expect("written");
    let degraded = loop {
        if let ExecutorSays::Changed { outcome, instance, .. } = part.hears().await {
            assert_eq!(instance.role, Some(Role::Promoted), "it goes on");
            break outcome;
        }
    };
    let reason = "slow, with (not shown)".to_owned();
    assert_eq!(degraded, Outcome::Degraded { promoted: true, reason });
    let mut said = std::mem::take(&mut part.said);
    drop((part, rings));
    first.abort();
    let _ = first.await;

    let before = files.done().len();
    let (rings, _second, _askers) = files.executor();
    let (mut part, report) = Part::connect(&rings).await;
    let found = only(&report);
    assert_eq!(found.role, Some(Role::Promoted));
    assert_ne!(found.run, 0);
    let since: Vec<String> = files.done().split_off(before);
    assert_eq!(since, ["monitor"], "looked at, not touched");
    let run = found.run;
    fs::remove_file(files.path("ocf/sick")).expect("removed");
    assert_eq!(part.orders(Operation::Demote, None).await, Outcome::Ok);
    assert_eq!(part.orders(Operation::Stop, None).await, Outcome::Ok);
    assert!(!files.path("ocf/state").exists());
    assert_eq!(part.orders(Operation::Start, None).await, Outcome::Ok);
    said += &part.said;

    let records = texts(&files.path("run"));
    assert!(
        records.contains("db_passwd") && !records.contains(&format!("\"run\":{run}")),
        "another run"
    );
    let logged = String::from_utf8_lossy(&log.0.lock().expect("not poisoned")).into_owned();
    assert!(logged.contains("an agent ended"), "{logged}");
    let cmdlines = fs::read_to_string(files.path("ocf/cmdline")).expect("written");
    assert!(cmdlines.contains("resource.d/test/Fake start"), "{cmdlines}");
    for (place, text) in
        [("records", records), ("log", logged), ("words", said), ("argv", cmdlines)]
    {
        for piece in [CANARY, "Se\u{10d}", "$(x)"] {
            assert!(!text.contains(piece), "{piece} in {place}");
        }
    }
}

/// Somebody else started it: what a first look finds is held from then on, and no new life forgets it.
#[tokio::test]
async fn what_a_first_look_finds_is_in_the_first_report_of_the_next_life() {
    let files = Files::new();
    fs::write(files.path("ocf/state"), "Unpromoted\n").expect("written");
    let (rings, first, _askers) = files.executor();
    let (mut part, report) = Part::connect(&rings).await;
    assert_eq!(report, Report { instances: Vec::new() });
    assert_eq!(part.orders(Operation::Probe, None).await, Outcome::Ok);
    drop((part, rings));
    first.abort();
    let _ = first.await;
    let (rings, _second, _askers) = files.executor();
    let (_part, report) = Part::connect(&rings).await;
    assert_eq!(only(&report).role, Some(Role::Started));
    assert_eq!(files.done(), ["monitor", "monitor"]);
}
