//! P1: who holds which address, told by each machine's own kernel.

use super::events::{Log, What};
use crate::records::ProcessRecord;
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR of linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
/// Set in the answers to a dump. A notification carries its cause's sequence number, which may
/// equal that of our own question: only this flag tells the two apart.
const NLM_F_MULTI: u16 = 0x2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFF_LOWER_UP: u32 = 0x1_0000;
/// Between dumps, which find what a lost notification has hidden.
const DUMP_EVERY: Duration = Duration::from_secs(1);

/// One thing that the kernel said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Added(IpAddr),
    Removed(IpAddr),
    Listed(IpAddr),
    ListEnd,
    Link { interface: String, up: bool },
}

/// Watches one life of one machine, to its end.
pub fn watch(machine: &str, init: &ProcessRecord, log: &Log) -> Result<()> {
    let Some(pidfd) = init.open() else { return Ok(()) };
    // This thread alone enters, and the socket stays bound to that namespace.
    let namespace = File::open(format!("/proc/{}/ns/net", init.pid));
    let Ok(namespace) = namespace else { return Ok(()) }; // died meanwhile
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("entering the network of {machine}"))?;
    let socket = open().context("a netlink socket")?;
    let mut seen =
        Seen { machine, log, held: BTreeSet::new(), listed: None, links: BTreeMap::new() };
    log.write(What::MachineSeen { machine: machine.to_owned() });
    let mut dump_at = Instant::now();
    let mut first = true;
    loop {
        if dump_at <= Instant::now() {
            request_dump(&socket)?;
            seen.listed = Some(BTreeSet::new());
            dump_at = Instant::now() + DUMP_EVERY;
        }
        let wait = dump_at.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos().max(1)) };
        let mut fds = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the kernel"),
        }
        let (heard, ended) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if ended {
            log.write(What::MachineGone { machine: machine.to_owned() });
            return Ok(());
        }
        if heard {
            let mut buffer = vec![0; 65536];
            match recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((n, _)) => seen.take(parse(&buffer[..n.min(65536)]), &mut first),
                // The kernel has dropped notifications: ask for the whole list at once.
                Err(rustix::io::Errno::NOBUFS) => dump_at = Instant::now(),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("reading netlink"),
            }
        }
    }
}

struct Seen<'a> {
    machine: &'a str,
    log: &'a Log,
    held: BTreeSet<IpAddr>,
    /// The answer of a dump so far, while one is asked for.
    listed: Option<BTreeSet<IpAddr>>,
    links: BTreeMap<String, bool>,
}

impl Seen<'_> {
    fn take(&mut self, said: Vec<Said>, first: &mut bool) {
        for one in said {
            match one {
                Said::Added(address) => {
                    self.add(address, false);
                    // It may have come after the dump had passed its place.
                    if let Some(listed) = &mut self.listed {
                        listed.insert(address);
                    }
                }
                Said::Removed(address) => {
                    self.remove(address, false);
                    if let Some(listed) = &mut self.listed {
                        listed.remove(&address);
                    }
                }
                Said::Listed(address) => {
                    if let Some(listed) = &mut self.listed {
                        listed.insert(address);
                    }
                }
                Said::ListEnd => {
                    let Some(listed) = self.listed.take() else { continue };
                    let by_dump = !std::mem::take(first);
                    for address in listed.difference(&self.held.clone()) {
                        self.add(*address, by_dump);
                    }
                    for address in self.held.clone().difference(&listed) {
                        self.remove(*address, by_dump);
                    }
                }
                Said::Link { interface, up } => {
                    if self.links.insert(interface.clone(), up) != Some(up) {
                        let machine = self.machine.to_owned();
                        self.log.write(What::Link { machine, interface, up });
                    }
                }
            }
        }
    }

    fn add(&mut self, address: IpAddr, by_dump: bool) {
        if self.held.insert(address) {
            let machine = self.machine.to_owned();
            self.log.write(What::AddressAdded { machine, address, by_dump });
        }
    }

    fn remove(&mut self, address: IpAddr, by_dump: bool) {
        if self.held.remove(&address) {
            let machine = self.machine.to_owned();
            self.log.write(What::AddressRemoved { machine, address, by_dump });
        }
    }
}

