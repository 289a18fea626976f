//! sock_diag as bytes (`linux/inet_diag.h`): lengths of the message header 16, of a question 56, of its id 48.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
const REQUEST_ACK: u16 = 0x5;
const TCP: u8 = 6;
const HEADER: usize = 16;
const ID: usize = 48;
/// All states but TIME_WAIT (6), CLOSE (7) and LISTEN (10).
const STATES: u32 = 0x1ffe & !(1 << 6 | 1 << 7 | 1 << 10);
/// Messages of one read.
const EVENTS_MAX: usize = 4096;

/// Which table of the kernel. IPv4 peers of dual-stack listeners stand in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AF_INET.
    V4,
    /// AF_INET6.
    V6,
}

impl Family {
    const fn wire(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

/// One connection, named by the kernel's own id, cookie included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    family: Family,
    id: [u8; ID],
}

impl Connection {
    /// The other end. An IPv4 peer of an IPv6 socket is IPv4-mapped.
    pub fn peer(&self) -> IpAddr {
        let mut bytes = [0; 16];
        // source port 2, destination port 2, source 16, destination 16
        bytes.copy_from_slice(&self.id[20..36]);
        match self.family {
            Family::V4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
            Family::V6 => Ipv6Addr::from(bytes).into(),
        }
    }
}

/// What the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Part of a dump.
    Connection(Connection),
    /// The end of a dump.
    Done,
    /// Acknowledged (0), or an error number.
    Code(i32),
}

fn request(kind: u16, flags: u16, family: Family, states: u32, id: &[u8; ID]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + 8 + ID);
    out.extend(((HEADER + 8 + ID) as u32).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend([0; 8]);
    out.extend([family.wire(), TCP, 0, 0]);
    out.extend(states.to_ne_bytes());
    out.extend(id);
    out
}

/// All connections of a family.
pub(super) fn dump_request(family: Family) -> Vec<u8> {
    request(SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, family, STATES, &[0; ID])
}

/// The end of one: the id is copied whole.
pub(super) fn destroy_request(connection: &Connection) -> Vec<u8> {
    request(SOCK_DESTROY, REQUEST_ACK, connection.family, STATES, &connection.id)
}

/// Reads what one `recv` gave; what is no message of ours is left out, and nothing is read past a broken one.
pub fn parse_events(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < EVENTS_MAX {
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else { break };
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(body) = bytes.get(HEADER..len) else { break };
        match u16::from_ne_bytes([header[4], header[5]]) {
            SOCK_DIAG_BY_FAMILY => events.extend(connection(body).map(Event::Connection)),
            NLMSG_DONE => events.push(Event::Done),
            NLMSG_ERROR => {
                let code = body.first_chunk().map(|code| i32::from_ne_bytes(*code));
                events.extend(code.map(|code| Event::Code(code.saturating_neg())));
            }
            _ => {}
        }
        // Messages begin at multiples of four.
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    events
}

/// `inet_diag_msg`: family, state, timer, retransmits, then the id.
fn connection(body: &[u8]) -> Option<Connection> {
    let (head, rest) = body.split_first_chunk::<4>()?;
    let family = match head[0] {
        2 => Family::V4,
        10 => Family::V6,
        _ => return None,
    };
    Some(Connection { family, id: *rest.first_chunk()? })
}
