//! Requests at a fixed rate, half of them on connections that are kept, half on fresh ones. Open loop: each has its moment,
//! whatever became of those before it. Nothing is tried twice: a request that was sent and not answered has failed.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// Who sends: each has a kept connection or makes fresh ones.
const SENDERS: u32 = 40;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct Load {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    begun: Instant,
}

#[derive(Default)]
struct Shared {
    kept: AtomicU64,
    fresh: AtomicU64,
    connections: AtomicU64,
    slowest_us: AtomicU64,
    failures: Mutex<Vec<String>>,
}

pub(crate) struct Figures {
    pub(crate) answered: u64,
    pub(crate) kept_alive: u64,
    pub(crate) fresh: u64,
    pub(crate) failures: Vec<String>,
    connections: u64,
    slowest: Duration,
    took: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests answered in {:.1} s ({:.0} each second): {} on kept connections, {} on fresh ones, {} connections, slowest {} ms; {} failed {:?}",
            self.answered,
            self.took.as_secs_f64(),
            self.answered as f64 / self.took.as_secs_f64(),
            self.kept_alive,
            self.fresh,
            self.connections,
            self.slowest.as_millis(),
            self.failures.len(),
            self.failures.iter().take(3).collect::<Vec<_>>(),
        )
    }
}

impl Load {
    pub(crate) fn begin(to: SocketAddr, rate: u32, lasts: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        let every = Duration::from_secs(1) * SENDERS / rate;
        for number in 0..SENDERS {
            let shared = Arc::clone(&shared);
            let first = begun + every * number / SENDERS;
            tasks.spawn(send(shared, to, number % 2 == 0, first, every, begun + lasts));
        }
        Self { tasks, shared, begun }
    }

    pub(crate) async fn end(mut self) -> Figures {
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let (kept_alive, fresh) = (of(&self.shared.kept), of(&self.shared.fresh));
        Figures {
            answered: kept_alive + fresh,
            kept_alive,
            fresh,
            failures: self.shared.failures.lock().expect("no panic").clone(),
            connections: of(&self.shared.connections),
            slowest: Duration::from_micros(of(&self.shared.slowest_us)),
            took: self.begun.elapsed(),
        }
    }
}

async fn send(
    shared: Arc<Shared>,
    to: SocketAddr,
    keep: bool,
    first: Instant,
    every: Duration,
    until: Instant,
) {
    let mut kept: Option<TcpStream> = None;
    let mut at = first;
    while at < until {
        sleep_until(at).await;
        at += every;
        let begun = Instant::now();
        let work = async {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    TcpStream::connect(to).await?
                }
            };
            let (_, close) = exchange(&mut stream).await?;
            // It said so in its answer: a client that heard it makes another connection.
            kept = (keep && !close).then_some(stream);
            io::Result::Ok(())
        };
        match timeout(ANSWER_WITHIN, work).await {
            Ok(Ok(())) => {
                if keep { &shared.kept } else { &shared.fresh }.fetch_add(1, Ordering::Relaxed);
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                shared.slowest_us.fetch_max(took, Ordering::Relaxed);
            }
            Ok(Err(error)) => fail(&shared, keep, &error.to_string()),
            Err(_) => fail(&shared, keep, "no answer within 5 s"),
        }
    }
}

fn fail(shared: &Shared, keep: bool, why: &str) {
    let kind = if keep { "kept" } else { "fresh" };
    shared.failures.lock().expect("no panic").push(format!("{kind}: {why}"));
}

/// One request: what the answer's body says.
pub(crate) async fn body(stream: &mut TcpStream) -> io::Result<String> {
    exchange(stream).await.map(|(body, _)| body)
}

/// Body of a good answer, and whether it says that the connection ends.
async fn exchange(stream: &mut TcpStream) -> io::Result<(String, bool)> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await?;
    let strange = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut part).await?;
        if n == 0 {
            return Err(strange("the connection ended before the answer"));
        }
        answer.extend_from_slice(&part[..n]);
        let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(strange(head.lines().next().unwrap_or_default()));
        }
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())
            .ok_or_else(|| strange("no length"))?;
        let rest = &answer[end + 4..];
        if rest.len() >= length {
            let text = String::from_utf8_lossy(&rest[..length]).into_owned();
            return Ok((text, head.contains("connection: close")));
        }
    }
}
