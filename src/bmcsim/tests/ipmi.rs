//! A controller that speaks IPMI: asked by our own client and by `ipmitool`, which is a stranger to both.
//!
//! A missing `ipmitool` is said in the output; `PALISADE_REQUIRE_IPMI=1` makes it a failure.

use std::{
    fs,
    process::{Command as Program, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use base::SystemUuid;
use bmcsim::{Bmc, Command, Done, Machine, Said, Speaker, Timing};
use drivers::{
    bmc::ipmi::{
        CipherSuite, IpmiDevice, IpmiTarget, Privilege, Suites,
        double::{Double, Event, GUID},
    },
    power::{Permit, PowerDevice as _, PowerOrder, PowerState},
    secret::Password,
};
use fencing::Answer;

const PASSWORD: &[u8] = b"s3cret-and-long!";
const TIMING: Timing = Timing { off: Duration::from_millis(300), on: Duration::from_millis(200) };
/// How long the processes of the toy take to end.
const ENDING: Duration = Duration::from_millis(200);

struct Ipmi(Double);

impl Speaker for Ipmi {
    fn hear(&mut self, datagram: &[u8], power: bool) -> Said {
        self.0.power = power;
        let answer = self.0.handle(datagram);
        let command = self.0.events.drain(..).rev().find_map(|event| match event {
            Event::Off => Some(Command::Off),
            Event::On => Some(Command::On),
            Event::Cycled => Some(Command::Cycle),
            _ => None,
        });
        Said { answer, command }
    }
}

#[derive(Clone, Default)]
struct Toy {
    runs: Arc<AtomicBool>,
    boots: Arc<AtomicU32>,
}

impl Machine for Toy {
    fn cut(&self) -> Done {
        let toy = self.clone();
        Box::pin(async move {
            tokio::time::sleep(ENDING).await;
            toy.runs.store(false, SeqCst);
        })
    }

    fn start(&self) -> Done {
        self.runs.store(true, SeqCst);
        self.boots.fetch_add(1, SeqCst);
        Box::pin(std::future::ready(()))
    }
}

async fn serve() -> (Bmc, Toy) {
    let toy = Toy::default();
    toy.runs.store(true, SeqCst);
    let double = Double::new(&[CipherSuite::Suite17, CipherSuite::Suite3]);
    let address = ([127, 0, 0, 1], 0).into();
    let bmc = Bmc::start(address, true, TIMING, Box::new(Ipmi(double)), Arc::new(toy.clone()));
    (bmc.await.expect("it listens"), toy)
}

fn device(bmc: &Bmc) -> IpmiDevice {
    IpmiDevice::new(IpmiTarget {
        address: bmc.address(),
        user: "operator".into(),
        password: Password::new(PASSWORD.to_vec()),
        privilege: Privilege::Operator,
        suites: Suites::Best,
    })
}

/// Reads again and again, as the fencing core does; how it was when it read as `wanted`.
async fn until(device: &IpmiDevice, wanted: PowerState, runs: &AtomicBool) -> bool {
    let target = order(Duration::ZERO).target;
    let reading = async {
        while device.status(target, Duration::from_secs(1)).await != Ok(wanted) {}
        runs.load(SeqCst)
    };
    tokio::time::timeout(Duration::from_secs(5), reading).await.expect("in time")
}

fn order(within: Duration) -> PowerOrder {
    let target = SystemUuid(u128::from_be_bytes(GUID));
    PowerOrder { target, within, permit: Permit::new(|| true) }
}

//= SAFETY.md#S4
//= type=test
#[tokio::test]
async fn our_client_reads_off_only_when_nothing_runs_any_more_and_the_machine_boots_again() {
    let (bmc, toy) = serve().await;
    let device = device(&bmc);
    let begun = Instant::now();
    let off = device.off(order(Duration::from_secs(5))).await;
    assert_eq!(off, Ok(Answer::Power(PowerState::On)), "accepted is not off");
    let runs = until(&device, PowerState::Off, &toy.runs).await;
    assert!(!runs, "off was read while something ran");
    assert!(begun.elapsed() >= TIMING.off + ENDING, "{:?}", begun.elapsed());
    assert!(!bmc.power());
    let on = device.on(order(Duration::from_secs(5))).await;
    assert_eq!(on, Ok(Answer::Power(PowerState::Off)), "accepted is not on");
    until(&device, PowerState::On, &toy.runs).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(toy.runs.load(SeqCst));
    assert_eq!(toy.boots.load(SeqCst), 1);
}

#[tokio::test]
async fn one_whose_cable_is_pulled_says_nothing_and_does_nothing() {
    let (bmc, toy) = serve().await;
    bmc.set_reachable(false);
    assert!(device(&bmc).off(order(Duration::from_millis(800))).await.is_err());
    assert!(bmc.power() && toy.runs.load(SeqCst));
    bmc.set_reachable(true);
    let device = device(&bmc);
    device.off(order(Duration::from_secs(5))).await.expect("taken");
    assert!(!until(&device, PowerState::Off, &toy.runs).await);
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let toy = Arc::new(Toy::default());
    let double = Box::new(Ipmi(Double::new(&[CipherSuite::Suite17])));
    let refused = Bmc::start(([0, 0, 0, 0], 0).into(), true, TIMING, double, toy).await;
    assert!(refused.expect_err("refused").to_string().contains("loopback only"));
}

fn ipmitool(port: u16, words: &[&str]) -> Option<String> {
    let program = ["/usr/bin/ipmitool", "/usr/local/bin/ipmitool"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let Some(program) = program else {
        println!("NOT RUN: ipmitool is absent (apt-get install --no-install-recommends ipmitool)");
        assert!(std::env::var_os("PALISADE_REQUIRE_IPMI").is_none(), "ipmitool is required");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).expect("written");
    let output = Program::new(program)
        .args(["-I", "lanplus", "-H", "127.0.0.1", "-U", "operator", "-L", "OPERATOR", "-C", "17"])
        .args(["-N", "1", "-R", "2", "-p", &port.to_string(), "-f"])
        .arg(&password)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{words:?}: {text}");
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn ipmitool_switches_it_and_sees_that_it_takes_a_while() {
    let (bmc, toy) = serve().await;
    let port = bmc.address().port();
    let ask = async |words: &'static [&'static str]| {
        tokio::task::spawn_blocking(move || ipmitool(port, words)).await.expect("no panic")
    };
    let Some(text) = ask(&["chassis", "power", "status"]).await else { return };
    assert!(text.contains("Power is on"), "{text}");
    ask(&["chassis", "power", "off"]).await;
    assert!(bmc.power(), "accepted is not off");
    tokio::time::sleep(TIMING.off + ENDING * 2).await;
    let text = ask(&["chassis", "power", "status"]).await.expect("there");
    assert!(text.contains("Power is off") && !toy.runs.load(SeqCst), "{text}");
    ask(&["chassis", "power", "on"]).await;
    tokio::time::sleep(TIMING.on * 2).await;
    assert!(bmc.power() && toy.boots.load(SeqCst) == 1);
    ask(&["chassis", "power", "cycle"]).await;
    tokio::time::sleep(TIMING.off + ENDING + TIMING.on * 3).await;
    assert!(bmc.power() && toy.runs.load(SeqCst) && toy.boots.load(SeqCst) == 2);
    let text = ask(&["mc", "guid"]).await.expect("there");
    assert!(text.to_lowercase().contains("guid"), "{text}");
}
