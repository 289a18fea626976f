//! The agent's side of the local socket.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::{Semaphore, mpsc, oneshot},
};

use super::protocol::{LINE_BYTES_MAX, REPLY_BYTES_MAX, Reply, Request};
use crate::ipc::Listener;

/// Connections at one time.
pub const CONNECTIONS_MAX: usize = 16;
/// For a whole request: reading, answering, writing.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// A connection that says nothing for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A request on its way to the ring's loop.
#[derive(Debug)]
pub struct Call {
    /// What was asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
}

/// Serves until the ring's loop is gone.
pub async fn serve(listener: Listener, calls: mpsc::Sender<Call>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = calls.closed() => return,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "the local socket could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // No place: the connection is closed at once, which the CLI says with a reason.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let calls = calls.clone();
        tokio::spawn(async move {
            connection(stream, &calls).await;
            drop(place);
        });
    }
}

async fn connection(stream: UnixStream, calls: &mpsc::Sender<Call>) {
    let (read, mut write) = stream.into_split();
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut reader = BufReader::with_capacity(1024, read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut reader).take(limit);
        let read = limited.read_until(b'\n', &mut line);
        match tokio::time::timeout(IDLE_MAX, read).await {
            Ok(Ok(length)) if length > 0 => {}
            _ => return,
        }
        let whole = line.last() == Some(&b'\n');
        let reply = if whole {
            match tokio::time::timeout(REQUEST_TIME_MAX, answer(&line, calls)).await {
                Ok(reply) => reply,
                Err(_) => Reply::Refused("no answer in 30 s: the ring is not acting, or its era is not open; look at `palisade status`".into()),
            }
        } else {
            Reply::Refused(format!(
                "a request has at most {LINE_BYTES_MAX} bytes and ends with a line feed"
            ))
        };
        let mut bytes = match serde_json::to_vec(&reply) {
            Ok(bytes) if bytes.len() <= REPLY_BYTES_MAX => bytes,
            _ => br#"{"refused":"the answer is too long"}"#.to_vec(),
        };
        bytes.push(b'\n');
        let written = tokio::time::timeout(REQUEST_TIME_MAX, write.write_all(&bytes)).await;
        if !whole || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

async fn answer(line: &[u8], calls: &mpsc::Sender<Call>) -> Reply {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return Reply::Refused(format!("the request cannot be read: {error}")),
    };
    let (reply, answered) = oneshot::channel();
    if calls.send(Call { request, reply }).await.is_err() {
        return Reply::Refused("the agent is stopping".into());
    }
    answered.await.unwrap_or_else(|_| {
        Reply::Refused("the agent dropped the request: it is stopping, or the configuration changed; ask again".into())
    })
}
