//! The lab's watchdog by both of its halves; the kernel's by its constants and on what is none.

use core::time::Duration;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    thread,
};

use base::Instant;

use super::{
    Armed, Device, Socket, Watchdog as _, WatchdogError,
    proto::{Dog, Word, parse_answer},
};

const SECOND: Duration = Duration::from_secs(1);

//= SAFETY.md#S11
//= type=test
#[test]
fn who_stops_feeding_is_killed_once_and_disarming_stops_it() {
    let at = Instant::from_millis;
    let mut dog = Dog::default();
    assert_eq!(dog.poll_timeout(), None, "silence: an unarmed watchdog waits for nothing");
    assert_eq!(dog.handle_line(at(0), b"feed\n"), None);
    assert!(!dog.handle_timeout(at(100_000)), "a feed does not arm");
    assert_eq!(dog.handle_line(at(0), b"arm 1000\n").as_deref(), Some("armed 1000\n"));
    assert_eq!(dog.handle_line(at(900), b"feed\n"), None);
    assert_eq!(dog.poll_timeout(), Some(at(1900)));
    assert!(!dog.handle_timeout(at(1899)));
    assert!(dog.handle_timeout(at(1900)));
    assert!(!dog.handle_timeout(at(1901)), "once");
    dog.reset();
    assert_eq!(dog.handle_line(at(0), b"arm 1000").as_deref(), Some("armed 1000\n"));
    assert_eq!(dog.handle_line(at(1), b"status\n").as_deref(), Some("armed 1000\n"));
    assert_eq!(dog.handle_line(at(1), b"arm 0\n").as_deref(), Some("error\n"));
    assert_eq!(dog.handle_line(at(1), b"disarm\n").as_deref(), Some("disarmed\n"));
    assert!(!dog.handle_timeout(at(100_000)));
}

#[test]
fn the_socket_arms_feeds_asks_and_disarms() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("dog");
    let listener = UnixListener::bind(&path).expect("bound");
    let served = thread::spawn(move || {
        let (mut dog, mut feeds) = (Dog::default(), 0);
        // Two connections: the second is a restarted agent's.
        for _ in 0..2 {
            let (stream, _) = listener.accept().expect("accepted");
            let mut lines = BufReader::new(stream.try_clone().expect("cloned"));
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).expect("read") > 0 {
                feeds += u32::from(line == b"feed\n");
                if let Some(answer) = dog.handle_line(Instant::ZERO, &line) {
                    (&stream).write_all(answer.as_bytes()).expect("written");
                }
                line.clear();
            }
        }
        feeds
    });
    let mut first = Socket::new(&path);
    assert_eq!(first.armed().expect("answered"), Armed::Not);
    first.arm(15 * SECOND).expect("armed");
    first.feed().expect("fed");
    first.feed().expect("fed");
    drop(first);
    let mut second = Socket::new(&path);
    assert_eq!(second.armed().expect("answered"), Armed::For(15 * SECOND), "death disarms nothing");
    second.disarm().expect("disarmed");
    assert_eq!(second.armed().expect("answered"), Armed::Not);
    drop(second);
    assert_eq!(served.join().expect("no panic"), 2);
}

#[test]
fn a_watchdog_that_is_away_or_mute_is_an_error() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("dog");
    assert!(Socket::new(&path).feed().is_err());
    let listener = UnixListener::bind(&path).expect("bound");
    let mut mute = Socket::new(&path);
    assert!(matches!(mute.arm(SECOND), Err(WatchdogError::System(_))), "no answer is not armed");
    drop(listener);
    let mut none = Device::new("/dev/null");
    assert!(none.feed().is_err(), "feeding does not arm");
    assert!(matches!(none.arm(SECOND), Err(WatchdogError::System(_))));
    assert!(matches!(Device::new("/nonexistent").arm(SECOND), Err(WatchdogError::System(_))));
    if !std::path::Path::new("/dev/watchdog").exists() {
        println!(
            "NOT RUN: this machine has no /dev/watchdog; its ioctls were only tried on what is none"
        );
    }
}

#[test]
fn words_read_back() {
    for word in [Word::Arm(15 * SECOND), Word::Feed, Word::Status, Word::Disarm] {
        assert_eq!(Word::parse(word.encode().as_bytes()), Some(word));
    }
    assert_eq!(parse_answer(b"armed 15000\n"), Some(Some(15 * SECOND)));
    for bad in [&b"arm"[..], b"arm ", b"arm +1", b"arm 600001", b"arm 9999999", b"feed ", b"\xff"] {
        assert_eq!(Word::parse(bad), None);
    }
}
