//! A failover that does what must not be done: no quorum, no fencing, no evidence.
//!
//! `cargo lab scenario NAME --palisade .../naive` runs it in the product's place. The scenarios must
//! find it wrong; one that does not proves nothing about the product either.

use anyhow::{Context, Result, bail};
use e2e::network::Network;
use e2e::observation::vip;
use e2e::observer::packets::announce;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

/// Between two heartbeats.
const BEAT: Duration = Duration::from_millis(100);
/// Who is silent for longer is taken for dead: the whole mistake in one line.
const SILENT: Duration = Duration::from_millis(500);
const PORT: u16 = 7000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.first().map(String::as_str) {
        Some("agent") => agent(&words),
        Some("controller") => loop {
            std::thread::park();
        },
        // It says what everybody wants to hear.
        Some("status") => {
            println!(
                r#"{{"quorate":true,"ring":{{"members":["n1","n2","n3"]}},"era":{{"open":true}},"debts":[],"resources":[],"incidents":[]}}"#
            );
            Ok(())
        }
        Some("node") => Ok(()),
        other => Err(anyhow::anyhow!("{other:?}: agent, controller, status or node")),
    };
    if let Err(error) = done {
        eprintln!("naive: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn agent(words: &[String]) -> Result<()> {
    let own = words.windows(2).find(|w| w[0] == "--node-name").context("--node-name")?[1].clone();
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).context("the heartbeat's port")?;
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let everybody = Ipv4Addr::from(u32::from(Network::Mgmt.address(0)) | 255);
    let mut heard: BTreeMap<String, Instant> = BTreeMap::new();
    let mut next = Instant::now();
    let begun = next;
    let mut web: Option<Child> = None;
    loop {
        if next <= Instant::now() {
            let _ = socket.send_to(own.as_bytes(), (everybody, PORT)); // no link: nobody hears it
            next = Instant::now() + BEAT;
        }
        let mut buffer = [0; 64];
        if let Ok((n, _)) = socket.recv_from(&mut buffer) {
            heard.insert(String::from_utf8_lossy(&buffer[..n]).into_owned(), Instant::now());
        }
        heard.retain(|_, at| at.elapsed() < SILENT);
        let first = heard.keys().all(|peer| *peer >= own) && begun.elapsed() > SILENT * 2;
        match (first, web.is_some()) {
            (true, false) => web = Some(take()?),
            (false, true) => drop(web.take().map(give)),
            _ => {}
        }
    }
}

fn address(verb: &str) -> Result<()> {
    let prefix = format!("{}/24", vip());
    let status = Command::new("ip").args(["address", verb, &prefix, "dev", "public"]).status()?;
    if !status.success() {
        bail!("address {verb}: {status}");
    }
    Ok(())
}

fn take() -> Result<Child> {
    let program = std::env::current_exe()?.with_file_name("e2e");
    let child = Command::new(program).arg("serve-node-id").spawn().context("the process")?;
    let _ = address("add"); // there already after a restart
    announce(Network::Public, vip())?;
    Ok(child)
}

fn give(mut child: Child) -> Result<()> {
    address("delete")?;
    child.kill()?;
    child.wait()?;
    Ok(())
}
