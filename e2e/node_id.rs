//! `serve-node-id`: the small HTTP server that goes with the public address and says where it is.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A request's head may be this long; longer ones are hung up on.
const HEAD_MAX: usize = 4096;

/// Answers each request with the machine's host name, for ever.
pub fn serve(port: u16) -> Result<()> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let listener = TcpListener::bind(("0.0.0.0", port))
        .with_context(|| format!("port {port}: something else serves here already"))?;
    for stream in listener.incoming() {
        let name = name.clone();
        // A client that says nothing must not hold the others up.
        std::thread::spawn(move || {
            stream.map_err(drop).and_then(|s| answer(s, &name).map_err(drop))
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut head = Vec::new();
    let mut chunk = [0; 512];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut chunk)?;
        if n == 0 || head.len() > HEAD_MAX {
            return Ok(());
        }
        head.extend_from_slice(&chunk[..n]);
    }
    let body = format!("{name}\n");
    let length = body.len();
    stream.write_all(
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .as_bytes(),
    )
}
