//! P3: what a client sees. Open loop: a try every 10 ms, never waiting for the last one.

use super::events::{Log, What};
use super::verdict::ms;
use crate::clock::monotonic_ns;
use crate::network;
use anyhow::{Context, Result};
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
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
    let log = Arc::clone(log);
    open_loop(namespace, target, None, &move |start_ns, node| {
        log.write(What::Http { start_ns, node });
    })
}

/// One try of a client.
pub struct Try {
    /// When it began.
    pub start_ns: u64,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// Who answered, if anybody did.
    pub node: Option<String>,
}

/// Tries for so long, in a thread of its own.
pub fn tries(
    namespace: String,
    target: SocketAddrV4,
    span: Duration,
) -> JoinHandle<Result<Vec<Try>>> {
    std::thread::spawn(move || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&seen);
        open_loop(&namespace, target, Some(Instant::now() + span), &move |start_ns, node| {
            let took_ms = ms(monotonic_ns().saturating_sub(start_ns));
            let one = Try { start_ns, took_ms, node };
            said.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        })?;
        let mut all = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_by_key(|one| one.start_ns);
        Ok(all)
    })
}

fn open_loop<F>(namespace: &str, target: SocketAddrV4, end: Option<Instant>, said: &F) -> Result<()>
where
    F: Fn(u64, Option<String>) + Clone + 'static,
{
    network::enter(namespace)?;
    // One thread: its sockets are all in the client's namespace.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("a runtime for the HTTP probe")?;
    LocalSet::new().block_on(&runtime, async {
        let mut under_way = JoinSet::new();
        let mut ticks = interval(TRY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while end.is_none_or(|end| Instant::now() < end) {
            ticks.tick().await;
            let said = said.clone();
            under_way.spawn_local(async move {
                let start_ns = monotonic_ns();
                let node = timeout(TRY_FOR, ask(target)).await.ok().flatten();
                said(start_ns, node);
            });
            while under_way.try_join_next().is_some() {}
        }
        while under_way.join_next().await.is_some() {}
    });
    Ok(())
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
