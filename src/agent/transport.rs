//! The ring's datagrams on the network: one UDP socket per peer and link, connected.
//!
//! Connected sockets do three things for us: the kernel drops what comes from strangers before it wakes anybody, sender
//! ids stay bound to source addresses (SAFETY.md 4.5 item 4), and "port unreachable" comes back as an error on exactly
//! this peer's socket, which is a hint that its agent is gone (TOTEM.md section 22).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};

use base::NodeId;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

/// Longest datagram that is taken in. The ring's own stay below an MTU.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams taken in from one socket before the others and the timers have their turn.
const DRAIN_MAX: usize = 512;
/// Asked of the kernel for each socket; it may give less.
const BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// All sockets of one member.
#[derive(Debug)]
pub struct Transport {
    peers: Vec<Peer>,
    /// Not connected, never read, one per own address: without them the kernel would refuse what comes from any other port
    /// than the ring's, and a probe (CLUSTER.md section 5) would take a stalled agent for one that is gone.
    _present: Vec<Socket>,
    /// Peers whose machine said "port unreachable" since they were last asked for; at most one entry each.
    closed: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Peer {
    node: NodeId,
    address: IpAddr,
    socket: UdpSocket,
}

/// Where everybody is, link 0 first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// UDP port, equal on all.
    pub port: u16,
    /// Own addresses.
    pub own: Vec<IpAddr>,
    /// The others'.
    pub peers: BTreeMap<NodeId, Vec<IpAddr>>,
}

impl Transport {
    /// Binds and connects. Must be called inside the runtime that polls it.
    pub fn bind(addresses: &Addresses) -> io::Result<Self> {
        let mut peers = Vec::new();
        for (node, links) in &addresses.peers {
            for (own, address) in addresses.own.iter().zip(links) {
                let own = SocketAddr::new(*own, addresses.port);
                let to = SocketAddr::new(*address, addresses.port);
                let socket = connected(own, to).map_err(|error| {
                    let text = format!("UDP from {own} to {to}: {error}");
                    io::Error::new(error.kind(), text)
                })?;
                peers.push(Peer { node: *node, address: *address, socket });
            }
        }
        let present =
            addresses.own.iter().map(|own| present(SocketAddr::new(*own, addresses.port)));
        let present = present.collect::<io::Result<_>>()?;
        Ok(Self { peers, _present: present, closed: BTreeSet::new() })
    }

