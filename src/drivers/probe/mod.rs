//! Is a silent machine dead, or only its agent? (CLUSTER.md section 5)
//!
//! Promises: all machines and all links at once, three tries, one hundred milliseconds; what could not be asked is an
//! error and never "silent". Never: what follows from it.
//!
//! ```text
//!              ┌─ ARP / NS  ─▶ a station answers ──────────┐
//!   links ─▶ ──┼─ ICMP echo ─▶ the machine answers ────────┼─▶ Answers(Open)
//!              └─ UDP to the agent's port ─▶ refused ──────┴─▶ Answers(Closed)       nothing at all ─▶ Silent
//! ```
//!
//! A frozen machine's kernel answers the first two and refuses nothing: its port is open.

mod proto;

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::io;

use futures::future::join_all;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UdpSocket,
    sync::Mutex,
    time::{sleep, timeout},
};

pub use proto::{Echo, Family, TOKEN_BYTES, parse_echo_reply};

use crate::{
    sys,
    vip::{Netlink, Seen as Station, Voice},
};

/// How long one probe takes unless all is known earlier.
pub const WINDOW: Duration = Duration::from_millis(100);
/// Tries within the window, evenly spread.
pub const TRIES: u16 = 3;
/// Machines of one call, and links of one machine.
const MACHINES_MAX: usize = 64;
const LINKS_MAX: usize = 8;
const PACKET_BYTES_MAX: usize = 2048;

/// One link to a silent machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The agent's address and port on it.
    pub peer: SocketAddr,
    /// Our own address on it.
    pub local: Option<IpAddr>,
    /// Our interface, where the peer is on the same network segment: then it is asked by ARP or NDP too.
    pub interface: Option<String>,
}

/// The agent's port on a machine that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Nothing was refused: somebody holds the socket, whether it reads or not.
    Open,
    /// The machine says that nobody listens.
    Closed,
}

/// What was heard of a machine on any of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is there.
    Answers(Port),
    /// Nothing at all.
    Silent,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Neither ICMP nor ARP could be sent: silence would mean nothing.
    #[error(
        "cannot ask whether the machine is there: give the agent CAP_NET_RAW, or open net.ipv4.ping_group_range"
    )]
    Blind,
    /// More than the limits of this module.
    #[error("at most 64 machines with 8 links each")]
    TooMany,
}

struct Icmp {
    v4: Option<AsyncFd<Socket>>,
    v6: Option<AsyncFd<Socket>>,
}

/// Opened while the rights are there; used any time later.
pub struct Prober {
    /// One probe at a time reads the answers.
    icmp: Mutex<Icmp>,
    netlink: Option<Netlink>,
}

struct Machine<'a> {
    links: &'a [Link],
    token: [u8; TOKEN_BYTES],
    alive: AtomicBool,
    refused: AtomicBool,
    /// Whether silence would mean anything.
    asked: AtomicBool,
}

impl Prober {
    /// What cannot be opened is missed only when a probe needs it. Needs a runtime.
    pub fn open() -> Self {
        let icmp = Mutex::new(Icmp { v4: icmp(Family::V4), v6: icmp(Family::V6) });
        Self { icmp, netlink: Netlink::open().ok() }
    }

    /// One result for each machine, in order.
    pub async fn probe(
        &self,
        machines: &[Vec<Link>],
    ) -> Result<Vec<Result<Reply, ProbeError>>, ProbeError> {
        if machines.len() > MACHINES_MAX || machines.iter().any(|links| links.len() > LINKS_MAX) {
            return Err(ProbeError::TooMany);
        }
        let icmp = self.icmp.lock().await;
        let machines: Vec<_> = machines.iter().map(|links| Machine::new(links)).collect();
        for socket in icmp.v4.iter().chain(&icmp.v6) {
            drain(socket);
        }
        // Lists, not lazy iterators: their closures would keep this future from being sent between threads.
        let mut refusals = Vec::new();
        let mut stations = Vec::new();
        for machine in &machines {
            for link in machine.links {
                refusals.push(ask_port(machine, link));
                stations.push(self.ask_station(machine, link));
            }
        }
        let (refusals, stations) = (join_all(refusals), join_all(stations));
        let work = async {
            tokio::join!(
                echo(&icmp, &machines),
                listen(icmp.v4.as_ref(), Family::V4, &machines),
                listen(icmp.v6.as_ref(), Family::V6, &machines),
                stations,
                async {
                    refusals.await;
                    // All that answered "closed" is known; who is open is known only by waiting.
                    core::future::pending::<()>().await;
                },
            )
        };
        let known = async {
            while !machines.iter().all(|machine| machine.refused.load(Ordering::Relaxed)) {
                sleep(WINDOW / 20).await;
            }
        };
        let both = async {
            tokio::select! { _ = work => {}, () = known => {} }
        };
        // Running out of time is how most probes end.
        let _ = timeout(WINDOW, both).await;
        Ok(machines.iter().map(Machine::reply).collect())
    }

