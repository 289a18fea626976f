//! Frames on and off one interface: AF_PACKET, bound before anything is read.

use core::{net::IpAddr, time::Duration};
use std::{io, time::Instant};

use socket2::{Domain, Socket, Type};
use tokio::{io::unix::AsyncFd, time::timeout};

use super::{
    frames::{self, ETHERTYPE_ARP, ETHERTYPE_IPV6, Mac},
    netlink::Link,
};
use crate::sys;

/// How long one probe waits. A frozen machine's kernel answers before that (CLUSTER.md section 8).
pub const PROBE_WAIT: Duration = Duration::from_millis(30);
/// Between two rounds of announcements.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(10);
/// Frames read in one wait; a flood ends it early, as silence does.
const FRAMES_MAX: usize = 4096;
const FRAME_BYTES_MAX: usize = 2048;

/// What a probe saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nobody answered in time.
    Nobody,
    /// This station has the address, or asks for it at the same moment.
    Station(Mac),
}

struct Wire {
    socket: AsyncFd<Socket>,
    mac: Mac,
}

impl Wire {
    fn open(link: &Link, address: IpAddr) -> io::Result<Self> {
        let mac =
            link.mac.ok_or_else(|| io::Error::other(format!("{} is no Ethernet", link.name)))?;
        let ethertype = if address.is_ipv4() { ETHERTYPE_ARP } else { ETHERTYPE_IPV6 };
        // Without a protocol until it is bound: else it would hear every interface first, and the kernel would take a
        // grace period (tens of milliseconds) to bind it.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&sys::packet_address(link.index, ethertype)?)?;
        Ok(Self { socket: sys::register(socket)?, mac })
    }

    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = self
            .socket
            .async_io(tokio::io::Interest::WRITABLE, |socket| socket.send(frame))
            .await?;
        if sent == frame.len() { Ok(()) } else { Err(io::Error::other("a frame was cut")) }
    }

    /// The first other station that claims `address`.
    async fn listen(&self, address: IpAddr) -> io::Result<Mac> {
        let mut buffer = [0; FRAME_BYTES_MAX];
        for _ in 0..FRAMES_MAX {
            let len = self
                .socket
                .async_io(tokio::io::Interest::READABLE, |socket| {
                    Ok(rustix::net::recv(socket, &mut buffer, rustix::net::RecvFlags::DONTWAIT)?.0)
                })
                .await?;
            if let Some(heard) = frames::parse_frame(&buffer[..len.min(FRAME_BYTES_MAX)])
                && heard.address == address
                && heard.mac != self.mac
            {
                return Ok(heard.mac);
            }
        }
        Err(io::Error::other("a flood of frames: the network cannot be asked"))
    }
}

/// The wire of one address, for one question and any number of announcements.
pub(crate) struct Voice {
    /// `None` only while it is dropped.
    wire: Option<Wire>,
    address: IpAddr,
}

impl Voice {
    pub(crate) fn open(link: &Link, address: IpAddr) -> io::Result<Self> {
        Ok(Self { wire: Some(Wire::open(link, address)?), address })
    }

    fn wire(&self) -> io::Result<&Wire> {
        self.wire.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Asks the network once who has the address. An error is no "nobody".
    pub(crate) async fn probe(&self, wait: Duration) -> io::Result<Seen> {
        let wire = self.wire()?;
        wire.send(&frames::probe(self.address, wire.mac)).await?;
        match timeout(wait, wire.listen(self.address)).await {
            Err(_) => Ok(Seen::Nobody),
            Ok(heard) => heard.map(Seen::Station),
        }
    }

    /// Tells the network `rounds` times where the address is now.
    pub(super) async fn announce(&self, rounds: u8) -> io::Result<()> {
        let wire = self.wire()?;
        let begin = Instant::now();
        for round in 0..rounds {
            for frame in frames::announcements(self.address, wire.mac) {
                wire.send(&frame).await?;
            }
            let next = ANNOUNCE_EVERY * u32::from(round + 1);
            if round + 1 < rounds {
                tokio::time::sleep(next.saturating_sub(begin.elapsed())).await;
            }
        }
        Ok(())
    }
}

impl Drop for Voice {
    /// Closing waits for a grace period of the kernel: not in the way of a failover.
    fn drop(&mut self) {
        let wire = self.wire.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(wire))),
            Err(_) => drop(wire),
        }
    }
}