    /// Ready when something may have come.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        // All are asked each time, so that all have this task's waker.
        let mut ready = false;
        for peer in &self.peers {
            ready |= peer.socket.poll_recv_ready(context).is_ready();
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes in what is queued, each datagram by a call of `take`, which may use the buffer in place. Returns whether
    /// a socket may have more.
    pub fn drain(&mut self, buffer: &mut [u8], mut take: impl FnMut(IpAddr, &mut [u8])) -> bool {
        let mut more = false;
        for peer in &self.peers {
            for turn in 0.. {
                if turn == DRAIN_MAX {
                    more = true;
                    break;
                }
                match peer.socket.try_recv(buffer) {
                    Ok(length) => {
                        take(peer.address, &mut buffer[..length]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        self.closed.insert(peer.node);
                    }
                    // Nothing more, or an error of the network: silence says the same.
                    Err(_) => break,
                }
            }
        }
        more
    }

    /// Sends to one peer on all links. What the kernel does not take is lost, as on the wire.
    pub fn send(&mut self, to: NodeId, datagram: &[u8]) {
        for peer in self.peers.iter().filter(|peer| peer.node == to) {
            // Past the runtime: it takes a socket for unwritable until it was polled once.
            let socket = SockRef::from(&peer.socket);
            // A connected socket reports an old "port unreachable" once, in place of sending: the second try sends.
            let refused = |sent: &io::Result<usize>| {
                sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            };
            if refused(&socket.send(datagram)) {
                self.closed.insert(peer.node);
                let _ = socket.send(datagram);
            }
        }
    }

    /// The next peer whose machine said that nobody listens on the port. Learned when something is sent there again: the
    /// kernel wakes nobody for it.
    pub fn poll_closed(&mut self) -> Option<NodeId> {
        self.closed.pop_first()
    }

    /// Everybody, once.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let mut last = None;
        self.peers.iter().filter_map(move |peer| {
            (last.replace(peer.node) != Some(peer.node)).then_some(peer.node)
        })
    }
}

fn connected(own: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bound(own)?;
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    // Fails while there is no route; the caller tries again.
    socket.connect(&to.into())?;
    UdpSocket::from_std(socket.into())
}

/// Takes what is for nobody; the kernel drops it once the smallest buffer is full.
fn present(own: SocketAddr) -> io::Result<Socket> {
    let socket = bound(own)?;
    socket.set_recv_buffer_size(1)?;
    Ok(socket)
}

fn bound(own: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(own), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // One socket per peer on the same port.
    socket.set_reuse_address(true)?;
    // The interface may come up after the agent.
    match own {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&own.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn addresses(port: u16, own: u8, peers: &[u8]) -> Addresses {
        let ip = |last: u8| IpAddr::from([127, 77, 1, last]);
        let node = |last: u8| NodeId::new(last.into()).expect("not zero");
        Addresses {
            port,
            own: vec![ip(own)],
            peers: peers.iter().map(|last| (node(*last), vec![ip(*last)])).collect(),
        }
    }

    async fn arrived(transport: &mut Transport) -> Vec<(IpAddr, Vec<u8>)> {
        let ready = std::future::poll_fn(|context| transport.poll_ready(context));
        tokio::time::timeout(Duration::from_secs(5), ready).await.expect("something comes");
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut all = Vec::new();
        transport.drain(&mut buffer, |from, bytes| all.push((from, bytes.to_vec())));
        all
    }

    #[tokio::test]
    async fn three_members_reach_each_other_and_a_closed_port_is_named() {
        let port = 34_071;
        let mut one = Transport::bind(&addresses(port, 1, &[2, 3])).expect("bound");
        let mut two = Transport::bind(&addresses(port, 2, &[1, 3])).expect("bound");
        assert_eq!(one.nodes().count(), 2);
        let id = |n| NodeId::new(n).expect("not zero");
        one.send(id(2), b"hello");
        let from = IpAddr::from([127, 77, 1, 1]);
        assert_eq!(arrived(&mut two).await, [(from, b"hello".to_vec())]);
        assert_eq!(one.poll_closed(), None);

        // nobody is 3: the machine (this one) says so, and it is learned with the next datagram
        one.send(id(3), b"hello");
        one.send(id(3), b"hello");
        assert_eq!((one.poll_closed(), one.poll_closed()), (Some(id(3)), None));
        // and it may come later, without a new socket here
        let mut three = Transport::bind(&addresses(port, 3, &[1, 2])).expect("bound");
        one.send(id(3), b"again");
        assert_eq!(arrived(&mut three).await, [(from, b"again".to_vec())]);
    }

    #[tokio::test]
    async fn whoever_asks_from_another_port_is_not_refused_while_the_agent_lives() {
        let port = 34_073;
        let one = Transport::bind(&addresses(port, 1, &[2])).expect("bound");
        let ask = async || {
            let socket = UdpSocket::bind("127.77.1.2:0").await.expect("bound");
            socket.connect(("127.77.1.1", port)).await.expect("connected");
            for _ in 0..100 {
                socket.send(&[]).await?;
            }
            let mut buffer = [0; 1];
            let answer = socket.recv(&mut buffer);
            tokio::time::timeout(Duration::from_millis(100), answer).await.unwrap_or(Ok(0))
        };
        assert_eq!(ask().await.map_err(|e| e.kind()), Ok(0), "it stalls, it is not gone");
        drop(one);
        assert_eq!(ask().await.map_err(|e| e.kind()), Err(io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test]
    async fn a_stranger_does_not_come_through() {
        let port = 34_072;
        let mut one = Transport::bind(&addresses(port, 1, &[2])).expect("bound");
        let stranger = UdpSocket::bind("127.77.1.9:0").await.expect("bound");
        let _ = stranger.send_to(b"let me in", ("127.77.1.1", port)).await;
        let ready = std::future::poll_fn(|context| one.poll_ready(context));
        let woken = tokio::time::timeout(Duration::from_millis(150), ready).await.is_ok();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        one.drain(&mut buffer, |from, _| panic!("woken: {woken}, from {from}"));
    }
}
