//! The log on the disk. What is acknowledged was synced before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::state::State;
use super::{Change, log};

/// The log's name in its folder.
pub(crate) const NAME: &str = "objects.log";

/// Why the store did not open. Nothing on the disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Reading, writing or locking failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Another server has it open.
    #[error("{path} is in use by another devapi: stop that one, or give this one another folder")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// Whole records stand behind a bad one: that is no torn end, and going on would lose acknowledged writes.
    #[error(
        "{path} is damaged at byte {at}, with good records behind it. Restore it from a copy, or, to go on \
         without everything that came after, cut it there: truncate -s {at} {path}"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        at: usize,
    },
}

/// An open log.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// After a failed sync nobody knows what the disk holds: no more writes.
    broken: Option<String>,
    rewrite_above: u64,
    /// Held while the log is open; a file of its own, as the log is replaced when it is rewritten.
    _lock: File,
}

/// What opening found.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) log: LogFile,
    pub(crate) state: State,
    /// A torn end that was put aside, for the person who wants to look at it.
    pub(crate) set_aside: Option<PathBuf>,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError + '_ {
    |source| OpenError::Io { path: path.to_owned(), source }
}

impl LogFile {
    /// Opens the log in `dir`, or begins one.
    pub(crate) fn open(dir: &Path, window: usize, rewrite_above: u64) -> Result<Opened, OpenError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        let path = dir.join(NAME);
        let lock = lock(dir, &path)?;
        let mut file = owned(&path, false).map_err(at(&path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at(&path))?;
        let parsed = log::parse(&bytes);
        if parsed.damaged {
            return Err(OpenError::Damaged { path, at: parsed.good_to });
        }
        let mut state = State::new(window);
        for record in parsed.records {
            for change in record.changes {
                state.restore(record.revision, change);
            }
            state.reach(record.revision);
        }
        let mut set_aside = None;
        if parsed.good_to < bytes.len() {
            set_aside = Some(put_aside(dir, &bytes[parsed.good_to..]).map_err(at(dir))?);
            file.set_len(parsed.good_to as u64).map_err(at(&path))?;
        }
        if parsed.good_to == 0 {
            file.seek(SeekFrom::Start(0)).map_err(at(&path))?;
            file.write_all(log::HEADER).map_err(at(&path))?;
        }
        file.sync_all().map_err(at(&path))?;
        sync_folder(dir).map_err(at(dir))?;
        let length = file.seek(SeekFrom::End(0)).map_err(at(&path))?;
        let log = Self { path, file, length, broken: None, rewrite_above, _lock: lock };
        Ok(Opened { log, state, set_aside })
    }

    /// Makes changes durable. On an error nothing is stored, or nobody knows: then every later write fails too.
    pub(crate) fn append(&mut self, changes: &[(u64, Change)]) -> Result<(), String> {
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        let Some((revision, _)) = changes.last() else { return Ok(()) };
        let bytes = log::encode(*revision, changes);
        if let Err(e) = self.file.write_all(&bytes) {
            // a full disk: take the half record back, so that the next write can try again
            let undone = self
                .file
                .set_len(self.length)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.length)).map(drop));
            let why = format!("writing {}: {e}", self.path.display());
            if undone.is_err() {
                self.broken = Some(format!("{why}; restart devapi once the disk is well"));
            }
            return Err(why);
        }
        if let Err(e) = self.file.sync_data() {
            let why = format!(
                "syncing {}: {e}; nothing more is written until devapi is restarted",
                self.path.display()
            );
            self.broken = Some(why.clone());
            return Err(why);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Whether most of the log is of the past.
    pub(crate) fn wants_rewrite(&self, state: &State) -> bool {
        self.broken.is_none()
            && self.length > self.rewrite_above
            && self.length > 2 * state.bytes() as u64
    }

    /// Replaces the log by one that holds just what is. The old one counts until the new one is whole on the disk.
    pub(crate) fn rewrite(&mut self, state: &State) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        let next = self.path.with_extension("next");
        let mut file = owned(&next, true)?;
        file.write_all(log::HEADER)?;
        for change in state.snapshot() {
            file.write_all(&log::encode(state.revision(), &[(state.revision(), change)]))?;
        }
        if state.objects() == 0 {
            file.write_all(&log::encode(state.revision(), &[]))?;
        }
        file.sync_all()?;
        fs::rename(&next, &self.path)?;
        sync_folder(&dir)?;
        self.length = file.seek(SeekFrom::End(0))?;
        self.file = file;
        Ok(())
    }
}

