//! ICMP echo as bytes (RFC 792, RFC 4443).

/// Length of what is asked to be echoed: 64 random bits tell our answers from others'.
pub const TOKEN_BYTES: usize = 8;
/// "PL". Ping sockets replace it by their own, so answers are told by the token.
const IDENTIFIER: u16 = 0x504c;

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// ICMP.
    V4,
    /// ICMPv6.
    V6,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Of the question.
    pub number: u16,
    /// Of the question.
    pub token: [u8; TOKEN_BYTES],
}

/// A question. The checksum of ICMPv6 is the kernel's.
pub(super) fn echo_request(family: Family, number: u16, token: [u8; TOKEN_BYTES]) -> Vec<u8> {
    let kind = match family {
        Family::V4 => 8,
        Family::V6 => 128,
    };
    let mut out = vec![kind, 0, 0, 0];
    out.extend(IDENTIFIER.to_be_bytes());
    out.extend(number.to_be_bytes());
    out.extend(token);
    if family == Family::V4 {
        let sum = checksum(&out).to_be_bytes();
        out[2..4].copy_from_slice(&sum);
    }
    out
}

fn checksum(bytes: &[u8]) -> u16 {
    let word =
        |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Reads what a raw or a ping socket gives; `None` for everything but an echo reply of our form. Raw IPv4 sockets give
/// the IP header too.
pub fn parse_echo_reply(family: Family, packet: &[u8]) -> Option<Echo> {
    let (icmp, kind) = match (family, packet.first()?) {
        (Family::V4, first) if first >> 4 == 4 => {
            let header = usize::from(first & 0x0f) * 4;
            (packet.get(header.max(20)..)?, 0)
        }
        (Family::V4, _) => (packet, 0),
        (Family::V6, _) => (packet, 129),
    };
    let (head, token) = icmp.split_first_chunk::<8>()?;
    if head[0] != kind || head[1] != 0 || (family == Family::V4 && checksum(icmp) != 0) {
        return None;
    }
    Some(Echo { number: u16::from_be_bytes([head[6], head[7]]), token: token.try_into().ok()? })
}
