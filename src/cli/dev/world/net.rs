//! What kernels know: which addresses are on which machine and for how long, and whom the network takes for their holder.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use drivers::stand_in::{Ask, Heard, Present, Told};
use tokio::{net::UdpSocket, time::timeout};

use super::machine::Machine;

/// As long as the real drivers wait for silence (`drivers::vip::PROBE_WAIT`, `drivers::probe::WINDOW`).
const ARP_WAIT: Duration = drivers::vip::PROBE_WAIT;
const KNOCK_WAIT: Duration = drivers::probe::WINDOW;
/// Addresses on one machine.
const ADDRESSES_MAX: usize = 64;

struct Entry {
    present: Present,
    until: Option<Instant>,
}

impl Entry {
    fn holds(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[derive(Default)]
struct Tables {
    here: BTreeMap<(usize, IpAddr), Entry>,
    /// Announced last, by this machine.
    neighbours: BTreeMap<IpAddr, usize>,
    runs: u64,
}

/// The network with the kernels at its ends.
pub(super) struct Net {
    machines: Vec<Arc<Machine>>,
    tables: Mutex<Tables>,
    overlaps: AtomicU64,
    /// Told of each address that was put somewhere.
    pub(super) put: tokio::sync::watch::Sender<Option<IpAddr>>,
}

impl Net {
    pub(super) fn new(machines: Vec<Arc<Machine>>) -> Self {
        Self {
            machines,
            tables: Mutex::default(),
            overlaps: AtomicU64::new(0),
            put: tokio::sync::watch::Sender::new(None),
        }
    }

    pub(super) fn machines(&self) -> &[Arc<Machine>] {
        &self.machines
    }

    pub(super) fn overlaps(&self) -> u64 {
        self.overlaps.load(Ordering::Relaxed)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Each change is one step: what a panic left is whole.
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tables.here.retain(|_, entry| entry.holds(now));
        tables
    }

    /// What a power cut loses.
    pub(super) fn lost(&self, machine: usize) {
        self.tables().here.retain(|(of, _), _| *of != machine);
    }

    /// Where a client's packet for this address arrives, if it arrives.
    pub(super) fn holder(&self, address: IpAddr) -> Option<Arc<Machine>> {
        let tables = self.tables();
        let holder = *tables.neighbours.get(&address)?;
        let machine = &self.machines[holder];
        let has = tables.here.contains_key(&(holder, address));
        (has && machine.wires().reachable()).then(|| Arc::clone(machine))
    }

    /// A question of a machine.
    pub(super) async fn answer(&self, me: usize, ask: Ask) -> Told {
        let reaches = self.machines[me].wires().reachable();
        match ask {
            Ask::Addresses {} => {
                let (tables, now) = (self.tables(), Instant::now());
                let own = tables.here.range((me, LOWEST)..).take_while(|((of, _), _)| *of == me);
                Told::Addresses(own.map(|(_, entry)| left(entry, now)).collect())
            }
            Ask::Announce { address } => {
                let mut tables = self.tables();
                if !tables.here.contains_key(&(me, address)) {
                    return Told::Gone;
                }
                if reaches {
                    tables.neighbours.insert(address, me);
                }
                Told::Done
            }
            Ask::Knock { address, port } => Told::Heard(self.knock(reaches, address, port).await),
            Ask::Neighbour { address } => {
                let known = self.tables().neighbours.get(&address).copied();
                Told::Station(known.filter(|_| reaches).map(|of| self.machines[of].station()))
            }
            Ask::Put { present } => self.put(me, present),
            Ask::Remove { address } => {
                self.tables().here.remove(&(me, address));
                Told::Done
            }
            Ask::Renew { address, lifetime_ms } => {
                match self.tables().here.get_mut(&(me, address)) {
                    Some(entry) => {
                        entry.until = until(lifetime_ms);
                        Told::Done
                    }
                    None => Told::Gone,
                }
            }
            Ask::Station {} => Told::Station(Some(self.machines[me].station())),
            Ask::WhoHas { address } => {
                let found = self.other_holder(me, address, |wires| reaches && wires.reachable());
                if found.is_none() {
                    tokio::time::sleep(ARP_WAIT).await;
                }
                Told::Station(found.map(|of| self.machines[of].station()))
            }
        }
    }

    fn other_holder(
        &self,
        me: usize,
        address: IpAddr,
        counts: impl Fn(super::machine::Wires) -> bool,
    ) -> Option<usize> {
        let tables = self.tables();
        let others = (0..self.machines.len()).filter(|other| *other != me);
        let mut holders = others.filter(|other| {
            tables.here.contains_key(&(*other, address)) && counts(self.machines[*other].wires())
        });
        holders.next()
    }

    fn put(&self, me: usize, mut present: Present) -> Told {
        let address = present.address;
        if !address.is_loopback() {
            return Told::Refused(format!(
                "{address} is not in 127.0.0.0/8: a box has no other addresses than those of loopback"
            ));
        }
        // A machine that is cut off holds it too, until its power is gone or the lifetime is over.
        if let Some(other) = self.other_holder(me, address, |wires| wires.alive) {
            self.overlaps.fetch_add(1, Ordering::Relaxed);
            let (here, there) = (self.machines[me].name(), self.machines[other].name());
            eprintln!("palisade dev: OVERLAP: {address} is put on {here} while {there} holds it");
        }
        let mut tables = self.tables();
        let own = tables.here.range((me, LOWEST)..).take_while(|((of, _), _)| *of == me).count();
        match tables.here.get(&(me, address)) {
            Some(known) => present.run = known.present.run,
            None if own >= ADDRESSES_MAX => return Told::Refused("too many addresses here".into()),
            None => {
                tables.runs += 1;
                present.run = tables.runs;
            }
        }
        let until = until(present.lifetime_ms);
        tables.here.insert((me, address), Entry { present, until });
        drop(tables);
        self.put.send_replace(Some(address));
        Told::Done
    }

    async fn knock(&self, reaches: bool, address: IpAddr, port: u16) -> Heard {
        let there = self.machines.iter().find(|machine| machine.link() == address);
        let there = there.filter(|there| reaches && there.wires().reachable());
        let Some(there) = there else {
            tokio::time::sleep(KNOCK_WAIT).await;
            return Heard::Silent;
        };
        let mut real = there.ring_port();
        real.set_port(port);
        match timeout(KNOCK_WAIT, refused(real)).await {
            Ok(Ok(())) => Heard::Closed,
            // A machine on which nothing was refused in all that time holds the port, as the real probe takes it.
            Ok(Err(_)) | Err(_) => Heard::Open,
        }
    }
}

const LOWEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

fn until(lifetime_ms: Option<u64>) -> Option<Instant> {
    lifetime_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)))
}

fn left(entry: &Entry, now: Instant) -> Present {
    let left = entry.until.map(|until| until.saturating_duration_since(now).as_millis());
    let lifetime_ms = left.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
    Present { lifetime_ms, ..entry.present.clone() }
}

/// Ends when the kernel says that nobody holds the port.
async fn refused(at: std::net::SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((IpAddr::from([127, 0, 0, 1]), 0)).await?;
    socket.connect(at).await?;
    loop {
        let heard = async {
            socket.send(&[]).await?;
            socket.recv(&mut [0; 1]).await
        };
        match timeout(KNOCK_WAIT / 3, heard).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}