fn lock(dir: &Path, log: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let lock = owned(&path, false).map_err(at(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path: log.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

/// Opens or makes a file that only its owner reads: Secrets lie in it.
fn owned(path: &Path, empty: bool) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(empty).read(true).write(true).mode(0o600).open(path)
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Keeps a torn end under the first free name.
fn put_aside(dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    /// Torn ends that are kept; the oldest name is used again after that many.
    const KEPT_MAX: u32 = 16;
    let name = |i: u32| dir.join(format!("{NAME}.torn-{i}"));
    let path = (1..KEPT_MAX).map(name).find(|p| !p.exists()).unwrap_or_else(|| name(KEPT_MAX));
    let mut file = owned(&path, true)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Key;
    use serde_json::json;

    fn put(name: &str, v: u64) -> Change {
        let new = Some(json!({"metadata": {"name": name}, "v": v}));
        Change { table: "t".into(), key: Key::new("", name), new }
    }

    fn open(dir: &Path) -> Opened {
        LogFile::open(dir, 100, 4096).expect("opens")
    }

    fn commit(opened: &mut Opened, changes: Vec<Change>) {
        let numbered = opened.state.number(changes);
        opened.log.append(&numbered).expect("appends");
        opened.state.apply(numbered);
    }

    fn contents(state: &State) -> Vec<(String, u64)> {
        state.list("t", "").map(|(k, v)| (k.name.clone(), v["v"].as_u64().unwrap_or(0))).collect()
    }

    /// A crash at each byte of the log: what was acknowledged before is there, what was not is whole or absent.
    #[test]
    fn a_crash_at_any_byte_loses_no_acknowledged_write() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut opened = open(dir.path());
        let mut acknowledged = vec![(opened.log.length, contents(&opened.state))];
        for i in 0..6 {
            let other = if i % 2 == 0 { put("b", i) } else { Change { new: None, ..put("b", 0) } };
            commit(&mut opened, vec![put("a", i), other]);
            acknowledged.push((opened.log.length, contents(&opened.state)));
        }
        let bytes = fs::read(dir.path().join(NAME)).expect("the log");
        drop(opened);
        for cut in 0..=bytes.len() {
            let crashed = tempfile::tempdir().expect("a folder");
            fs::write(crashed.path().join(NAME), &bytes[..cut]).expect("writes");
            let mut again = open(crashed.path());
            let last = acknowledged.iter().rev().find(|(end, _)| *end <= cut as u64);
            let expected = last.map(|(_, c)| c.clone()).unwrap_or_default();
            assert_eq!(contents(&again.state), expected, "cut at {cut}");
            let torn = last.map_or(cut > 0, |(end, _)| *end < cut as u64);
            assert_eq!(again.set_aside.is_some(), torn, "cut at {cut}");
            // and it goes on from there (some of the cuts: syncing takes its time)
            if cut % 16 != 0 && cut != bytes.len() {
                continue;
            }
            commit(&mut again, vec![put("z", 1)]);
            drop(again);
            let names = contents(&open(crashed.path()).state);
            assert!(names.contains(&("z".to_owned(), 1)), "cut at {cut}");
        }
    }

    #[test]
    fn a_rewritten_log_is_small_and_says_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut opened = open(dir.path());
        for i in 0..200 {
            commit(&mut opened, vec![put("a", i)]);
        }
        let (before, revision) = (contents(&opened.state), opened.state.revision());
        assert!(opened.log.wants_rewrite(&opened.state));
        opened.log.rewrite(&opened.state).expect("rewrites");
        assert!(opened.log.length < 500, "{}", opened.log.length);
        commit(&mut opened, vec![put("b", 1)]);
        drop(opened);
        let again = open(dir.path());
        assert_eq!(again.state.revision(), revision + 1);
        assert_eq!(contents(&again.state)[..1], before[..]);
    }

    #[test]
    fn an_empty_store_keeps_its_revision_through_a_rewrite() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut opened = open(dir.path());
        commit(&mut opened, vec![put("a", 1)]);
        commit(&mut opened, vec![Change { new: None, ..put("a", 0) }]);
        let revision = opened.state.revision();
        opened.log.rewrite(&opened.state).expect("rewrites");
        drop(opened);
        assert_eq!(open(dir.path()).state.revision(), revision);
    }

    #[test]
    fn two_servers_do_not_share_a_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let _one = open(dir.path());
        assert!(matches!(LogFile::open(dir.path(), 1, 1), Err(OpenError::InUse { .. })));
    }

    #[test]
    fn a_flipped_byte_in_the_middle_stops_the_start() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut opened = open(dir.path());
        for i in 0..3 {
            commit(&mut opened, vec![put("a", i)]);
        }
        drop(opened);
        let path = dir.path().join(NAME);
        let mut bytes = fs::read(&path).expect("the log");
        bytes[log::HEADER.len() + 20] ^= 1;
        fs::write(&path, &bytes).expect("writes");
        let error = LogFile::open(dir.path(), 1, 1).expect_err("damaged");
        assert!(matches!(error, OpenError::Damaged { at, .. } if at == log::HEADER.len()));
        assert_eq!(fs::read(&path).expect("the log"), bytes, "nothing was changed");
    }
}
