//! Health beyond "the process is there": one connection, at most one small question.

use core::{net::SocketAddr, time::Duration};
use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::template::Monitor;

/// One look. The recurring monitor's own timeout comes from `lifecycle`; this bounds a single try.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// The status line and a little more.
const ANSWER_BYTES_MAX: u64 = 1024;

/// What is wrong, if anything.
pub(crate) async fn look(monitor: &Monitor) -> Result<(), String> {
    let work = async {
        match monitor {
            Monitor::None => Ok(()),
            Monitor::Tcp { address, port } => {
                let address = SocketAddr::new(*address, *port);
                TcpStream::connect(address).await.map(drop).map_err(|e| format!("{address}: {e}"))
            }
            Monitor::Http { address, port, path } => {
                let address = SocketAddr::new(*address, *port);
                let answer = ask(address, path)
                    .await
                    .map_err(|error| format!("{address}{path}: {error}"))?;
                match status(&answer) {
                    Some(200..=399) => Ok(()),
                    Some(status) => Err(format!("{address}{path}: status {status}")),
                    None => Err(format!("{address}{path}: no HTTP answer")),
                }
            }
        }
    };
    timeout(LOOK_MAX, work).await.unwrap_or_else(|_| Err("no answer within 5 s".into()))
}

async fn ask(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let question = format!(
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: palisade\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut limited = stream.take(ANSWER_BYTES_MAX);
    while status(&answer).is_none() {
        if limited.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer)
}

/// The number in `HTTP/1.x NNN ...`.
pub(super) fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let number = rest.get(1..)?.strip_prefix(b" ")?.get(..3)?;
    core::str::from_utf8(number).ok()?.parse().ok()
}
