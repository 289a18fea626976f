//! One call of an agent listens to what the agent says with Pacemaker's tools.
//!
//! ```text
//!  executor ─▶ Ear (a socket of this call alone) ◀── crm_master -v 10 ◀── the agent
//! ```
//!
//! Promises: what is heard belongs to the call whose socket it came by, and counts when the agent has ended in its time; one
//! connection at a time, each bounded in bytes and time. The socket's name is drawn for the call and gone with it, its folder
//! is the executor's alone.

use core::time::Duration;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::{Path, PathBuf},
    process::ExitCode,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tracing::warn;

use super::words::{
    NAMES, NO_SUCH, Refusal, UNAVAILABLE, USAGE, WORDS_MAX, Whose, Word, score_text, word,
};
use crate::process::{owned, token};

/// Where an agent's tools find the socket of its call.
pub(super) const VARIABLE: &str = "PALISADE_OCF_CALL";
/// Of what a tool was called with, and of what it is told.
const BYTES_MAX: usize = 4096;
/// For one word to be said and answered.
const WITHIN: Duration = Duration::from_secs(2);
/// A tool waits while another one is heard.
const TOOL_WITHIN: Duration = Duration::from_secs(20);

/// The tools that agents find in place of Pacemaker's.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Made and emptied by the driver; not shared with another executor.
    pub folder: PathBuf,
    /// What calls [`main`] when it is called by one of [`NAMES`].
    pub program: PathBuf,
}

impl Tools {
    /// In front of PATH.
    pub(super) fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Makes the folder anew: the program of the executor before may be another one, and nobody listens to its sockets.
    pub(super) fn make(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.bin())?;
        NAMES.iter().try_for_each(|name| symlink(&self.program, self.bin().join(name)))
    }
}

/// What was heard in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The instance's promotion score, as it was before until the agent says something else.
    pub(super) score: Option<i32>,
}

/// Listens for one call. The socket goes when it is dropped.
#[derive(Debug)]
pub(super) struct Ear {
    socket: UnixListener,
    path: PathBuf,
}

impl Drop for Ear {
    fn drop(&mut self) {
        // Emptied at the next start otherwise.
        let _ = fs::remove_file(&self.path);
    }
}

impl Ear {
    pub(super) fn open(tools: &Tools) -> io::Result<Self> {
        let path = tools.folder.join(token());
        Ok(Self { socket: UnixListener::bind(&path)?, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Hears until it is dropped.
    pub(super) async fn listen(
        &self,
        whose: Whose<'_>,
        heard: &mut Heard,
    ) -> core::convert::Infallible {
        loop {
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, resource = %whose.instance, "what an agent says is not heard");
                    return core::future::pending().await;
                }
            };
            // A tool that went away has said nothing.
            let _ = timeout(WITHIN, hear(stream, whose, heard)).await;
        }
    }
}

