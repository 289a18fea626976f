//! One connection of a client: who serves it, and what passes until it ends.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base::proxy::ProxyMode;
use drivers::stand_in::{Arrival, decode, line_of};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream, unix},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    AGAIN_AFTER, Balancer, Counted,
    pool::{Backend, Server, Taken},
};

/// For the line before all else, which the network says.
const ARRIVAL_MAX: Duration = Duration::from_secs(1);
/// For a frontend that has as many connections as it may have.
const QUEUE_MAX: Duration = Duration::from_secs(5);
/// Other servers that are tried when one does not take the connection.
const RETRIES: usize = 3;
/// On the way in each direction.
const BUFFER_BYTES: usize = 16 * 1024;
/// For a client that hears that nobody serves.
const REFUSAL_MAX: Duration = Duration::from_secs(1);
const NOBODY: &[u8] = b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nno server is there\n";

/// As many as may be; others wait where they knock.
pub(super) async fn accept(balancer: Arc<Balancer>, listener: UnixListener) {
    loop {
        while balancer.sessions.load(Ordering::Relaxed) >= balancer.sessions_max() {
            balancer.changed.notified().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            sleep(AGAIN_AFTER).await;
            continue;
        };
        let counted = Counted::new(&balancer);
        tokio::spawn(async move {
            serve(&counted.0, stream).await;
            drop(counted);
        });
    }
}

async fn serve(balancer: &Balancer, mut client: UnixStream) {
    let line = timeout(ARRIVAL_MAX, line_of(&mut client, Arrival::BYTES_MAX)).await;
    let Ok(Ok(line)) = line else { return };
    let Ok(Arrival { from, at }) = decode(&line) else { return };
    let live = balancer.live();
    // It was listened on until a moment ago.
    let Some((frontend, room, backend)) = live.at(at) else { return };
    let Ok(Ok(_room)) = timeout(QUEUE_MAX, Arc::clone(room).acquire_owned()).await else { return };
    let idle = frontend.client_timeout_ms.min(backend.told.server_timeout_ms);
    let mut tried = Vec::new();
    while tried.len() <= RETRIES {
        let Some(server) = backend.choose(from.ip(), &tried).map(Arc::clone) else { break };
        let taken = server.take();
        match connect(&live.kernel, backend, &server).await {
            Ok(far) => {
                let idle = Duration::from_millis(idle.into());
                return pass(client, far, taken, idle).await;
            }
            Err(_) => tried.push(server),
        }
    }
    if frontend.mode == ProxyMode::Http {
        // Who does not take it hears nothing.
        let _ = timeout(REFUSAL_MAX, refuse(&mut client)).await;
    }
}

async fn connect(
    kernel: &drivers::stand_in::Kernel,
    backend: &Backend,
    server: &Server,
) -> io::Result<UnixStream> {
    let connected = timeout(backend.connect_within(), kernel.connect(server.at)).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// What the client says first is read: a connection that ends with something unread loses what was said to it.
async fn refuse(client: &mut UnixStream) -> io::Result<()> {
    let mut some = [0; 1024];
    let _ = client.read(&mut some).await?;
    client.write_all(NOBODY).await?;
    client.shutdown().await
}

/// Until both are done, one breaks, nothing passes for so long, or the server is not to be talked to any more.
async fn pass(mut client: UnixStream, mut far: UnixStream, mut taken: Taken, idle: Duration) {
    let moved = Moved::new();
    let ((near_in, near_out), (far_in, far_out)) = (client.split(), far.split());
    let both = async {
        tokio::try_join!(one_way(near_in, far_out, &moved), one_way(far_in, near_out, &moved))
    };
    tokio::select! {
        _ = both => {}
        () = moved.not_for(idle) => {}
        () = taken.cut() => {}
    }
}

async fn one_way(
    mut from: unix::ReadHalf<'_>,
    mut to: unix::WriteHalf<'_>,
    moved: &Moved,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        moved.now();
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        moved.now();
    }
}

/// When something passed last.
struct Moved {
    begun: Instant,
    last_ms: AtomicU64,
}

impl Moved {
    fn new() -> Self {
        Self { begun: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn now(&self) {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    async fn not_for(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let until = self.begun + last + idle;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::balance::pool::{Live, tests::intent};

    async fn passed(idle: Duration) -> (UnixStream, UnixStream, tokio::task::JoinHandle<()>, Live) {
        let live = Live::new(intent("RoundRobin", &["a"], &[]), None);
        let taken = live.backends[0].servers[0].take();
        let (client, near) = UnixStream::pair().expect("a pair");
        let (far, server) = UnixStream::pair().expect("a pair");
        (client, server, tokio::spawn(pass(near, far, taken, idle)), live)
    }

    #[tokio::test]
    async fn what_is_said_arrives_and_a_client_that_is_done_still_hears_the_answer() {
        let (mut client, mut server, passing, live) = passed(Duration::from_secs(20)).await;
        client.write_all(b"question").await.expect("said");
        client.shutdown().await.expect("done");
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.expect("heard");
        assert_eq!(heard, b"question");
        server.write_all(b"answer").await.expect("said");
        drop(server);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.expect("heard");
        assert_eq!(heard, b"answer");
        passing.await.expect("ended");
        assert_eq!(live.backends[0].servers[0].sessions(), 0);
    }

    #[tokio::test]
    async fn silence_ends_it_but_not_while_something_passes() {
        let idle = Duration::from_millis(400);
        let (mut client, mut server, passing, _live) = passed(idle).await;
        for _ in 0..6 {
            sleep(idle / 4).await;
            client.write_all(b"x").await.expect("said");
            server.read_u8().await.expect("heard");
        }
        let begun = Instant::now();
        timeout(Duration::from_secs(10), passing).await.expect("ended").expect("whole");
        assert!(begun.elapsed() >= idle / 2, "{:?}", begun.elapsed());
    }
}
