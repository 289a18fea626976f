//! The observer: watches the lab from outside and believes nobody (SAFETY.md 2.1).
//!
//! ```text
//!   P1 addresses  netlink in each machine's namespace  ─┐
//!   P2 neighbours ARP from the client's                 │
//!   P3 service    HTTP from the client's, every 10 ms   ├─▶ events.jsonl ─▶ verdict
//!   P4 processes  the machines' cgroups                 │        ▲
//!   P5 power      the power log, packets to the BMCs   ─┘        └─ power.jsonl
//!   P8 API        the API server's audit log ─────────────────────▶ verdict
//! ```
//!
//! It never reads the product's logs, status or metrics. One CLOCK_MONOTONIC orders everything.

pub mod audit;
pub mod events;
pub mod http;
pub mod netlink;
pub mod packets;
pub mod processes;
pub mod verdict;

use crate::lab::Lab;
use crate::machine::Running;
use crate::network::Network;
use anyhow::{Context, Result};
use events::{Log, What};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What to watch.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The lab.
    pub lab: PathBuf,
    /// Where the events go.
    pub out: PathBuf,
    /// Addresses of which there may be one holder each.
    pub addresses: Vec<Ipv4Addr>,
    /// Asked over HTTP; answers with the node's name.
    pub http: Option<SocketAddrV4>,
    /// Things of which there may be one each: label, and what one of the first two arguments of
    /// its process ends with.
    pub processes: Vec<(String, String)>,
}

/// Before the watched, after the kernel's own.
const NICE: i32 = -15;

/// How often new machines are looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Watches until it is killed. An event is in the file when it has been seen: no end is needed.
pub fn run(watch: &Watch) -> Result<()> {
    let lab = Lab::open(&watch.lab)?;
    // Time stamps are taken when a probe runs: on a busy host it must run first.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        eprintln!("observer: stays at its priority, so time stamps may be late: {error}");
    }
    let log = Log::create(&watch.out)?;
    let namespaces = lab.namespaces();
    let guard = |name: &'static str,
                 log: &Arc<Log>,
                 probe: Box<dyn FnOnce() -> Result<()> + Send>| {
        let log = Arc::clone(log);
        thread::spawn(move || {
            if let Err(error) = probe() {
                // A blind observer sees no overlap: the verdict refuses to be green after this.
                log.write(What::ProbeFailed { probe: name.into(), error: format!("{error:#}") });
            }
        })
    };
    let (own, client, addresses) = (Arc::clone(&log), namespaces.client(), watch.addresses.clone());
    guard(
        "arp",
        &log,
        Box::new(move || packets::watch_arp(&client, Network::Public, &addresses, &own)),
    );
    let (own, bmcs) = (Arc::clone(&log), namespaces.bmc());
    guard("bmc", &log, Box::new(move || packets::watch_bmcs(&bmcs, &own)));
    if let Some(target) = watch.http {
        let (own, client) = (Arc::clone(&log), namespaces.client());
        guard("http", &log, Box::new(move || http::probe(&client, target, &own)));
    }
    let (own, on, labels) = (Arc::clone(&log), lab.clone(), watch.processes.clone());
    guard("processes", &log, Box::new(move || processes::watch(&on, &labels, &own)));
    log.write(What::Watching);
    let mut known: BTreeMap<String, Running> = BTreeMap::new();
    let mut seen = BTreeMap::new();
    let machines = lab.machines();
    loop {
        for machine in &machines {
            // Read only when it is another file: this loop must cost nothing.
            let stamp = std::fs::metadata(machine.dir().join("running.json"));
            let stamp = stamp.ok().map(|m| (m.ino(), m.mtime_nsec()));
            if seen.insert(machine.name(), stamp) == Some(stamp) {
                continue;
            }
            let running = machine.running().context("the record of a machine")?;
            let Some(running) = running else { continue };
            if known.get(machine.name()) == Some(&running) {
                continue;
            }
            known.insert(machine.name().to_owned(), running.clone());
            let (own, name) = (Arc::clone(&log), machine.name().to_owned());
            guard("addresses", &log, Box::new(move || netlink::watch(&name, &running.init, &own)));
        }
        thread::sleep(LOOK);
    }
}
