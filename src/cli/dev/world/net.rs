//! What kernels know: which addresses are on which machine and for how long, and whom the network takes for their holder.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use drivers::stand_in::{Ask, Heard, Present, Told};
use tokio::{net::UdpSocket, sync::mpsc, time::timeout};

use super::{super::plan::WEB_PORT, front::Door, machine::Machine};

/// As long as the real drivers wait for silence (`drivers::vip::PROBE_WAIT`, `drivers::probe::WINDOW`).
const ARP_WAIT: Duration = drivers::vip::PROBE_WAIT;
const KNOCK_WAIT: Duration = drivers::probe::WINDOW;
/// Addresses on one machine.
const ADDRESSES_MAX: usize = 64;
/// Ports that one machine listens on for others.
const EARS_MAX: usize = 256;
/// Ports that wait to be served.
const DOORS_WAITING_MAX: usize = 256;

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
    /// Who listens on a machine, where one says so.
    ears: BTreeMap<(usize, SocketAddr), Ear>,
    /// Ports that were listened on ever: without a listener nobody else is taken for one.
    heard: BTreeSet<SocketAddr>,
    runs: u64,
}

struct Ear {
    run: u64,
    socket: PathBuf,
}

/// Where connections to an address and port arrive on a machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrives {
    /// At what listens there by itself.
    Kernel,
    /// At this socket, which listens for others too.
    Socket(PathBuf),
    /// Nobody.
    Nowhere,
}

/// The network with the kernels at its ends.
pub(super) struct Net {
    machines: Vec<Arc<Machine>>,
    tables: Mutex<Tables>,
    overlaps: AtomicU64,
    /// Ports to be served from outside.
    doors: mpsc::Sender<Door>,
}

impl Net {
    /// With the ports that are to be served, as they come.
    pub(super) fn new(machines: Vec<Arc<Machine>>) -> (Self, mpsc::Receiver<Door>) {
        let (doors, asked) = mpsc::channel(DOORS_WAITING_MAX);
        let (tables, overlaps) = (Mutex::default(), AtomicU64::new(0));
        (Self { machines, tables, overlaps, doors }, asked)
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
        let mut tables = self.tables();
        tables.here.retain(|(of, _), _| *of != machine);
        tables.ears.retain(|(of, _), _| *of != machine);
    }

    /// Which machine a packet of `me` for this address reaches, if it does.
    pub(super) fn reached(&self, me: &Machine, address: IpAddr) -> Option<Arc<Machine>> {
        let own = me.link() == address || self.tables().here.contains_key(&(me.place(), address));
        if own {
            return Some(Arc::clone(&self.machines[me.place()]));
        }
        if !me.wires().reachable() {
            return None;
        }
        let machine = self.machines.iter().find(|machine| machine.link() == address);
        match machine {
            Some(machine) => machine.wires().reachable().then(|| Arc::clone(machine)),
            None => self.holder(address),
        }
    }

    /// Somebody on that machine listens; until [`Net::deafen`] is told the same number.
    pub(super) async fn hear(
        &self,
        me: usize,
        at: SocketAddr,
        socket: &Path,
    ) -> Result<u64, String> {
        if !at.ip().is_loopback() {
            return Err(format!("{at} is no address of loopback: a box has no others"));
        }
        if self.machines.iter().any(|machine| machine.link() == at.ip()) {
            return Err(format!("{at} is a machine's own address: listen on a virtual one"));
        }
        if !self.machines[me].owns(socket) {
            return Err(format!("{} is in no folder of this machine", socket.display()));
        }
        let (told, done) = tokio::sync::oneshot::channel();
        let ended = "the box ends";
        let door = Door { at, told: Some(told) };
        self.doors.send(door).await.map_err(|_| ended)?;
        let opened = done.await.map_err(|_| ended)?;
        opened.map_err(|error| format!("{at} cannot be served from outside: {error}"))?;
        let mut tables = self.tables();
        let own = tables.ears.keys().filter(|(of, _)| *of == me).count();
        match tables.ears.get(&(me, at)) {
            // The same one again, whose end was not seen yet.
            Some(known) if known.socket == socket => {}
            Some(known) => {
                let by = known.socket.display();
                return Err(format!("{at} is in use on this machine, by {by}"));
            }
            None if own >= EARS_MAX => return Err("too many ports on this machine".into()),
            None => {}
        }
        tables.runs += 1;
        let run = tables.runs;
        tables.ears.insert((me, at), Ear { run, socket: socket.to_owned() });
        tables.heard.insert(at);
        Ok(run)
    }

    /// It does not listen any more.
    pub(super) fn deafen(&self, me: usize, at: SocketAddr, run: u64) {
        let mut tables = self.tables();
        if tables.ears.get(&(me, at)).is_some_and(|ear| ear.run == run) {
            tables.ears.remove(&(me, at));
        }
    }

    /// Where a connection to that port arrives on a machine that it reached.
    pub(super) fn arrives(&self, on: &Machine, at: SocketAddr) -> Arrives {
        let tables = self.tables();
        match tables.ears.get(&(on.place(), at)) {
            Some(ear) => Arrives::Socket(ear.socket.clone()),
            None if tables.heard.contains(&at) => Arrives::Nowhere,
            None => Arrives::Kernel,
        }
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
            Ask::Connect { .. } | Ask::Listen { .. } => {
                Told::Refused("a connection of its own is needed for that".into())
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
        let at = SocketAddr::new(address, WEB_PORT);
        if self.doors.try_send(Door { at, told: None }).is_err() {
            eprintln!("palisade dev: {at} is not served from outside: too much else waits");
        }
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
async fn refused(at: SocketAddr) -> io::Result<()> {
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
