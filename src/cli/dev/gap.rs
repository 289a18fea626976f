//! A client that asks again and again and never waits for the last answer: how long nobody served, and who serves now.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

/// Between two tries (SERVICES.md 1.2).
const TRY_EVERY: Duration = Duration::from_millis(10);
/// A try without an answer after this long was none.
const TRY_MAX: Duration = Duration::from_millis(250);
const ANSWER_BYTES_MAX: u64 = 4096;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    /// The machine that answered.
    pub(super) by: String,
}

/// One question; the machine that answers.
pub(super) async fn ask(at: SocketAddr) -> Option<String> {
    let talk = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).await.ok()?;
        let (_, by) = text.split_once("served by ")?;
        Some(by.trim().to_owned())
    };
    timeout(TRY_MAX, talk).await.ok()?
}

/// Answers as they come, until it is dropped.
pub(super) struct Watcher {
    task: tokio::task::JoinHandle<()>,
    answers: mpsc::UnboundedReceiver<Good>,
}

impl Watcher {
    /// Begins at once. Needs a runtime.
    pub(super) fn start(at: SocketAddr) -> Self {
        let (tell, answers) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut tick = interval(TRY_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tick.tick().await;
                let tell = tell.clone();
                tokio::spawn(async move {
                    let begun = Instant::now();
                    if let Some(by) = ask(at).await {
                        let _ = tell.send(Good { begun, ended: Instant::now(), by });
                    }
                });
            }
        });
        Self { task, answers }
    }

    /// The next answer, waited for until then.
    pub(super) async fn next(&mut self, until: Instant) -> Option<Good> {
        tokio::time::timeout_at(until.into(), self.answers.recv()).await.ok().flatten()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// From the start of the last answer of one machine to the end of the first of another.
pub(super) async fn until_another(
    watcher: &mut Watcher,
    lost: &str,
    patience: Duration,
) -> Option<(Duration, String)> {
    let until = Instant::now() + patience;
    let mut last = Instant::now();
    while let Some(good) = watcher.next(until).await {
        if good.by == lost {
            last = last.max(good.begun);
        } else {
            return Some((good.ended.saturating_duration_since(last), good.by));
        }
    }
    None
}
