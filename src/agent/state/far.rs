//! The state directory of a ring part that is not root any more: a child of it, which stays root and does nothing else, reads and
//! writes the files.
//!
//! Why not a directory that belongs to the ring's user: the version before runs as root without the right to pass by owners,
//! refuses a directory that is not its own, and must find the promises that this version gave, or a rollback would forget them
//! (CLUSTER.md section 9). Why not a capability: the one that passes by owners is as good as root.
//!
//! Invariants: the child knows kinds of files and no paths, and not the fencer's; it holds the directory's lock, so a successor
//! begins only when what its predecessor had asked for is written; it ends with the connection. A ring part whose child is gone
//! ends: without a disk it can promise nothing, and a restart gives it one.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    StateDir,
    file::{self, CONTENT_BYTES_MAX, Content, FileKind},
};
use crate::own_program;

/// A content and what is said around it.
const MESSAGE_BYTES_MAX: usize = CONTENT_BYTES_MAX + 64 * 1024;

#[derive(Serialize, Deserialize)]
enum Ask {
    Read(FileKind),
    Write(FileKind, Vec<u8>),
}

#[derive(Serialize, Deserialize)]
enum Answer {
    /// Opened, or written.
    Done,
    Intact(Vec<u8>),
    Missing,
    SetAside(PathBuf, String),
    Failed(String),
}

/// The ring part's end.
#[derive(Clone, Debug)]
pub(super) struct Far(Arc<Mutex<UnixStream>>);

impl Far {
    /// Starts the child, which makes, checks and locks the directory that its arguments name.
    pub(super) fn start(arguments: &[OsString]) -> io::Result<Self> {
        let (mut ours, theirs) = UnixStream::pair()?;
        // In a group of its own: what a terminal says to the agent must not end it before the ring part has.
        let mut child = own_program()
            .args(arguments)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        let opened = receive(&mut ours);
        if let Ok(Some(Answer::Done)) = opened {
            return Ok(Self(Arc::new(Mutex::new(ours))));
        }
        let _ = child.wait();
        Err(match opened {
            Ok(Some(Answer::Failed(error))) => io::Error::other(error),
            Ok(_) => io::Error::other("the keeper of the state directory ended: its log says why"),
            Err(error) => error,
        })
    }

    pub(super) fn read(&self, kind: FileKind) -> io::Result<Content> {
        match self.answer(&Ask::Read(kind)) {
            Answer::Intact(bytes) => Ok(Content::Intact(bytes)),
            Answer::Missing => Ok(Content::Missing),
            Answer::SetAside(kept, why) => Ok(Content::SetAside { kept, why }),
            Answer::Failed(error) => Err(io::Error::other(error)),
            Answer::Done => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(super) fn write(&self, kind: FileKind, content: &[u8]) -> io::Result<()> {
        match self.answer(&Ask::Write(kind, content.to_vec())) {
            Answer::Done => Ok(()),
            Answer::Failed(error) => Err(io::Error::other(error)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn answer(&self, ask: &Ask) -> Answer {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match send(&mut stream, ask).and_then(|()| receive(&mut stream)) {
            Ok(Some(answer)) => answer,
            gone => {
                let error = gone.err().map_or_else(|| "it ended".to_owned(), |e| e.to_string());
                tracing::error!(
                    error,
                    "the keeper of the state directory is gone: the ring part ends and is started again"
                );
                std::process::abort();
            }
        }
    }
}

/// The child: keeps the directory until the connection on its standard input ends.
pub fn keep(dir: &Path, patience: Duration) -> io::Result<()> {
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let state = match StateDir::open(dir, patience) {
        Ok(state) => state,
        Err(error) => {
            send(&mut stream, &Answer::Failed(error.to_string()))?;
            return Err(io::Error::other(error));
        }
    };
    send(&mut stream, &Answer::Done)?;
    while let Some(ask) = receive(&mut stream)? {
        let answer = match ask {
            // Of the fencer, in a directory of its own.
            Ask::Read(FileKind::Credentials) | Ask::Write(FileKind::Credentials, _) => {
                Answer::Failed("not a file of the ring part".into())
            }
            Ask::Read(kind) => match file::read(state.path(), kind) {
                Ok(Content::Intact(bytes)) => Answer::Intact(bytes),
                Ok(Content::Missing) => Answer::Missing,
                Ok(Content::SetAside { kept, why }) => Answer::SetAside(kept, why),
                Err(error) => Answer::Failed(error.to_string()),
            },
            Ask::Write(kind, content) => match file::write(state.path(), kind, &content) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Failed(error.to_string()),
            },
        };
        send(&mut stream, &answer)?;
    }
    Ok(())
}

/// Length (u32, little-endian), postcard.
fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    let mut bytes = zeroize::Zeroizing::new(bytes);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&bytes)
}

/// `None` at the end of the connection.
fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message above its limit"));
    }
    let mut bytes = zeroize::Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes).map(Some).map_err(io::Error::other)
}
