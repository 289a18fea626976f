//! The socket of what runs: one question a connection. Answers are read with a limit and taken for text of a stranger.

use core::time::Duration;
use std::{io, path::Path};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

/// It answers from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// `show info` has about 3 KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// One question, or several with `;` between them.
pub(super) async fn ask(socket: &Path, question: &str) -> io::Result<String> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(question.as_bytes()).await?;
        stream.write_all(b"\n").await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(ANSWER_WITHIN, talk)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "does not answer within 1 s"))?
}

/// Which configuration runs.
pub(super) async fn running(socket: &Path) -> io::Result<String> {
    let info = ask(socket, "show info").await?;
    description(&info)
        .map(str::to_owned)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "does not say what it runs"))
}

/// The line of `show info` that has it.
pub(super) fn description(info: &str) -> Option<&str> {
    let found = info.lines().find_map(|line| line.strip_prefix("description: "));
    found.map(str::trim).filter(|text| text.len() <= 64)
}
