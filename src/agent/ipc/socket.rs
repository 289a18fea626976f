//! Ports over Unix sockets, with the kernel's word on who is on the other side.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::BufReader,
    net::{UnixListener, UnixStream, unix::UCred},
    sync::mpsc,
};

use super::{Port, QUEUE_MAX, frame};
use crate::config::RingUser;

/// Users whose processes may speak to a part, by the kernel's word on each connection (SO_PEERCRED).
///
/// Folders and modes decide who finds a socket (`run_dir`), this decides who is heard: a mode that a person has changed, a mount
/// too many or a descriptor that was handed on is no way in. It tells users apart, not processes: between two parts that are
/// both root only the folders stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    uids: Vec<u32>,
    /// Whose members find the socket, besides its owner.
    group: Option<u32>,
}

impl Admitted {
    /// Root, and the own user where tests run without root.
    pub fn own() -> Self {
        let mut uids = vec![0, rustix::process::geteuid().as_raw()];
        uids.dedup();
        Self { uids, group: None }
    }

    /// The ring part alone: the user that it becomes, else who everybody is. Where it is not root nobody else is heard who is.
    pub fn ring(user: Option<RingUser>) -> Self {
        user.map_or_else(Self::own, |user| Self { uids: vec![user.uid], group: Some(user.gid) })
    }

    /// A ring part of the version before too, which is root.
    #[must_use]
    pub fn or_root(mut self) -> Self {
        if !self.uids.contains(&0) {
            self.uids.push(0);
        }
        self
    }

    /// Whose members find the socket.
    pub const fn group(&self) -> Option<u32> {
        self.group
    }

    /// Whether the kernel says that the peer is one of them.
    pub fn check(&self, peer: &UCred) -> bool {
        self.uids.contains(&peer.uid())
    }
}

/// A bound socket of one part. The file goes when it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    admitted: Admitted,
}

impl Listener {
    /// Binds, 0600, or 0660 for the group that is admitted. A file that an earlier process left is removed: the caller holds the lock of the directory.
    pub fn bind(path: &Path, admitted: Admitted) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        let mode = if admitted.group.is_some() { 0o660 } else { 0o600 };
        std::os::unix::fs::chown(path, None, admitted.group)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        Ok(Self { socket, path: path.into(), admitted })
    }

    /// The next connection from somebody who may. Others are closed unread and logged.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.socket.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if self.admitted.check(&peer) => return Ok(stream),
                Ok(peer) => {
                    tracing::warn!(uid = peer.uid(), pid = peer.pid(), socket = %self.path.display(),
                        "refused a connection: this user may not speak to the agent");
                }
                Err(error) => {
                    tracing::warn!(%error, "refused a connection: the kernel names no peer")
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connects to a part and checks that the kernel says the right user answers.
pub async fn connect<Out, In>(path: &Path, admitted: &Admitted) -> io::Result<Port<Out, In>>
where
    Out: Serialize + Send + Sync + 'static,
    In: DeserializeOwned + Send + 'static,
{
    Ok(Port::over(connect_raw(path, admitted).await?))
}

/// The same, as a stream of bytes.
pub async fn connect_raw(path: &Path, admitted: &Admitted) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    if !admitted.check(&stream.peer_cred()?) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{}: another user answers there", path.display()),
        ));
    }
    Ok(stream)
}

impl<Out, In> Port<Out, In>
where
    Out: Serialize + Send + Sync + 'static,
    In: DeserializeOwned + Send + 'static,
{
    /// Pumps a stream in two tasks; they end with the connection or when the port is dropped.
    pub fn over(stream: UnixStream) -> Self {
        let (out, mut to_write) = mpsc::channel::<Out>(QUEUE_MAX);
        let (from_read, incoming) = mpsc::channel::<In>(QUEUE_MAX);
        let (read_half, mut write_half) = stream.into_split();
        tokio::spawn(async move {
            let mut reader = BufReader::new(read_half);
            let mut buffer = Vec::new();
            loop {
                let message = tokio::select! {
                    message = frame::read(&mut reader, &mut buffer) => message,
                    () = from_read.closed() => return,
                };
                match message {
                    Ok(message) => {
                        if from_read.send(message).await.is_err() {
                            return;
                        }
                    }
                    Err(frame::FrameError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "a connection between two parts of the agent ended");
                        return;
                    }
                }
            }
        });
        tokio::spawn(async move {
            while let Some(message) = to_write.recv().await {
                if let Err(error) = frame::write(&mut write_half, &message).await {
                    tracing::warn!(%error, "a connection between two parts of the agent ended");
                    return;
                }
            }
        });
        Self { tx: out, rx: incoming }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_cross_and_the_end_is_seen_on_both_sides() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let path = dir.path().join("part.sock");
        let listener = Listener::bind(&path, Admitted::own()).expect("bound");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let client = connect::<u32, String>(&path, &Admitted::own()).await.expect("connected");
        let mut server: Port<String, u32> = Port::over(listener.accept().await.expect("accepted"));
        assert!(client.send(7));
        assert_eq!(server.rx.recv().await, Some(7));
        assert!(server.send("seven".into()));
        let mut client = client;
        assert_eq!(client.rx.recv().await.as_deref(), Some("seven"));
        drop(client);
        assert_eq!(server.rx.recv().await, None);
    }

    #[tokio::test]
    async fn a_stranger_is_not_heard() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let path = dir.path().join("part.sock");
        let listener =
            Listener::bind(&path, Admitted { uids: vec![4_000_000], group: None }).expect("bound");
        let mut client = connect::<u32, u32>(&path, &Admitted::own()).await.expect("connected");
        let accepted =
            tokio::time::timeout(std::time::Duration::from_millis(200), listener.accept()).await;
        assert!(accepted.is_err(), "nobody was admitted");
        assert_eq!(client.rx.recv().await, None, "and the connection is closed");
    }
}
