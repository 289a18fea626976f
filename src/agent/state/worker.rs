//! The thread that waits for the disk, so that nothing on the path of the token does (CLUSTER.md section 8).
//!
//! Invariants: a token is answered only when its content, or a newer one of the same kind, is durable; of several
//! waiting contents of one kind only the newest is written; a failed write is tried again until it succeeds or a
//! newer content takes its place, and is said once per change.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Files, file::FileKind};

/// Writes that may wait. Each kind collapses to its newest content, so a full queue means a dead disk.
const QUEUE_MAX: usize = 1024;
/// Between two tries of a write that failed.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Names one write to whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteToken(pub u64);

/// What the worker says back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Persisted {
    /// These writes, of this kind, are durable. `took` is the time of the disk alone.
    Durable {
        /// What was written.
        kind: FileKind,
        /// All that this write answers, in the order in which they were asked for.
        tokens: Vec<WriteToken>,
        /// Time spent in write, fsync and rename.
        took: Duration,
    },
    /// A write failed; it is tried again. Said at the first failure and when the text changes.
    Failing {
        /// What could not be written.
        kind: FileKind,
        /// With the path.
        error: String,
    },
}

struct Job {
    kind: FileKind,
    content: Vec<u8>,
    token: WriteToken,
}

#[derive(Default)]
struct Waiting {
    content: Vec<u8>,
    tokens: Vec<WriteToken>,
}

/// Handle of the thread. Dropping it lets the thread finish what waits, once, and end.
#[derive(Debug)]
pub struct Persister {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Persister {
    /// Starts the thread. `answer` is called on it and must not block.
    pub fn start(
        files: impl Into<Files>,
        answer: Arc<dyn Fn(Persisted) + Send + Sync>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let files = files.into();
        let thread = std::thread::Builder::new()
            .name("persist".into())
            .stack_size(128 * 1024)
            .spawn(move || run(&files, &queue, answer.as_ref()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands a content over; returns at once. `false` when the disk has hung for a thousand writes: the caller then
    /// has no answer to its token, which is the truth.
    #[must_use]
    pub fn write(&self, kind: FileKind, content: Vec<u8>, token: WriteToken) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        match jobs.try_send(Job { kind, content, token }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Waits until everything handed over was tried once, then ends the thread. Blocks.
    pub fn finish(mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(files: &Files, queue: &Receiver<Job>, answer: &(dyn Fn(Persisted) + Send + Sync)) {
    let mut waiting: BTreeMap<FileKind, Waiting> = BTreeMap::new();
    let mut said: BTreeMap<FileKind, String> = BTreeMap::new();
    let mut closed = false;
    while !closed || !waiting.is_empty() {
        let next = if waiting.is_empty() {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            queue.recv_timeout(RETRY_EVERY)
        };
        match next {
            Ok(job) => take(&mut waiting, job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => closed = true,
        }
        while let Ok(job) = queue.try_recv() {
            take(&mut waiting, job);
        }
        waiting.retain(|kind, job| {
            let begun = Instant::now();
            match files.write(*kind, &job.content) {
                Ok(()) => {
                    said.remove(kind);
                    let tokens = core::mem::take(&mut job.tokens);
                    answer(Persisted::Durable { kind: *kind, tokens, took: begun.elapsed() });
                    false
                }
                Err(error) => {
                    let error = error.to_string();
                    if said.get(kind) != Some(&error) {
                        said.insert(*kind, error.clone());
                        answer(Persisted::Failing { kind: *kind, error });
                    }
                    true
                }
            }
        });
        if closed {
            return;
        }
    }
}

fn take(waiting: &mut BTreeMap<FileKind, Waiting>, job: Job) {
    let entry = waiting.entry(job.kind).or_default();
    entry.content = job.content;
    entry.tokens.push(job.token);
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc::channel};

    use super::*;
    use crate::state::{Content, read};

    fn start(dir: std::path::PathBuf) -> (Persister, Receiver<Persisted>) {
        let (tx, rx) = channel();
        let persister = Persister::start(dir, Arc::new(move |said| drop(tx.send(said))));
        (persister.expect("a thread"), rx)
    }

    #[test]
    fn a_token_is_answered_only_when_its_content_or_a_newer_one_is_durable() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let (persister, said) = start(dir.path().into());
        for number in 0..50_u64 {
            assert!(persister.write(
                FileKind::State,
                number.to_le_bytes().into(),
                WriteToken(number)
            ));
        }
        let mut answered = Vec::new();
        while answered.len() < 50 {
            match said.recv_timeout(Duration::from_secs(10)).expect("an answer") {
                Persisted::Durable { tokens, .. } => {
                    let newest = tokens.last().expect("never empty").0;
                    let Content::Intact(found) = read(dir.path(), FileKind::State).expect("read")
                    else {
                        panic!("nothing there");
                    };
                    let found = u64::from_le_bytes(found.try_into().expect("eight bytes"));
                    assert!(found >= newest, "{found} on disk, {newest} answered");
                    answered.extend(tokens);
                }
                other @ Persisted::Failing { .. } => panic!("{other:?}"),
            }
        }
        assert!(answered.is_sorted());
    }

    #[test]
    fn a_failing_disk_is_said_once_and_answered_when_it_works_again() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let gone = dir.path().join("gone");
        let (persister, said) = start(gone.clone());
        assert!(persister.write(FileKind::Promise, b"x".to_vec(), WriteToken(1)));
        let first = said.recv_timeout(Duration::from_secs(10)).expect("said");
        let Persisted::Failing { error, .. } = first else { panic!("{first:?}") };
        assert!(error.contains("gone/promise"), "{error}");
        let silence = said.recv_timeout(Duration::from_millis(700));
        assert_eq!(silence, Err(RecvTimeoutError::Timeout), "silence: said once");
        fs::create_dir(&gone).expect("back");
        let second = said.recv_timeout(Duration::from_secs(10)).expect("answered");
        assert!(matches!(second, Persisted::Durable { tokens, .. } if tokens == [WriteToken(1)]));
    }
}
