//! P3: what a client sees. Open loop: a try every 10 ms, never waiting for the last one.

use super::events::{Log, What};
use crate::clock::monotonic_ns;
use crate::network;
use anyhow::{Context, Result};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(10);
/// A try that takes longer has failed. Under the kernel's first repetition of a lost SYN (1 s): a
/// success means that the way was open when the try began.
const TRY_FOR: Duration = Duration::from_millis(900);
/// An answer is a node's name; more than this is none.
const ANSWER_MAX: usize = 4096;

/// Tries for ever.
pub fn probe(namespace: &str, target: SocketAddrV4, log: &Arc<Log>) -> Result<()> {
    network::enter(namespace)?;
    // One thread: its sockets are all in the client's namespace.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("a runtime for the HTTP probe")?;
    runtime.block_on(async {
        let mut ticks = interval(TRY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let log = Arc::clone(log);
            tokio::spawn(async move {
                let start_ns = monotonic_ns();
                let node = timeout(TRY_FOR, ask(target)).await.ok().flatten();
                log.write(What::Http { start_ns, node });
            });
        }
    })
}

async fn ask(target: SocketAddrV4) -> Option<String> {
    let mut stream = TcpStream::connect(target).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX as u64).read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1) == Some("200")).then(|| body.trim().to_owned())
}
