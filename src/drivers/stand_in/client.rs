//! The agent's side: one connection a question, so that nothing has to be mended when the other side restarts.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::{io, path::PathBuf};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::timeout,
};

use super::proto::{Ask, Heard, LINE_BYTES_MAX, Told, decode, encode};

/// A knock takes a tenth of it.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Whoever plays this machine's kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    path: PathBuf,
}

impl Kernel {
    /// Connects when it is asked something.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// One question.
    pub async fn ask(&self, ask: &Ask) -> io::Result<Told> {
        let talk = async {
            let mut stream = UnixStream::connect(&self.path).await?;
            stream.write_all(&encode(ask)?).await?;
            let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
            let mut line = Vec::new();
            BufReader::new(stream).take(limit).read_until(b'\n', &mut line).await?;
            decode(&line)
        };
        timeout(ANSWER_WITHIN, talk).await.map_err(|_| late())?
    }

    /// A connection over the network; waits while nobody answers.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<UnixStream> {
        self.kept(&Ask::Connect { to }).await
    }

    /// Whoever connects to `at` arrives at `socket`, as long as what this gives is kept.
    pub async fn listen(&self, at: SocketAddr, socket: PathBuf) -> io::Result<UnixStream> {
        let ask = Ask::Listen { at, socket };
        timeout(ANSWER_WITHIN, self.kept(&ask)).await.map_err(|_| late())?
    }

    /// A question whose connection goes on after the answer.
    async fn kept(&self, ask: &Ask) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.path).await?;
        stream.write_all(&encode(ask)?).await?;
        match decode(&line_of(&mut stream, LINE_BYTES_MAX).await?)? {
            Told::Done => Ok(stream),
            other => Err(strange(&other)),
        }
    }

    /// Whether a machine is there, as far as this machine can hear.
    pub async fn knock(&self, address: IpAddr, port: u16) -> io::Result<Heard> {
        match self.ask(&Ask::Knock { address, port }).await? {
            Told::Heard(heard) => Ok(heard),
            other => Err(strange(&other)),
        }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the stand-in of the kernel does not answer")
}

/// One line and nothing behind it: what follows is not ours.
pub async fn line_of(stream: &mut UnixStream, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(line),
            byte if line.len() < bytes_max => line.push(byte),
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "longer than a line may be",
                ));
            }
        }
    }
}

pub(super) fn strange(told: &Told) -> io::Error {
    let text = match told {
        Told::Refused(why) => why.clone(),
        other => format!("the stand-in of the kernel answered something else: {other:?}"),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}
