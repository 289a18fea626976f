//! Target `net`: what kernel, network and watchdog say to the drivers. The first byte chooses the reader.

use std::net::IpAddr;

use drivers::{
    probe::{self, parse_echo_reply},
    tcp::{Event, parse_events},
    vip::parse_frame,
    watchdog::proto::{Dog, Word, parse_answer},
};

use super::script::within;

/// Readers that allocate nothing.
const NOTHING: usize = 0;

pub(crate) fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 5 {
        0 => echo(probe::Family::V4, bytes),
        1 => echo(probe::Family::V6, bytes),
        2 => frame(bytes),
        3 => events(bytes),
        _ => words(bytes),
    }
}

/// An answer is a whole ICMP echo reply at the end of the packet, and what it says stands there.
fn echo(family: probe::Family, packet: &[u8]) {
    let Some(echo) = within(NOTHING, || parse_echo_reply(family, packet)) else { return };
    let icmp = &packet[packet.len() - 16..];
    let kind = if family == probe::Family::V4 { 0 } else { 129 };
    assert_eq!(icmp[..2], [kind, 0]);
    assert_eq!((&icmp[6..8], &icmp[8..]), (&echo.number.to_be_bytes()[..], &echo.token[..]));
    if family == probe::Family::V4 {
        let sum: u32 =
            icmp.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "a wrong checksum was believed");
    }
}

/// Who is heard stands in the frame, with the address, and the frame is long enough for its kind.
fn frame(bytes: &[u8]) {
    let Some(heard) = within(NOTHING, || parse_frame(bytes)) else { return };
    let stands = |what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
    assert!(stands(&heard.mac.0), "{heard:?} is nobody in the frame");
    match heard.address {
        IpAddr::V4(address) => {
            assert!(bytes.len() >= 42 && !address.is_unspecified(), "{heard:?}");
            assert_eq!(&bytes[12..20], [8, 6, 0, 1, 8, 0, 6, 4], "no ARP of Ethernet and IPv4");
            assert!(bytes[28..32] == address.octets() || bytes[38..42] == address.octets());
        }
        IpAddr::V6(address) => {
            assert!(bytes.len() >= 78, "{heard:?}");
            assert_eq!(bytes[62..78], address.octets());
            assert_eq!((bytes[20], bytes[21]), (58, 255), "not of this network");
        }
    }
}

/// As many events as fit, and peers as the kernel named them.
fn events(bytes: &[u8]) {
    let events = within(64 * 1024 + 256 * bytes.len(), || parse_events(bytes));
    assert!(events.len() <= bytes.len() / 16, "more events than headers");
    for event in events {
        if let Event::Connection(connection) = event {
            let octets = match connection.peer() {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            assert!(bytes.windows(octets.len()).any(|part| part == octets), "{connection:?}");
        }
    }
}

/// A word is read back as it was written, and what is no word changes nothing.
fn words(bytes: &[u8]) {
    let _ = parse_answer(bytes);
    let armed = base::Instant::from_millis(5);
    let mut dog = Dog::default();
    let _ = dog.handle_line(armed, b"arm 1000\n");
    let before = dog.poll_timeout();
    match Word::parse(bytes) {
        Some(word) => assert_eq!(Word::parse(word.encode().as_bytes()), Some(word)),
        None => {
            let said = dog.handle_line(armed + core::time::Duration::from_millis(9), bytes);
            assert_eq!(said.as_deref(), Some("error\n"));
            assert_eq!(dog.poll_timeout(), before, "no word, and yet the dog listened");
        }
    }
}
