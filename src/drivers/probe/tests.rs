//! Bytes; then machines that are namespaces of the test.

use core::net::{IpAddr, SocketAddr};
use std::{net::UdpSocket, time::Instant};

use super::{Family, Link, Port, Prober, Reply, parse_echo_reply, proto::echo_request};
use crate::vip::namespace::Namespace;

const TOKEN: [u8; 8] = *b"palisade";
const PORT: u16 = 5405;

#[test]
fn an_answer_is_a_question_with_another_kind() {
    let mut answer = echo_request(Family::V6, 2, TOKEN);
    assert_eq!(parse_echo_reply(Family::V6, &answer), None, "a question is no answer");
    answer[0] = 129;
    let echo = parse_echo_reply(Family::V6, &answer).expect("an answer");
    assert_eq!((echo.number, echo.token), (2, TOKEN));
    let request = echo_request(Family::V4, 1, TOKEN);
    assert_eq!(parse_echo_reply(Family::V4, &request), None);
    // Kind 0 instead of 8: the checksum grows by 0x0800.
    let mut icmp = request;
    icmp[0] = 0;
    let sum = u16::from_be_bytes([icmp[2], icmp[3]]).wrapping_add(0x0800);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(parse_echo_reply(Family::V4, &icmp).map(|echo| echo.number), Some(1));
    let mut raw = vec![0x45; 20];
    raw.extend(&icmp);
    assert_eq!(parse_echo_reply(Family::V4, &raw).map(|echo| echo.token), Some(TOKEN));
    raw[25] ^= 1;
    assert_eq!(parse_echo_reply(Family::V4, &raw), None, "a wrong checksum");
}

fn link(peer: &str, interface: Option<&str>) -> Link {
    let ip: IpAddr = peer.parse().expect("valid");
    Link { peer: SocketAddr::new(ip, PORT), local: None, interface: interface.map(Into::into) }
}

/// Probes from `left`, and says how long it took.
fn probe(left: &Namespace, machines: Vec<Vec<Link>>) -> Vec<Reply> {
    left.block_on(move || async move {
        let prober = Prober::open();
        let begin = Instant::now();
        let replies = prober.probe(&machines).await.expect("few machines");
        let took = begin.elapsed();
        println!("{replies:?} in {took:?}");
        assert!(took < core::time::Duration::from_millis(250));
        replies.into_iter().map(|reply| reply.expect("not blind")).collect()
    })
}

#[test]
fn open_closed_and_silent_are_told_apart_at_once() {
    let Some((left, right)) = Namespace::pair() else { return };
    // Nobody ever reads from it: what a frozen agent looks like.
    let held = right.run(|| {
        UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, PORT)).expect("free in a fresh namespace")
    });
    for interface in [None, Some("left")] {
        let machines = vec![
            vec![link("10.9.0.2", interface)],
            vec![link("fd09::2", interface)],
            vec![link("10.9.0.77", interface)],
            vec![link("10.9.0.77", interface), link("fd09::2", interface)],
        ];
        let open = Reply::Answers(Port::Open);
        assert_eq!(probe(&left, machines), [open, open, Reply::Silent, open], "any link counts");
    }
    drop(held);
    let closed = Reply::Answers(Port::Closed);
    let machines = vec![vec![link("10.9.0.2", None)], vec![link("fd09::2", Some("left"))]];
    assert_eq!(probe(&left, machines), [closed, closed]);
    right.ip("link set right down");
    let machines = vec![vec![link("10.9.0.2", Some("left")), link("fd09::2", None)]];
    assert_eq!(probe(&left, machines), [Reply::Silent]);
}

/// Echo alone, and the segment alone, are enough to be heard.
#[test]
fn a_machine_that_drops_echo_is_found_by_its_station() {
    let Some((left, right)) = Namespace::pair() else { return };
    right.run(|| std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").expect("written"));
    let held = right.run(|| UdpSocket::bind(("0.0.0.0", PORT)).expect("free"));
    assert_eq!(probe(&left, vec![vec![link("10.9.0.2", None)]]), [Reply::Silent]);
    let machines = vec![vec![link("10.9.0.2", Some("left"))]];
    assert_eq!(probe(&left, machines), [Reply::Answers(Port::Open)]);
    drop(held);
}

#[tokio::test]
async fn on_loopback_only_the_port_tells() {
    let held = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let peer = held.local_addr().expect("bound");
    let links = vec![Link { peer, local: None, interface: None }];
    let prober = Prober::open();
    let reply = prober.probe(std::slice::from_ref(&links)).await.expect("few").remove(0);
    assert_eq!(reply.expect("not blind"), Reply::Answers(Port::Open));
    drop(held);
    let reply = prober.probe(&[links]).await.expect("few").remove(0);
    assert_eq!(reply.expect("not blind"), Reply::Answers(Port::Closed));
}