fn open() -> Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // protocol 0: routing
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    Ok(socket)
}

fn request_dump(socket: &OwnedFd) -> Result<()> {
    let mut message = Vec::with_capacity(24);
    message.extend(24_u32.to_ne_bytes());
    message.extend(RTM_GETADDR.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend([0; 8]); // ifaddrmsg: every family
    send(socket, &message, SendFlags::empty()).context("asking for all addresses")?;
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// All messages of one datagram. What is too short to be one ends it.
fn parse(mut bytes: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    while let (Some(length), Some(kind), Some(flags)) =
        (u32_at(bytes, 0), u16_at(bytes, 4), u16_at(bytes, 6))
    {
        let length = length as usize;
        let Some(body) = bytes.get(16..length) else { break };
        said.extend(parse_message(kind, flags, body));
        match bytes.get(length.next_multiple_of(4)..) {
            Some(rest) => bytes = rest,
            None => break,
        }
    }
    said
}

fn parse_message(kind: u16, flags: u16, body: &[u8]) -> Option<Said> {
    match kind {
        NLMSG_DONE => Some(Said::ListEnd),
        RTM_NEWADDR | RTM_DELADDR => {
            let attributes = body.get(8..)?;
            // IFA_LOCAL is the machine's own; on a point-to-point link IFA_ADDRESS is the peer's.
            let own =
                attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS));
            let address = address(own?)?;
            Some(match (kind, flags & NLM_F_MULTI) {
                (RTM_DELADDR, _) => Said::Removed(address),
                (_, 0) => Said::Added(address),
                _ => Said::Listed(address),
            })
        }
        RTM_NEWLINK | RTM_DELLINK => {
            let name = attribute(body.get(16..)?, IFLA_IFNAME)?;
            let name = name.split(|b| *b == 0).next()?;
            let up = kind == RTM_NEWLINK && u32_at(body, 8)? & IFF_LOWER_UP != 0;
            Some(Said::Link { interface: String::from_utf8_lossy(name).into_owned(), up })
        }
        _ => None,
    }
}

fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..length)?;
        if u16_at(bytes, 2)? == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|b| Ipv6Addr::from(b).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(1_u32.to_ne_bytes()); // the same sequence number in all: it tells nothing
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes
    }

    fn address_body(last: u8) -> Vec<u8> {
        let mut body = vec![2, 24, 0, 0, 3, 0, 0, 0];
        for kind in [IFA_ADDRESS, IFA_LOCAL] {
            body.extend(8_u16.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend([10, 0, 0, last]);
        }
        body
    }

    #[test]
    fn several_messages_of_one_datagram_are_told_apart() {
        let mut bytes = message(RTM_NEWADDR, 0, &address_body(1));
        bytes.extend(message(RTM_NEWADDR, NLM_F_MULTI, &address_body(2)));
        bytes.extend(message(RTM_DELADDR, 0, &address_body(3)));
        bytes.extend(message(NLMSG_DONE, NLM_F_MULTI, &[0; 4]));
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        assert_eq!(
            parse(&bytes),
            [Said::Added(ip(1)), Said::Listed(ip(2)), Said::Removed(ip(3)), Said::ListEnd]
        );
    }

    #[test]
    fn a_datagram_cut_short_gives_what_was_whole_and_ends() {
        let mut bytes = message(RTM_NEWADDR, 0, &address_body(1));
        bytes.extend(message(RTM_NEWADDR, 0, &address_body(2)));
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).len() <= 1, "cut at {cut}");
        }
        assert_eq!(parse(&bytes).len(), 2);
    }
}
