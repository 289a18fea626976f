//! Real programs: `ipmi_sim` as the BMC of our client, `ipmitool` as the client of our double, both against each
//! other. A missing program is said in the output; `PALISADE_REQUIRE_IPMI=1` makes it a failure.

use core::time::Duration;
use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use fencing::Answer;

use super::udp::{Served, device, machine, order};
use crate::{
    bmc::ipmi::{CipherSuite, Suites, double::Double},
    power::{PowerDevice, PowerError, PowerState},
};

const PASSWORD: &[u8] = b"s3cret-and-long!";
const SECONDS: Duration = Duration::from_secs(3);

fn program(name: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|path| path.exists());
    if found.is_none() {
        println!(
            "NOT RUN: {name} is absent (apt-get install --no-install-recommends openipmi ipmitool)"
        );
        assert!(
            std::env::var_os("PALISADE_REQUIRE_IPMI").is_none(),
            "{name} is required and absent"
        );
    }
    found
}

/// An `ipmi_sim` of this test, killed when dropped; its machine is a file that says 1 or 0.
struct Sim {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Sim {
    fn start() -> Option<Self> {
        let ipmi_sim = program("ipmi_sim")?;
        let folder = tempfile::tempdir().expect("folder");
        let port =
            UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("bound").port();
        let at = |name: &str| folder.path().join(name);
        let power = at("power");
        fs::write(&power, "1").expect("written");
        let hook = at("hook");
        let script = format!(
            "#!/bin/sh\ncase \"$2 $3\" in\n'get power') echo power:$(cat {0});;\n\
             'set power') echo $4 > {0};;\nesac\nexit 0\n",
            power.display()
        );
        fs::write(&hook, script).expect("written");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("executable");
        let methods = "none md2 md5 straight";
        let lan = format!(
            "name \"n1\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    \
             priv_limit admin\n    allowed_auths_callback {methods}\n    allowed_auths_user {methods}\n    \
             allowed_auths_operator {methods}\n    allowed_auths_admin {methods}\n    \
             guid a123456789abcdefa123456789abcde1\n  endlan\n  chassis_control \"{} n1\"\n  \
             user 1 false \"\" \"test\" user 10 {methods}\n  \
             user 2 true \"operator\" \"s3cret-and-long!\" admin 10 {methods}\n",
            hook.display()
        );
        fs::write(at("lan.conf"), lan).expect("written");
        let emu = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
                   sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
        fs::write(at("emu"), emu).expect("written");
        fs::create_dir(at("state")).expect("created");
        let child = Command::new(ipmi_sim)
            .args(["-n", "-c"])
            .arg(at("lan.conf"))
            .arg("-f")
            .arg(at("emu"))
            .arg("-s")
            .arg(at("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        thread::sleep(Duration::from_millis(300));
        Some(Self { child, port, folder })
    }

    fn power(&self) -> String {
        fs::read_to_string(self.folder.path().join("power")).expect("readable").trim().into()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ipmitool(port: u16, suite: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let ipmitool = program("ipmitool")?;
    let folder = tempfile::tempdir().expect("folder");
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).expect("written");
    let output = Command::new(ipmitool)
        .args(["-I", "lanplus", "-H", "127.0.0.1", "-U", "operator", "-L", "OPERATOR", "-N", "1"])
        .args(["-R", "2", "-C", suite, "-p", &port.to_string(), "-f"])
        .arg(&password)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ran");
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[tokio::test]
async fn the_client_switches_a_machine_of_ipmi_sim_by_suite_3() {
    let Some(sim) = Sim::start() else { return };
    let device = device(sim.port, Suites::Best, PASSWORD);
    assert_eq!(device.identity(SECONDS).await.map(|id| id.is(machine())), Ok(true));
    assert_eq!(device.status(machine(), SECONDS).await, Ok(PowerState::On));
    let begin = Instant::now();
    assert_eq!(device.off(order(SECONDS)).await, Ok(Answer::Power(PowerState::Off)));
    println!("off and read as off: {:?}", begin.elapsed());
    assert_eq!(sim.power(), "0", "the hook saw it");
    let begin = Instant::now();
    assert_eq!(device.status(machine(), SECONDS).await, Ok(PowerState::Off));
    println!("status: {:?}", begin.elapsed());
    assert_eq!(device.on(order(SECONDS)).await, Ok(Answer::Power(PowerState::On)));
    assert_eq!(sim.power(), "1");
    if let Some((ok, text)) = ipmitool(sim.port, "3", &["chassis", "power", "status"]) {
        assert!(ok && text.contains("Power is on"), "second opinion: {text}");
    }
}

#[tokio::test]
async fn ipmi_sim_closes_every_session_that_we_open() {
    let Some(sim) = Sim::start() else { return };
    let device = device(sim.port, Suites::Best, PASSWORD);
    // It holds 64 sessions at most; a lost Close would end this loop early.
    for round in 0..100 {
        assert_eq!(device.status(machine(), SECONDS).await, Ok(PowerState::On), "round {round}");
    }
}

#[tokio::test]
async fn ipmi_sim_with_another_password_is_an_authentication_failure() {
    let Some(sim) = Sim::start() else { return };
    for suites in [Suites::Only(CipherSuite::Suite3), Suites::Best] {
        let result = device(sim.port, suites, b"wrong").off(order(SECONDS)).await;
        assert!(matches!(result, Err(PowerError::AuthenticationFailed(_))), "{result:?}");
    }
    assert_eq!(sim.power(), "1");
}

#[test]
fn ipmitool_uses_our_double_by_suite_17_and_by_suite_3() {
    for (suite, id) in [(CipherSuite::Suite17, "17"), (CipherSuite::Suite3, "3")] {
        let served = Served::new(Double::new(&[suite]));
        let Some((ok, text)) = ipmitool(served.port, id, &["chassis", "power", "status"]) else {
            return;
        };
        assert!(ok && text.contains("Power is on"), "suite {id}: {text}");
        let (ok, text) = ipmitool(served.port, id, &["chassis", "power", "off"]).expect("there");
        assert!(ok, "suite {id}: {text}");
        assert!(!served.with(|double| double.power));
    }
}
