//! Cutting TCP connections to a machine that is dead (SERVICES.md section 7): no FIN ever comes from it, and a worker in
//! `recv()` would wait for a quarter of an hour.
//!
//! Promises: only connections to the named addresses are cut, in this network namespace, each by its cookie, so that a
//! reused pair of ports is never hit. Never: deciding when. The caller acts on recorded evidence that the machine is
//! off, by an order with epoch and deadline, and before a moved address comes up again: lost membership is not enough,
//! behind a partition these are good connections.
//!
//! ```text
//!  executor ─▶ cut(addresses) ─▶ sock_diag: dump IPv4, IPv6 ─▶ choose by destination ─▶ destroy one by one
//! ```

mod proto;

use core::{net::IpAddr, time::Duration};
use std::{io, os::fd::OwnedFd, time::Instant};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};

pub use proto::{Connection, Event, Family, parse_events};

/// Addresses of one call: a machine on all its networks and the virtual addresses that it held.
const ADDRESSES_MAX: usize = 256;
/// Connections of one call.
const CONNECTIONS_MAX: usize = 65_536;
/// What the kernel fills in one read at most.
const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers at once; silence means that something is wrong.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const ENOENT: i32 = 2;
const EOPNOTSUPP: i32 = 95;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Connections to the addresses that were found.
    pub found: usize,
    /// Destroyed; their owners see `ECONNABORTED`.
    pub destroyed: usize,
    /// Ended by themselves in between.
    pub gone: usize,
    /// Not tried any more: the time was over.
    pub late: usize,
}

/// Why nothing, or not all, was cut. What was cut stays cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The kernel cannot. Say it once, as a condition of the node, and go on.
    #[error(
        "this kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY): services wait for their own timeouts"
    )]
    Unsupported,
    /// More than the limits of this module.
    #[error("more than 256 addresses, or more than 65536 connections")]
    TooMany,
    /// The kernel says no.
    #[error("sock_diag: {0}; the executor needs CAP_NET_ADMIN")]
    Kernel(#[from] io::Error),
}

/// Cuts every connection to one of `addresses`, but no listener. Blocks for milliseconds, at most `within`: nothing is
/// destroyed after it.
pub fn cut(addresses: &[IpAddr], within: Duration) -> Result<Cut, CutError> {
    if addresses.len() > ADDRESSES_MAX {
        return Err(CutError::TooMany);
    }
    let until = Instant::now() + within;
    let socket = open()?;
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        let hit = |connection: &Connection| addresses.contains(&connection.peer().to_canonical());
        found.extend(dump(&socket, family)?.into_iter().filter(hit));
        if found.len() > CONNECTIONS_MAX {
            return Err(CutError::TooMany);
        }
    }
    let mut result = Cut { found: found.len(), ..Cut::default() };
    for connection in &found {
        if Instant::now() >= until {
            result.late += 1;
            continue;
        }
        match destroy(&socket, connection)? {
            0 => result.destroyed += 1,
            ENOENT => result.gone += 1,
            EOPNOTSUPP => return Err(CutError::Unsupported),
            code => return Err(io::Error::from_raw_os_error(code).into()),
        }
    }
    Ok(result)
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
    Ok(socket)
}

fn dump(socket: &OwnedFd, family: Family) -> Result<Vec<Connection>, CutError> {
    send(socket, &proto::dump_request(family), SendFlags::empty()).map_err(io::Error::from)?;
    let mut found = Vec::new();
    loop {
        for event in read(socket)? {
            match event {
                Event::Connection(connection) => found.push(connection),
                Event::Done => return Ok(found),
                Event::Code(code) => return Err(io::Error::from_raw_os_error(code).into()),
            }
            if found.len() > CONNECTIONS_MAX * 4 {
                return Err(CutError::TooMany);
            }
        }
    }
}

fn destroy(socket: &OwnedFd, connection: &Connection) -> Result<i32, CutError> {
    send(socket, &proto::destroy_request(connection), SendFlags::empty())
        .map_err(io::Error::from)?;
    loop {
        for event in read(socket)? {
            if let Event::Code(code) = event {
                return Ok(code);
            }
        }
    }
}

fn read(socket: &OwnedFd) -> io::Result<Vec<Event>> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (len, _) = recv(socket, &mut buffer, RecvFlags::empty())?;
    Ok(parse_events(&buffer[..len.min(BUFFER_BYTES)]))
}

#[cfg(test)]
mod tests;
