//! ARP and NDP frames as bytes (RFC 826, RFC 5227, RFC 4861), written and read here: 42 and 86 bytes.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a frame says: this station claims this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who.
    pub mac: Mac,
    /// Which address.
    pub address: IpAddr,
}

pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
const BROADCAST: [u8; 6] = [0xff; 6];
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Router no, solicited no, override yes: replace what you have.
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Options of an advertisement that are looked at.
const OPTIONS_MAX: usize = 16;

/// "Who has it?" without claiming it: an ARP probe from 0.0.0.0, or a solicitation from the unspecified address.
pub(super) fn probe(address: IpAddr, mac: Mac) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(ARP_REQUEST, mac, Ipv4Addr::UNSPECIFIED, [0; 6], address),
        IpAddr::V6(address) => {
            let [.., a, b, c] = address.octets();
            let group = Ipv6Addr::new(
                0xff02,
                0,
                0,
                0,
                0,
                1,
                0xff00 | u16::from(a),
                u16::from_be_bytes([b, c]),
            );
            let mut icmp = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
            icmp.extend(address.octets());
            ndp(mac, Ipv6Addr::UNSPECIFIED, group, icmp)
        }
    }
}

/// "It is here now": two ARP frames (a request and a reply; some stacks listen to one kind only), or an unsolicited
/// advertisement.
pub(super) fn announcements(address: IpAddr, mac: Mac) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => vec![
            arp(ARP_REQUEST, mac, address, [0; 6], address),
            arp(ARP_REPLY, mac, address, BROADCAST, address),
        ],
        IpAddr::V6(address) => {
            let mut icmp = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
            icmp.extend(address.octets());
            icmp.extend([2, 1]);
            icmp.extend(mac.0);
            vec![ndp(mac, address, ALL_NODES, icmp)]
        }
    }
}

fn arp(
    operation: u16,
    mac: Mac,
    sender: Ipv4Addr,
    target_mac: [u8; 6],
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(42);
    out.extend(BROADCAST);
    out.extend(mac.0);
    out.extend(ETHERTYPE_ARP.to_be_bytes());
    out.extend([0, 1, 8, 0, 6, 4]);
    out.extend(operation.to_be_bytes());
    out.extend(mac.0);
    out.extend(sender.octets());
    out.extend(target_mac);
    out.extend(target.octets());
    out
}

fn ndp(mac: Mac, source: Ipv6Addr, group: Ipv6Addr, mut icmp: Vec<u8>) -> Vec<u8> {
    let sum = checksum(source, group, &icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&sum);
    let mut out = Vec::with_capacity(54 + icmp.len());
    let [.., a, b, c, d] = group.octets();
    out.extend([0x33, 0x33, a, b, c, d]);
    out.extend(mac.0);
    out.extend(ETHERTYPE_IPV6.to_be_bytes());
    out.extend([0x60, 0, 0, 0]);
    // 24 or 32 bytes
    out.extend((icmp.len() as u16).to_be_bytes());
    out.extend([ICMPV6, 255]);
    out.extend(source.octets());
    out.extend(group.octets());
    out.extend(icmp);
    out
}

/// RFC 4443, 2.3: over the pseudo-header and the message. Zero over a message with a right checksum.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, icmp: &[u8]) -> u16 {
    let pairs = |bytes: &[u8]| -> u32 {
        let word = |pair: &[u8]| {
            u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
        };
        bytes.chunks(2).map(word).sum()
    };
    let mut sum = pairs(&source.octets()) + pairs(&destination.octets()) + pairs(icmp);
    sum += icmp.len() as u32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Who claims which address in this frame; `None` for every other frame. An ARP frame claims its sender's address, and
/// a probe of somebody else claims the one that it asks for: two that probe at once must both see it.
pub fn parse_frame(frame: &[u8]) -> Option<Heard> {
    let (ethernet, rest) = frame.split_first_chunk::<14>()?;
    match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
        ETHERTYPE_ARP => parse_arp(rest),
        ETHERTYPE_IPV6 => parse_ndp(ethernet, rest),
        _ => None,
    }
}

fn parse_arp(bytes: &[u8]) -> Option<Heard> {
    let (arp, _) = bytes.split_first_chunk::<28>()?;
    let (head, body) = arp.split_at(8);
    // Lengths of both kinds of address come from the network: only 6 and 4 are ours.
    if head[..6] != [0, 1, 8, 0, 6, 4] || head[6] != 0 || !matches!(head[7], 1 | 2) {
        return None;
    }
    let mac = Mac(body[..6].try_into().ok()?);
    let sender = Ipv4Addr::from(<[u8; 4]>::try_from(&body[6..10]).ok()?);
    let target = Ipv4Addr::from(<[u8; 4]>::try_from(&body[16..20]).ok()?);
    let claimed = if sender.is_unspecified() { target } else { sender };
    (!claimed.is_unspecified()).then_some(Heard { mac, address: claimed.into() })
}

fn parse_ndp(ethernet: &[u8; 14], bytes: &[u8]) -> Option<Heard> {
    let (ip, rest) = bytes.split_first_chunk::<40>()?;
    let icmp = rest.get(..usize::from(u16::from_be_bytes([ip[4], ip[5]])))?;
    // Hop limit 255: no router was in between (RFC 4861, 7.1).
    if ip[0] >> 4 != 6 || ip[6] != ICMPV6 || ip[7] != 255 || icmp.len() < 24 {
        return None;
    }
    let source = Ipv6Addr::from(<[u8; 16]>::try_from(&ip[8..24]).ok()?);
    let destination = Ipv6Addr::from(<[u8; 16]>::try_from(&ip[24..40]).ok()?);
    if checksum(source, destination, icmp) != 0 {
        return None;
    }
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(&icmp[8..24]).ok()?);
    let sender = Mac(ethernet[6..12].try_into().ok()?);
    match icmp[0] {
        NEIGHBOUR_ADVERTISEMENT => {
            let mac = link_layer_option(&icmp[24..]).unwrap_or(sender);
            Some(Heard { mac, address: address.into() })
        }
        NEIGHBOUR_SOLICITATION if source.is_unspecified() => {
            Some(Heard { mac: sender, address: address.into() })
        }
        _ => None,
    }
}

/// Target link-layer address (type 2, one unit of eight bytes).
fn link_layer_option(mut options: &[u8]) -> Option<Mac> {
    for _ in 0..OPTIONS_MAX {
        let [kind, units, ..] = *options else { return None };
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if units == 0 {
            return None;
        }
        if (kind, units) == (2, 1) {
            return option[2..].try_into().ok().map(Mac);
        }
        options = rest;
    }
    None
}