async fn hear(mut stream: UnixStream, whose: Whose<'_>, heard: &mut Heard) -> io::Result<()> {
    if !owned(stream.peer_cred()?.uid()) {
        return Ok(());
    }
    let mut bytes = Vec::new();
    (&mut stream).take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    let (code, text) = answer(&bytes, whose, heard);
    stream.write_all(&[code]).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Exit code and text of the tool.
fn answer(bytes: &[u8], whose: Whose<'_>, heard: &mut Heard) -> (u8, String) {
    let Some((tool, words)) = call(bytes) else {
        return (USAGE, format!("more than {WORDS_MAX} words, or than {BYTES_MAX} bytes of text"));
    };
    match word(&tool, &words, whose) {
        Ok(Word::Score(score)) => heard.score = Some(score),
        Ok(Word::NoScore) => heard.score = None,
        Ok(Word::AskScore { quiet, default }) => {
            let name = format!("master-{}", whose.instance);
            return match heard.score.map(score_text).or(default) {
                Some(value) if quiet => (0, value),
                Some(value) => (0, format!("scope=status  name={name} value={value}")),
                None => (NO_SUCH, format!("{name} has no value")),
            };
        }
        Ok(Word::AskNode) => {
            return match whose.node {
                Some(node) => (0, node.to_string()),
                None => (UNAVAILABLE, "this machine has no name".into()),
            };
        }
        Err(refusal) => {
            tell(&tool, whose, &refusal);
            return (refusal.code(), refusal.to_string());
        }
    }
    (0, String::new())
}

/// Its agent may keep it for itself.
fn tell(tool: &str, whose: Whose<'_>, refusal: &Refusal) {
    warn!(resource = %whose.instance, tool, %refusal, "an agent said what is not heard");
}

/// The tool's name and its words, each with a zero behind it.
fn call(bytes: &[u8]) -> Option<(String, Vec<String>)> {
    if bytes.len() > BYTES_MAX {
        return None;
    }
    let text = core::str::from_utf8(bytes).ok()?.strip_suffix('\0')?;
    let mut words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    let tool = words.remove(0);
    (words.len() <= WORDS_MAX).then_some((tool, words))
}

/// The tool itself, called by one of [`NAMES`]: says its words to the call that its agent belongs to.
pub fn main(name: &str, words: impl IntoIterator<Item = String>) -> ExitCode {
    let said = std::env::var_os(VARIABLE)
        .ok_or_else(|| io::Error::other("only agents that Palisade has called may call it"))
        .and_then(|path| say(Path::new(&path), name, words));
    match said {
        Ok((0, text)) => {
            if !text.is_empty() {
                println!("{text}");
            }
            ExitCode::SUCCESS
        }
        Ok((code, text)) => {
            eprintln!("{name}: {text}");
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("{name}: not heard: {error}");
            ExitCode::from(UNAVAILABLE)
        }
    }
}

fn say(
    socket: &Path,
    name: &str,
    words: impl IntoIterator<Item = String>,
) -> io::Result<(u8, String)> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TOOL_WITHIN))?;
    stream.set_write_timeout(Some(TOOL_WITHIN))?;
    let mut bytes = Vec::new();
    for word in core::iter::once(name.to_owned()).chain(words) {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    }
    stream.write_all(&bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.take(BYTES_MAX as u64).read_to_end(&mut answer)?;
    match answer.split_first() {
        Some((code, text)) => Ok((*code, String::from_utf8_lossy(text).into_owned())),
        None => Err(io::Error::other("it took too long, or its agent was broken off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_call_of_a_tool_changes_nothing() {
        let (own, node) = ("db".parse().expect("valid"), "ctl-1".parse().expect("valid"));
        let whose = Whose { instance: &own, node: Some(&node) };
        let mut heard = Heard { score: Some(3) };
        let many = "x\0".repeat(WORDS_MAX + 2);
        let long = format!("crm_master\0-v\0{}\0", "1".repeat(BYTES_MAX));
        for bytes in [&b""[..], b"\0", b"crm_master", b"\xff\0", many.as_bytes(), long.as_bytes()] {
            let (code, _) = answer(bytes, whose, &mut heard);
            assert_ne!(code, 0, "{bytes:?}");
        }
        assert_eq!(heard, Heard { score: Some(3) });
    }

    #[test]
    fn a_question_hears_what_was_said_in_the_same_call() {
        let (own, node) = ("db".parse().expect("valid"), "ctl-1".parse().expect("valid"));
        let whose = Whose { instance: &own, node: Some(&node) };
        let mut heard = Heard { score: None };
        let mut ask = |text: &str| {
            answer(format!("{text} ").replace(' ', "\0").as_bytes(), whose, &mut heard)
        };
        assert_eq!(ask("crm_master -G").0, NO_SUCH);
        assert_eq!(ask("crm_attribute -p -G -q -d 0"), (0, "0".into()));
        assert_eq!(ask("crm_master -v INFINITY"), (0, String::new()));
        assert_eq!(ask("crm_master -G -q"), (0, "INFINITY".into()));
        assert_eq!(ask("crm_master -G"), (0, "scope=status  name=master-db value=INFINITY".into()));
        assert_eq!(ask("crm_master -v 5 -N ctl-2").0, UNAVAILABLE);
        assert_eq!(ask("crm_master -G -q"), (0, "INFINITY".into()));
        assert_eq!(ask("crm_master -D").0, 0);
        assert_eq!(ask("crm_master -G").0, NO_SUCH);
        assert_eq!(ask("crm_node -n"), (0, "ctl-1".into()));
    }
}
