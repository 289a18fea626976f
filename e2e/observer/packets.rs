//! P2: who answers for an address. P5's other half: who talks to which BMC.
//!
//! Both by packet sockets, in the namespaces of the client and of the BMCs.

use super::events::{Log, What};
use crate::network::{self, Network};
use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(200);
const ARP_REQUEST: u8 = 1;
const ARP_REPLY: u8 = 2;
const RMCP_PORT: u16 = 623;

/// A raw socket on one interface of the calling thread's namespace.
struct Wire {
    socket: OwnedFd,
    mac: [u8; 6],
}

impl Wire {
    fn open(interface: &str) -> Result<Self> {
        let link: LinkAddr = nix::ifaddrs::getifaddrs()
            .context("listing interfaces")?
            .find(|i| {
                i.interface_name == interface
                    && i.address.is_some_and(|a| a.as_link_addr().is_some())
            })
            .and_then(|i| i.address?.as_link_addr().copied())
            .with_context(|| format!("no interface {interface} here"))?;
        let mac = link.addr().context("an interface without an Ethernet address")?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )
        .context("a packet socket")?;
        bind(socket.as_raw_fd(), &link).context("binding a packet socket")?;
        Ok(Self { socket, mac })
    }

    /// The next frame before `until`.
    fn next(&self, until: Instant, buffer: &mut [u8]) -> Result<Option<usize>> {
        let wait = until.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error).context("waiting for a frame"),
        }
        match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(n) => Ok(Some(n.min(buffer.len()))),
            // ENETDOWN: the interface goes down and comes back; ours does not, a cut's peer may.
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::ENETDOWN) => Ok(None),
            Err(error) => Err(error).context("reading a frame"),
        }
    }
}

/// Asks for each address every 200 ms and writes who answered; writes unasked announcements too.
pub fn watch_arp(
    namespace: &str,
    network: Network,
    addresses: &[Ipv4Addr],
    log: &Log,
) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    network::enter(namespace)?;
    let wire = Wire::open(network.name())?;
    let own = network.address(network::CLIENT_HOST);
    let mut buffer = [0; 2048];
    loop {
        let until = Instant::now() + ASK_EVERY;
        for address in addresses {
            let _ = send(
                wire.socket.as_raw_fd(),
                &question(wire.mac, own, *address),
                MsgFlags::empty(),
            );
        }
        let mut answers: BTreeMap<Ipv4Addr, BTreeSet<String>> =
            addresses.iter().map(|a| (*a, BTreeSet::new())).collect();
        while Instant::now() < until {
            let Some(n) = wire.next(until, &mut buffer)? else { continue };
            let Some(arp) = Arp::parse(&buffer[..n]) else { continue };
            let Some(macs) = answers.get_mut(&arp.sender) else { continue };
            if arp.sender == arp.target {
                // Not counted as an answer: in a clean move the old holder may have answered this
                // question, rightly, just before the new one announces itself.
                log.write(What::Announced { address: arp.sender, mac: arp.mac });
            } else if arp.operation == ARP_REPLY && arp.target == own {
                macs.insert(arp.mac);
            }
        }
        for (address, macs) in answers {
            log.write(What::Answered { address, macs: macs.into_iter().collect() });
        }
    }
}

/// Writes each packet to a BMC: the last one before a power command names who sent it.
pub fn watch_bmcs(namespace: &str, log: &Log) -> Result<()> {
    network::enter(namespace)?;
    let wire = Wire::open(Network::Bmc.name())?;
    let mut buffer = [0; 2048];
    loop {
        let Some(n) = wire.next(Instant::now() + Duration::from_secs(3600), &mut buffer)? else {
            continue;
        };
        if let Some((from, to)) = rmcp(&buffer[..n]) {
            log.write(What::BmcPacket { from, to });
        }
    }
}

/// Says in the calling thread's namespace that this interface has the address: what a holder does,
/// and what a stranger could.
pub fn announce(network: Network, address: Ipv4Addr) -> Result<()> {
    let wire = Wire::open(network.name())?;
    let frame = question(wire.mac, address, address);
    send(wire.socket.as_raw_fd(), &frame, MsgFlags::empty()).context("announcing")?;
    Ok(())
}

