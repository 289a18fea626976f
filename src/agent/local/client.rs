//! The CLI's side of the local socket. Blocking: a person waits for it.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::protocol::{REPLY_BYTES_MAX, Reply, Request};

/// Why there is no reply. The request may have been carried out when it is `Broken`.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent answers at {}: {error}; is `palisade agent` running on this machine, and are you root?", .path.display())]
    Away {
        /// Where.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// The connection broke off.
    #[error(
        "the agent ended the connection before it answered ({0}): look at `palisade status` before you ask again"
    )]
    Broken(io::Error),
    /// Something else than a reply came.
    #[error("the agent's answer cannot be read ({0}): agent and command are of different versions")]
    Malformed(serde_json::Error),
}

/// Asks once.
pub fn call(path: &Path, request: &Request, patience: Duration) -> Result<Reply, ClientError> {
    let away = |error| ClientError::Away { path: path.into(), error };
    let mut stream = UnixStream::connect(path).map_err(away)?;
    stream.set_read_timeout(Some(patience)).map_err(away)?;
    stream.set_write_timeout(Some(patience)).map_err(away)?;
    let mut line = serde_json::to_vec(request).map_err(ClientError::Malformed)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(ClientError::Broken)?;
    let limit = u64::try_from(REPLY_BYTES_MAX + 1).unwrap_or(u64::MAX);
    let mut reply = Vec::new();
    BufReader::new(stream)
        .take(limit)
        .read_until(b'\n', &mut reply)
        .map_err(ClientError::Broken)?;
    if reply.is_empty() {
        return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_slice(&reply).map_err(ClientError::Malformed)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        ipc::{Admitted, Listener},
        local::{Call, LINE_BYTES_MAX, serve},
    };

    async fn ask(path: &Path, bytes: Vec<u8>) -> String {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).expect("connected");
            stream.write_all(&bytes).expect("written");
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).expect("read");
            line
        })
        .await
        .expect("no panic")
    }

    #[tokio::test]
    async fn what_is_asked_is_answered_and_what_is_hostile_refused() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let path = dir.path().join("agent.sock");
        let listener = Listener::bind(&path, Admitted::own()).expect("bound");
        let (calls, mut queue) = mpsc::channel::<Call>(4);
        tokio::spawn(serve(listener, calls));
        let ring = tokio::spawn(async move {
            let call = queue.recv().await.expect("a call");
            assert_eq!(call.request, Request::Timeline { limit: 3 });
            call.reply.send(Reply::Done("seen".into())).expect("still there");
            // the next call is dropped unanswered, as by a ring that ends
            drop(queue.recv().await);
            queue
        });
        let asked = path.clone();
        let reply = tokio::task::spawn_blocking(move || {
            call(&asked, &Request::Timeline { limit: 3 }, Duration::from_secs(5))
        })
        .await
        .expect("no panic")
        .expect("answered");
        assert_eq!(reply, Reply::Done("seen".into()));
        let dropped = ask(&path, b"{\"verb\":\"status\"}\n".to_vec()).await;
        assert!(dropped.contains("refused"), "{dropped}");
        let mut queue = ring.await.expect("no panic");
        let garbage = ask(&path, b"\xff\xfe{]\n".to_vec()).await;
        assert!(garbage.contains("cannot be read"), "{garbage}");
        let long = ask(&path, vec![b'x'; LINE_BYTES_MAX]).await;
        assert!(long.contains("at most"), "{long}");
        assert!(queue.try_recv().is_err(), "silence: nothing hostile came through");
    }
}
