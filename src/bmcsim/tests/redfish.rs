//! A controller that speaks Redfish, asked by our own client: power that takes its time, boards that are stuck, deaf or
//! away, certificates that are not the pinned ones.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use base::SystemUuid;
use bmcsim::{Account, Bmc, Certificate, Done, Event, Faults, Machine, Power, Redfish, Timing};
use drivers::{
    bmc::redfish::{RedfishDevice, RedfishTarget, Trust},
    power::{Permit, PowerDevice as _, PowerError, PowerOrder, PowerState},
    secret::Password,
};
use fencing::Answer;

const UUID: &str = "4c4c4544-0042-3510-8054-b4c04f564431";
const PASSWORD: &str = "Se\u{10d}'r\"$(x)\n";
const TIMING: Timing = Timing { off: Duration::from_millis(300), on: Duration::from_millis(200) };
/// How long the processes of the toy take to end.
const ENDING: Duration = Duration::from_millis(200);
const SECONDS: Duration = Duration::from_secs(5);

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

struct Board {
    bmc: Bmc,
    service: Redfish,
    toy: Toy,
}

async fn board() -> Board {
    let toy = Toy::default();
    toy.runs.store(true, SeqCst);
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let account = Account {
        user: "operator".into(),
        password: PASSWORD.into(),
        system: "437XR1138R2".into(),
        uuid: UUID.into(),
    };
    let certificate = Certificate::generate(address.ip()).expect("made");
    let service = Redfish::new(account, certificate);
    let machine = Arc::new(toy.clone());
    let bmc = Bmc::start_redfish(address, true, TIMING, service.clone(), machine).await;
    Board { bmc: bmc.expect("it listens"), service, toy }
}

impl Board {
    fn target(&self) -> RedfishTarget {
        RedfishTarget {
            address: self.bmc.address(),
            user: "operator".into(),
            password: Password::new(PASSWORD.into()),
            system: None,
            trust: Trust::Fingerprint(self.service.certificate().fingerprint()),
        }
    }

    fn device(&self) -> RedfishDevice {
        RedfishDevice::new(self.target())
    }

    fn commands(&self) -> usize {
        self.service.events().iter().filter(|event| matches!(event, Event::Reset(_))).count()
    }
}

fn machine() -> SystemUuid {
    UUID.parse().expect("valid")
}

fn order(within: Duration) -> PowerOrder {
    PowerOrder { target: machine(), within, permit: Permit::new(|| true) }
}

/// Reads again and again, as the fencing core does; whether something ran when it read as `wanted`.
async fn until(device: &RedfishDevice, wanted: PowerState, runs: &AtomicBool) -> bool {
    let reading = async {
        while device.status(machine(), SECONDS).await != Ok(wanted) {}
        runs.load(SeqCst)
    };
    tokio::time::timeout(SECONDS, reading).await.expect("in time")
}

//= SAFETY.md#S4
//= type=test
#[tokio::test]
async fn off_is_read_only_when_nothing_runs_any_more_and_the_machine_boots_again() {
    let board = board().await;
    let device = board.device();
    let begun = Instant::now();
    let off = device.off(order(SECONDS)).await;
    assert_eq!(off, Ok(Answer::Power(PowerState::On)), "accepted is not off");
    assert!(board.service.events().contains(&Event::Read(Power::PoweringOff)));
    let ran = until(&device, PowerState::Off, &board.toy.runs).await;
    assert!(!ran, "off was read while something ran");
    assert!(begun.elapsed() >= TIMING.off + ENDING, "{:?}", begun.elapsed());
    assert!(device.on(order(SECONDS)).await.is_ok());
    let on = async {
        while !board.toy.runs.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SECONDS, on).await.expect("it boots");
    assert_eq!(device.status(machine(), SECONDS).await, Ok(PowerState::On));
    assert_eq!(board.toy.boots.load(SeqCst), 1);
    assert_eq!(board.service.open_sessions(), 0, "every session is closed");
}

//= SAFETY.md#S4
//= type=test
#[tokio::test]
async fn the_state_is_read_in_a_session_of_its_own_after_the_commands() {
    let board = board().await;
    board.device().off(order(SECONDS)).await.expect("taken");
    let wanted = |event: &Event| !matches!(event, Event::Read(Power::On));
    let events: Vec<Event> = board.service.events().into_iter().filter(wanted).collect();
    assert_eq!(
        events,
        [
            Event::Opened,
            Event::Reset("ForceOff".into()),
            Event::Closed,
            Event::Opened,
            Event::Read(Power::PoweringOff),
            Event::Closed
        ]
    );
}

//= SAFETY.md#S4
//= type=test
#[tokio::test]
async fn a_stuck_board_is_never_off_whatever_it_answers() {
    let board = board().await;
    for status in [200, 202, 204] {
        let faults = Faults { stuck: true, reset_status: Some(status), ..Faults::default() };
        board.service.set_faults(faults);
        let device = board.device();
        let off = device.off(order(SECONDS)).await;
        assert_eq!(off, Ok(Answer::Power(PowerState::On)), "HTTP {status} is not off");
        tokio::time::sleep(TIMING.off).await;
        assert_eq!(device.status(machine(), SECONDS).await, Ok(PowerState::On));
        assert!(board.toy.runs.load(SeqCst));
    }
    assert_eq!(board.commands(), 3);
}