/// IPv4 datagrams to an Ethernet address, as they pass one port of a switch.
pub fn capture(
    namespace: &str,
    port: &str,
    time: Duration,
    limit: usize,
    to: &str,
) -> Result<Vec<Vec<u8>>> {
    let (namespace, port, to) = (namespace.to_owned(), port.to_owned(), to.to_owned());
    // A thread of its own: the namespace is the thread's.
    let work = std::thread::spawn(move || {
        network::enter(&namespace)?;
        let wire = Wire::open(&port)?;
        let until = Instant::now() + time;
        let mut frames = Vec::new();
        let mut buffer = [0; 65536];
        while Instant::now() < until && frames.len() < limit {
            let Some(n) = wire.next(until, &mut buffer)? else { continue };
            let frame = &buffer[..n];
            let mac = frame.get(..6).unwrap_or_default().iter();
            let mac: Vec<String> = mac.map(|b| format!("{b:02x}")).collect();
            if mac.join(":") == to
                && frame.get(12..14) == Some(&[8, 0])
                && frame.get(23) == Some(&17)
            {
                frames.push(without_checksum(frame));
            }
        }
        Ok(frames)
    });
    work.join().map_err(|_| anyhow::anyhow!("the capture ended in a panic"))?
}

/// On a virtual wire the checksum was never finished: none at all is taken (RFC 768), a wrong one not.
fn without_checksum(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let header = usize::from(frame[14] & 0xf) * 4;
    if let Some(checksum) = frame.get_mut(14 + header + 6..14 + header + 8) {
        checksum.fill(0);
    }
    frame
}

/// Sends frames out of one port of a switch, word for word, each `times` times. Gives how many.
pub fn inject(namespace: &str, port: &str, frames: &[Vec<u8>], times: usize) -> Result<usize> {
    let (namespace, port, frames) = (namespace.to_owned(), port.to_owned(), frames.to_vec());
    let work = std::thread::spawn(move || {
        network::enter(&namespace)?;
        let wire = Wire::open(&port)?;
        let mut sent = 0;
        for frame in (0..times).flat_map(|_| &frames) {
            send(wire.socket.as_raw_fd(), frame, MsgFlags::empty()).context("sending a frame")?;
            sent += 1;
            // Slower than a queue overflows: what the kernel loses proves nothing.
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(sent)
    });
    work.join().map_err(|_| anyhow::anyhow!("sending ended in a panic"))?
}

struct Arp {
    operation: u8,
    mac: String,
    sender: Ipv4Addr,
    target: Ipv4Addr,
}

impl Arp {
    /// Ethernet, type 0806, hardware 1, protocol 0800, lengths 6 and 4.
    fn parse(frame: &[u8]) -> Option<Self> {
        if frame.get(12..20)? != [8, 6, 0, 1, 8, 0, 6, 4] {
            return None;
        }
        let four =
            |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
        let mac: Vec<String> = frame.get(22..28)?.iter().map(|b| format!("{b:02x}")).collect();
        Some(Self {
            operation: *frame.get(21)?,
            mac: mac.join(":"),
            sender: four(28)?,
            target: four(38)?,
        })
    }
}

fn question(mac: [u8; 6], own: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, ARP_REQUEST]);
    frame.extend(mac);
    frame.extend(own.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// Sender and target of an IPv4 datagram to the RMCP port.
fn rmcp(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    if frame.get(12..14)? != [8, 0] || *frame.get(23)? != 17 {
        return None;
    }
    let header = usize::from(*frame.get(14)? & 0xf) * 4;
    let port = frame.get(14 + header + 2..14 + header + 4)?;
    if port != RMCP_PORT.to_be_bytes() {
        return None;
    }
    let four = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    Some((four(26)?, four(30)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_back_as_an_arp_request() {
        let (own, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let frame = question([2, 0, 0, 0, 0, 9], own, other);
        assert_eq!(frame.len(), 42);
        let arp = Arp::parse(&frame).expect("it is one");
        assert_eq!((arp.operation, arp.sender, arp.target), (ARP_REQUEST, own, other));
        assert_eq!(arp.mac, "02:00:00:00:00:09");
        assert!((0..42).all(|cut| Arp::parse(&frame[..cut]).is_none()));
    }
}
