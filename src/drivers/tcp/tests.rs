//! Bytes; then real connections between namespaces of the test.

use core::{net::IpAddr, time::Duration};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use super::{Cut, Family, cut, parse_events, proto};
use crate::vip::namespace::Namespace;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn questions_have_the_kernels_lengths() {
    let request = proto::dump_request(Family::V6);
    assert_eq!((request.len(), request[16], request[17]), (72, 10, 6));
    assert_eq!(parse_events(&[]), []);
    assert_eq!(parse_events(&[0; 16]), [], "a length of zero ends the reading");
}

/// A connection from `client` to `server`, both ends.
fn connect(
    client: &Namespace,
    server: &Namespace,
    listen: &str,
    to: &str,
) -> (TcpStream, TcpStream) {
    let listen = listen.to_owned();
    let listener = server.run(move || TcpListener::bind(listen).expect("free"));
    let to = to.to_owned();
    let near = client.run(move || TcpStream::connect(to).expect("reachable"));
    let (far, _) = listener.accept().expect("accepted");
    (near, far)
}

#[test]
fn connections_to_a_dead_machine_are_cut_and_no_others() {
    let Some((left, right)) = Namespace::pair() else { return };
    let (four, _four) = connect(&left, &right, "10.9.0.2:8001", "10.9.0.2:8001");
    let (six, _six) = connect(&left, &right, "[fd09::2]:8002", "[fd09::2]:8002");
    // The dead machine's client at a dual-stack listener of ours: an IPv6 socket with an IPv4-mapped peer.
    let (_mapped, mapped) = connect(&right, &left, "[::]:8003", "10.9.0.1:8003");
    let (mut own, mut own_far) = connect(&left, &left, "127.0.0.1:8004", "127.0.0.1:8004");
    let listening = left.run(|| TcpListener::bind("10.9.0.1:8005").expect("free"));
    right.ip("link set right down");
    let waiting: Vec<_> = [four, six, mapped]
        .into_iter()
        .map(|mut stream| {
            thread::spawn(move || stream.read(&mut [0]).map_err(|error| error.kind()))
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    assert!(waiting.iter().all(|thread| !thread.is_finished()), "no FIN ever comes");
    let dead: Vec<IpAddr> =
        vec!["10.9.0.2".parse().expect("valid"), "fd09::2".parse().expect("valid")];
    let again = dead.clone();
    let begin = Instant::now();
    let done = left.run(move || cut(&dead, SECOND)).expect("cut");
    println!("{done:?} in {:?}", begin.elapsed());
    assert_eq!(done, Cut { found: 3, destroyed: 3, gone: 0, late: 0 });
    for thread in waiting {
        assert_eq!(thread.join().expect("no panic"), Err(ErrorKind::ConnectionAborted));
    }
    own.write_all(b"x").expect("others live");
    own_far.read_exact(&mut [0]).expect("others live");
    drop(listening);
    assert_eq!(
        left.run(move || cut(&again, SECOND)).expect("cut"),
        Cut::default(),
        "nothing is left"
    );
}

//= SAFETY.md#S7
//= type=test
#[test]
fn nothing_is_cut_after_the_time() {
    let Some((left, right)) = Namespace::pair() else { return };
    let (near, mut far) = connect(&left, &right, "10.9.0.2:8001", "10.9.0.2:8001");
    let late =
        left.run(|| cut(&["10.9.0.2".parse().expect("valid")], Duration::ZERO)).expect("read");
    assert_eq!(late, Cut { found: 1, destroyed: 0, gone: 0, late: 1 });
    (&near).write_all(b"x").expect("it lives");
    far.read_exact(&mut [0]).expect("it lives");
}

/// `cargo test -p drivers write_tcp_corpus -- --ignored` writes what a real kernel says.
#[test]
#[ignore = "writes files of the tree"]
fn write_tcp_corpus() {
    let mut message = proto::dump_request(Family::V4);
    message[16..20].copy_from_slice(&[2, 1, 0, 0]);
    // Without the mask of states an answer has the id at the same distance, four bytes earlier.
    message.drain(20..24);
    message[0..4].copy_from_slice(&68_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&20_u16.to_ne_bytes());
    let mut done = 20_u32.to_ne_bytes().to_vec();
    done.extend(3_u16.to_ne_bytes());
    done.extend([0; 14]);
    let mut error = 36_u32.to_ne_bytes().to_vec();
    error.extend(2_u16.to_ne_bytes());
    error.extend([0; 10]);
    error.extend((-95_i32).to_ne_bytes());
    error.extend([0; 16]);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tcp/corpus");
    let all = [message.clone(), done.clone()].concat();
    for (name, bytes) in [("connection", message), ("dump", all), ("done", done), ("error", error)]
    {
        assert!(!parse_events(&bytes).is_empty(), "{name}");
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}
