//! `palisade dev web`: the service of a new box. It says which machine answers.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use base::NodeName;

/// A client that says nothing is let go.
const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST_BYTES_MAX: u64 = 8 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the machine.
    name: NodeName,
    /// Where to listen.
    listen: SocketAddr,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let body = format!("served by {}\n", args.name);
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        let body = body.clone();
        thread::spawn(move || answer(&stream, &body));
    }
    Ok(())
}

/// Who breaks off hears nothing.
fn answer(stream: &TcpStream, body: &str) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let mut lines = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
    let mut stream = stream;
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
}