    async fn ask_station(&self, machine: &Machine<'_>, link: &Link) {
        let (Some(netlink), Some(name)) = (&self.netlink, &link.interface) else { return };
        let Ok(Some(interface)) = netlink.link(name).await else { return };
        for _ in 0..TRIES {
            let Ok(voice) = Voice::open(&interface, link.peer.ip()) else { return };
            machine.asked.store(true, Ordering::Relaxed);
            match voice.probe(WINDOW / u32::from(TRIES)).await {
                Ok(Station::Station(_)) => return machine.alive.store(true, Ordering::Relaxed),
                Ok(Station::Nobody) => {}
                Err(_) => return,
            }
        }
    }
}

impl<'a> Machine<'a> {
    fn new(links: &'a [Link]) -> Self {
        let mut token = [0; TOKEN_BYTES];
        // Without randomness all tokens are equal and an old answer may count: "alive" too often, never too seldom.
        let _ = aws_lc_rs::rand::fill(&mut token);
        // Our own kernel answers for loopback (`palisade dev`): there only the port tells.
        let own = links.iter().any(|link| link.peer.ip().is_loopback());
        Self { links, token, alive: own.into(), refused: false.into(), asked: own.into() }
    }

    fn reply(&self) -> Result<Reply, ProbeError> {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        match (is(&self.refused), is(&self.alive), is(&self.asked)) {
            (true, ..) => Ok(Reply::Answers(Port::Closed)),
            (false, true, _) => Ok(Reply::Answers(Port::Open)),
            (false, false, true) => Ok(Reply::Silent),
            (false, false, false) => Err(ProbeError::Blind),
        }
    }
}

/// Raw where it is allowed, else the kernel's ping socket.
fn icmp(family: Family) -> Option<AsyncFd<Socket>> {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::DGRAM, Some(protocol)))
        .ok()?;
    socket.set_nonblocking(true).ok()?;
    sys::register(socket).ok()
}

/// Old answers, and those to others: a raw socket hears all.
fn drain(socket: &AsyncFd<Socket>) {
    let mut buffer = [0; PACKET_BYTES_MAX];
    for _ in 0..4096 {
        if recv(socket.get_ref(), &mut buffer, RecvFlags::DONTWAIT).is_err() {
            return;
        }
    }
}

async fn echo(icmp: &Icmp, machines: &[Machine<'_>]) {
    for number in 0..TRIES {
        for machine in machines {
            for link in machine.links {
                let (socket, family) = match link.peer {
                    SocketAddr::V4(_) => (&icmp.v4, Family::V4),
                    SocketAddr::V6(_) => (&icmp.v6, Family::V6),
                };
                let Some(socket) = socket else { continue };
                let request = proto::echo_request(family, number, machine.token);
                let mut to = link.peer;
                to.set_port(0);
                // A network that is away is silence on this link, and silence is what is asked about.
                let _ = socket.get_ref().send_to(&request, &SockAddr::from(to));
                machine.asked.store(true, Ordering::Relaxed);
            }
        }
        sleep(WINDOW / u32::from(TRIES)).await;
    }
    core::future::pending::<()>().await;
}

async fn listen(socket: Option<&AsyncFd<Socket>>, family: Family, machines: &[Machine<'_>]) {
    let Some(socket) = socket else { return };
    let mut buffer = [0; PACKET_BYTES_MAX];
    loop {
        let received = socket
            .async_io(Interest::READABLE, |socket| {
                Ok(recv(socket, &mut buffer, RecvFlags::DONTWAIT)?.0)
            })
            .await;
        let Ok(len) = received else {
            // An error that stays must not turn in a circle.
            sleep(WINDOW / 100).await;
            continue;
        };
        let Some(echo) = parse_echo_reply(family, &buffer[..len.min(PACKET_BYTES_MAX)]) else {
            continue;
        };
        for machine in machines.iter().filter(|machine| machine.token == echo.token) {
            machine.alive.store(true, Ordering::Relaxed);
        }
    }
}

/// An empty datagram, which the ring drops unread; a machine on which nobody listens refuses it.
async fn ask_port(machine: &Machine<'_>, link: &Link) {
    let Ok(socket) = connected(link).await else { return };
    for _ in 0..TRIES {
        let heard = async {
            match socket.send(&[]).await {
                Err(error) => Err(error),
                Ok(_) => socket.recv(&mut [0; 1]).await,
            }
        };
        match timeout(WINDOW / u32::from(TRIES), heard).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                machine.refused.store(true, Ordering::Relaxed);
                return;
            }
            // Nobody speaks from this port to us, but whoever does is there.
            Ok(Ok(_)) => machine.alive.store(true, Ordering::Relaxed),
            Ok(Err(_)) => sleep(WINDOW / u32::from(TRIES)).await,
            Err(_) => {}
        }
    }
}

async fn connected(link: &Link) -> io::Result<UdpSocket> {
    let any = match link.peer {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((link.local.unwrap_or(any), 0)).await?;
    socket.connect(link.peer).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
