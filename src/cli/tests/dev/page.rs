//! The page of a box as a browser asks for it, and what it is told when a machine dies.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::boxed::{Running, address, alone, palisade, served_by, until};

/// From the kill to a page on which another machine serves.
const SHOWN_MAX: Duration = Duration::from_secs(20);

fn ask(at: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("the page is there");
    stream.set_read_timeout(Some(SHOWN_MAX)).expect("a time");
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).expect("asked");
    stream
}

fn answer(at: SocketAddr, request: &str, host: &str) -> String {
    let mut text = String::new();
    let head = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close");
    ask(at, &head).read_to_string(&mut text).expect("answered");
    text
}

#[test]
fn the_page_shows_what_the_terminal_shows_and_follows_a_failover() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let running = Running::start(&dir);
    running.wait_ready(&dir);
    let mut at = address(&dir);
    let holder = until("it is served", || served_by(at));
    let SocketAddr::V4(service) = at else { panic!("an IPv4 address: {at}") };
    let [a, b, c, _] = service.ip().octets();
    at.set_ip([a, b, c, 251].into());
    let host = at.to_string();

    let page = answer(at, "GET /", &host);
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("default-src 'none'"), "{page}");
    assert!(page.contains(&format!("<b>{holder}</b> online<p>public, web</p>")), "{page}");
    assert!(page.contains("quorate, era open, coordinated by n"), "{page}");
    for part in ["/page.css", "/page.js"] {
        let text = answer(at, &format!("GET {part}"), &host);
        assert!(page.contains(part) && text.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(!text.contains("http://") && !text.contains("https://"), "from elsewhere: {text}");
    }
    let json = answer(at, "GET /view.json", &host);
    let (_, json) = json.split_once("\r\n\r\n").expect("a body");
    let view: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(view["machines"].as_array().map(Vec::len), Some(3), "{view}");
    assert_eq!(view["trouble"], Value::Null, "{view}");
    // it changes nothing, and who comes by another name comes from a page elsewhere
    assert!(answer(at, "POST /", &host).starts_with("HTTP/1.1 405 "));
    let other = answer(at, "GET /view.json", "palisade.example:8080");
    assert!(other.starts_with("HTTP/1.1 403 ") && !other.contains("machines"), "{other}");

    let head = format!("GET /events HTTP/1.1\r\nHost: {host}");
    let mut told = BufReader::new(ask(at, &head)).lines();
    let (ok, said) = palisade(&["dev", "kill", &holder, "--dir"], &dir);
    assert!(ok, "{said}");
    let (begun, mut lost, mut elsewhere, mut steps) = (Instant::now(), false, false, false);
    while !(lost && elsewhere && steps) {
        assert!(begun.elapsed() < SHOWN_MAX, "lost {lost}, elsewhere {elsewhere}, steps {steps}");
        let line = told.next().expect("it goes on").expect("read");
        let dead = format!("<b>{holder}</b> ");
        lost |= line.contains(&dead) && !line.contains("online") && line.contains("runs nothing");
        elsewhere |= line.contains("<b>public</b>")
            && line.contains("Started on n")
            && !line.contains(&format!("on {holder}<"));
        steps |= line.contains("evidence: VerifiedOff");
    }
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    drop(running);
}
