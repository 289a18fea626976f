//! The outermost layer: RMCP header and RMCP+ session header (IPMI 2.0, 13.1 to 13.6).

use std::vec::Vec;

use super::wire::{Malformed, Reader};

/// Longest datagram that is looked at. Our longest question has 100 bytes, its answer fewer than 200.
pub const DATAGRAM_MAX: usize = 512;

/// version 6 (RMCP 1.0), reserved, sequence 255 (no acknowledgement), class IPMI.
const RMCP: [u8; 4] = [6, 0, 0xff, 7];
/// Format of the session header: RMCP+.
const RMCPP: u8 = 6;
/// What stands behind the padding of an authenticated packet.
pub(crate) const NEXT_HEADER: u8 = 7;

/// Kinds of payload (table 13-16) that a client meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PayloadType {
    /// An IPMI message.
    Ipmi = 0x00,
    /// Open Session request.
    OpenRequest = 0x10,
    /// Open Session response.
    OpenResponse = 0x11,
    /// First message of the login.
    Rakp1 = 0x12,
    /// Second.
    Rakp2 = 0x13,
    /// Third.
    Rakp3 = 0x14,
    /// Fourth.
    Rakp4 = 0x15,
}

impl PayloadType {
    const fn from_wire(byte: u8) -> Option<Self> {
        Some(match byte {
            0x00 => Self::Ipmi,
            0x10 => Self::OpenRequest,
            0x11 => Self::OpenResponse,
            0x12 => Self::Rakp1,
            0x13 => Self::Rakp2,
            0x14 => Self::Rakp3,
            0x15 => Self::Rakp4,
            _ => return None,
        })
    }
}

/// A datagram taken apart; nothing in it is authentic yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it carries.
    pub kind: PayloadType,
    /// Bit 7 of the type: the payload is encrypted.
    pub encrypted: bool,
    /// Bit 6: an integrity code follows.
    pub authenticated: bool,
    /// Session id of the receiver, 0 outside a session.
    pub session: u32,
    /// Session sequence number, 0 outside a session.
    pub sequence: u32,
    /// As long as the header says.
    pub payload: &'a [u8],
    /// Padding, its length, next header and code of an authenticated packet; empty otherwise.
    pub trailer: &'a [u8],
    /// What an integrity code covers starts here: the datagram from the session header on.
    pub from_session_header: &'a [u8],
}

/// Takes a datagram apart.
pub fn parse_packet(datagram: &[u8]) -> Result<Packet<'_>, Malformed> {
    if datagram.len() > DATAGRAM_MAX {
        return Err(Malformed("longer than any answer of a BMC"));
    }
    let mut outer = Reader::new(datagram, "ends within the RMCP header");
    let [version, _, _, class] = outer.array()?;
    if version != RMCP[0] || class != RMCP[3] {
        return Err(Malformed("not RMCP of class IPMI"));
    }
    let from_session_header = outer.rest();
    let mut reader = Reader::new(from_session_header, "ends within the session header");
    if reader.u8()? != RMCPP {
        return Err(Malformed("not in the RMCP+ format"));
    }
    let kind = reader.u8()?;
    let session = reader.u32()?;
    let sequence = reader.u32()?;
    let len = usize::from(reader.u16()?);
    let payload = reader.take(len)?;
    let trailer = reader.rest();
    let (encrypted, authenticated) = (kind & 0x80 != 0, kind & 0x40 != 0);
    if !authenticated && !trailer.is_empty() {
        return Err(Malformed("bytes behind the payload"));
    }
    let kind = PayloadType::from_wire(kind & 0x3f).ok_or(Malformed("unknown payload type"))?;
    Ok(Packet {
        kind,
        encrypted,
        authenticated,
        session,
        sequence,
        payload,
        trailer,
        from_session_header,
    })
}

/// The headers of a packet whose payload has `len` bytes.
pub(crate) fn header(
    kind: PayloadType,
    flags: u8,
    session: u32,
    sequence: u32,
    len: u16,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(usize::from(len) + 48);
    out.extend(RMCP);
    out.extend([RMCPP, kind as u8 | flags]);
    out.extend(session.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(len.to_le_bytes());
    out
}

/// Where the session header begins in a datagram.
pub(crate) const SESSION_HEADER_AT: usize = RMCP.len();

/// A packet outside any session.
pub(crate) fn plain(kind: PayloadType, payload: &[u8]) -> Vec<u8> {
    // Login payloads have a fixed part of at most 60 bytes and a user name of at most 16.
    let len = u16::try_from(payload.len()).unwrap_or(0);
    let mut out = header(kind, 0, 0, 0, len);
    out.extend(payload);
    out
}
