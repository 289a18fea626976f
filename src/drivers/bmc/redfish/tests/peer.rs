//! The driver against sushy-tools' Redfish emulator, which is a stranger to us: HTTP/1.0, no sessions, and a power that
//! changes 1 to 11 s after it was promised. Its own command, since it installs a program of somebody else:
//!
//! ```text
//! python3 -m venv /tmp/sushy && /tmp/sushy/bin/pip install sushy-tools==2.2.0
//! PALISADE_SUSHY=/tmp/sushy/bin/sushy-emulator cargo test -p drivers --lib redfish::tests::peer -- --ignored --nocapture
//! ```

use core::time::Duration;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Instant,
};

use crate::{
    bmc::redfish::{RedfishDevice, RedfishTarget, Trust},
    power::{Permit, PowerDevice as _, PowerOrder, PowerState},
    secret::Password,
};

const USER: &str = "operator";
const PASSWORD: &str = "s3cret-and-long!";
const UUID: &str = "4c4c4544-0042-3510-8054-b4c04f564431";
/// bcrypt of the password.
const HTPASSWD: &str = "$2b$04$my/eyCCoizO/1QdhP6Zp7OtNMjEc0SYMAWfxc4MBhjPFwH0wHpoyu";
const SECONDS: Duration = Duration::from_secs(10);

struct Peer {
    child: Child,
    address: SocketAddr,
    certificate: Vec<u8>,
    _folder: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its certificate is made by `openssl`, another stranger.
fn peer(program: &str) -> Peer {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bmc"])
        .args(["-keyout", &file("key.pem"), "-out", &file("cert.pem")])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl runs").success());
    fs::write(file("htpasswd"), format!("{USER}:{HTPASSWD}\n")).expect("written");
    let system = format!(
        "{{'uuid': '{UUID}', 'name': 'ctl-1', 'power_state': 'On', 'external_notifier': False, 'nics': []}}"
    );
    let config = format!(
        "SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_FAKE_SYSTEMS = [{system}]\nSUSHY_EMULATOR_STATE_DIR = '{}'\nSUSHY_EMULATOR_AUTH_FILE = '{}'\n",
        folder.path().display(),
        file("htpasswd")
    );
    fs::write(file("conf.py"), config).expect("written");
    let free = TcpListener::bind("127.0.0.1:0").expect("free").local_addr().expect("bound");
    let child = Command::new(program)
        .args(["--config", &file("conf.py"), "--interface", "127.0.0.1"])
        .args(["--port", &free.port().to_string()])
        .args(["--ssl-certificate", &file("cert.pem"), "--ssl-key", &file("key.pem")])
        .stdin(Stdio::null())
        .spawn()
        .expect("sushy-emulator starts");
    let certificate = fs::read(file("cert.pem")).expect("made");
    let peer = Peer { child, address: free, certificate, _folder: folder };
    let begun = Instant::now();
    while std::net::TcpStream::connect(free).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not listen");
        std::thread::sleep(Duration::from_millis(100));
    }
    peer
}

fn fingerprint(pem: &[u8]) -> [u8; 32] {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let der = CertificateDer::from_pem_slice(pem).expect("one certificate");
    let mut fingerprint = [0; 32];
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    fingerprint.copy_from_slice(hash.as_ref());
    fingerprint
}

//= SAFETY.md#S4
//= type=test
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs sushy-tools: the command stands above"]
async fn sushy_tools_is_switched_off_and_on_and_its_204_is_no_evidence() {
    let program = std::env::var("PALISADE_SUSHY").expect("PALISADE_SUSHY names sushy-emulator");
    let peer = peer(&program);
    let target = RedfishTarget {
        address: peer.address,
        user: USER.into(),
        password: Password::new(PASSWORD.into()),
        system: None,
        trust: Trust::Fingerprint(fingerprint(&peer.certificate)),
    };
    let device = RedfishDevice::new(target.clone());
    let machine = UUID.parse().expect("valid");
    let order = || PowerOrder { target: machine, within: SECONDS, permit: Permit::new(|| true) };
    assert!(device.identity(SECONDS).await.expect("said").is(machine));
    assert_eq!(device.status(machine, SECONDS).await, Ok(PowerState::On));

    for (wanted, off) in [(PowerState::Off, true), (PowerState::On, false)] {
        let begun = Instant::now();
        let first = if off { device.off(order()).await } else { device.on(order()).await };
        println!("{wanted:?}: first {first:?} after {:?}", begun.elapsed());
        first.expect("taken");
        let mut reads = 0;
        while device.status(machine, SECONDS).await != Ok(wanted) {
            reads += 1;
            assert!(begun.elapsed() < Duration::from_secs(20), "never {wanted:?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        println!("{wanted:?}: read after {:?}, {reads} reads said otherwise", begun.elapsed());
    }

    let other = "00000000-0042-3510-8054-b4c04f564431".parse().expect("valid");
    let wrong = device.status(other, SECONDS).await.expect_err("another machine");
    assert_eq!(wrong.label(), "wrong_identity");
    let password = Password::new(b"no".to_vec());
    let stranger = RedfishDevice::new(RedfishTarget { password, ..target.clone() });
    let refused = stranger.off(order()).await.expect_err("refused");
    assert_eq!(refused.label(), "authentication_failed", "{refused}");
    let system = Some("9".into());
    let missing = RedfishDevice::new(RedfishTarget { system, ..target.clone() });
    let missing = missing.status(machine, SECONDS).await.expect_err("no such system");
    println!("{missing}");
    assert_eq!(missing.label(), "misfit", "{missing}");
    let trust = Trust::Fingerprint([0; 32]);
    let unknown = RedfishDevice::new(RedfishTarget { trust, ..target });
    let unknown = unknown.status(machine, SECONDS).await.expect_err("another certificate");
    assert_eq!(unknown.label(), "untrusted", "{unknown}");
}