//= SAFETY.md#S7
//= type=test
#[tokio::test]
async fn one_whose_cable_is_pulled_gets_nothing_later() {
    let board = board().await;
    board.bmc.set_reachable(false);
    let begun = Instant::now();
    let off = board.device().off(order(Duration::from_millis(800))).await;
    assert!(matches!(off, Err(PowerError::Timeout(_))), "{off:?}");
    assert!(begun.elapsed() < SECONDS);
    board.bmc.set_reachable(true);
    tokio::time::sleep(TIMING.off * 2).await;
    assert!(board.commands() == 0 && board.toy.runs.load(SeqCst), "a late order was carried out");
    let device = board.device();
    device.off(order(SECONDS)).await.expect("taken");
    assert!(!until(&device, PowerState::Off, &board.toy.runs).await);
}

//= SAFETY.md#S7
//= type=test
#[tokio::test]
async fn a_permit_that_is_gone_stops_the_command_and_the_session_is_closed() {
    let board = board().await;
    let permit = Permit::new(|| false);
    let order = PowerOrder { permit, ..order(SECONDS) };
    assert_eq!(board.device().off(order).await, Err(PowerError::Superseded));
    assert_eq!((board.commands(), board.service.open_sessions()), (0, 0));
    assert!(board.service.events().contains(&Event::Closed));
}

#[tokio::test]
async fn whoever_drops_the_future_leaves_no_session_behind() {
    let board = board().await;
    let device = board.device();
    for wait in [0, 1, 2, 4, 8, 16, 32] {
        let work = device.status(machine(), SECONDS);
        let _ = tokio::time::timeout(Duration::from_millis(wait), work).await;
    }
    // the next one waits for the slot, so that all others are over
    assert_eq!(device.status(machine(), SECONDS).await, Ok(PowerState::On));
    assert_eq!(board.service.open_sessions(), 0);
}

//= SAFETY.md#S8
//= type=test
#[tokio::test]
async fn another_machines_board_is_not_switched() {
    let board = board().await;
    let uuid = Some("00000000-0042-3510-8054-b4c04f564431".into());
    board.service.set_faults(Faults { uuid, ..Faults::default() });
    let off = board.device().off(order(SECONDS)).await;
    assert!(matches!(off, Err(PowerError::WrongIdentity { .. })), "{off:?}");
    assert_eq!((board.commands(), board.service.open_sessions()), (0, 0));
    let found = board.device().identity(SECONDS).await.expect("said");
    assert!(!found.is(machine()));
}

#[tokio::test]
async fn only_the_pinned_certificate_or_the_pinned_authority_is_talked_to() {
    let board = board().await;
    let other = Certificate::generate(board.bmc.address().ip()).expect("made");
    let pem = |certificate: &Certificate| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let text = STANDARD.encode(certificate.der());
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").into_bytes()
    };
    let ask = async |trust| {
        let target = RedfishTarget { trust, ..board.target() };
        RedfishDevice::new(target).status(machine(), SECONDS).await
    };
    let wrong = ask(Trust::Fingerprint(other.fingerprint())).await.expect_err("refused");
    assert_eq!(wrong.label(), "untrusted");
    let (text, pin) = (wrong.to_string(), board.service.certificate().pin());
    assert!(text.contains(&pin) && text.contains("certificateSha256"), "{text}");
    let wrong = ask(Trust::Authority { bundle: pem(&other), name: None }).await;
    assert_eq!(wrong.expect_err("refused").label(), "untrusted");
    let empty = ask(Trust::Authority { bundle: b"nothing".to_vec(), name: None }).await;
    assert!(empty.expect_err("refused").to_string().contains("ca.crt"));
    assert!(board.service.events().is_empty(), "somebody unknown was told the password");
    let own = pem(board.service.certificate());
    let name = Some("bmc.example".into());
    let misnamed = ask(Trust::Authority { bundle: own.clone(), name }).await;
    assert!(misnamed.expect_err("refused").to_string().contains("serverName"));
    assert_eq!(ask(Trust::Authority { bundle: own, name: None }).await, Ok(PowerState::On));
}

#[tokio::test]
async fn hostile_and_old_services_are_survived() {
    let board = board().await;
    let ask = async |faults| {
        board.service.set_faults(faults);
        board.device().status(machine(), SECONDS).await
    };
    let to = format!("https://{}/redfish/v1/", board.bmc.address());
    let moved = ask(Faults { redirects: Some(to), ..Faults::default() }).await;
    assert!(moved.expect_err("refused").to_string().contains("redirect"));
    let long = ask(Faults { padding: 1 << 20, ..Faults::default() }).await;
    assert!(long.expect_err("refused").to_string().contains("longer than"));
    let old = ask(Faults { no_sessions: true, ..Faults::default() }).await;
    assert_eq!(old, Ok(PowerState::On), "name and password with each request");
    board.service.set_faults(Faults::default());
    let wrong = RedfishTarget { password: Password::new(b"no".to_vec()), ..board.target() };
    let wrong = RedfishDevice::new(wrong).off(order(SECONDS)).await.expect_err("refused");
    assert_eq!(wrong.label(), "authentication_failed");
    let named = RedfishTarget { system: Some("1".into()), ..board.target() };
    let named = RedfishDevice::new(named).status(machine(), SECONDS).await.expect_err("refused");
    assert!(named.to_string().contains("437XR1138R2"), "{named}");
    assert_eq!(board.service.open_sessions(), 0);
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let board = board().await;
    let any = ([0, 0, 0, 0], 0).into();
    let toy = Arc::new(Toy::default());
    let refused = Bmc::start_redfish(any, true, TIMING, board.service.clone(), toy).await;
    assert!(refused.expect_err("refused").to_string().contains("loopback only"));
}
