//! One agent per state directory: a lock that the kernel takes back when its holder dies.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

/// Between two tries. A surging DaemonSet overlaps by 60 to 260 ms (CLUSTER.md section 8).
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Held as long as this value lives.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
    path: PathBuf,
}

/// Why the lock was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is held by another agent on this machine: stop that one first", .0.display())]
    Held(PathBuf),
    /// The file could not be opened or locked.
    #[error("{0}: give the agent a state directory that it can write to")]
    Io(#[from] io::Error),
}

impl DirLock {
    /// Takes `dir/name`, waiting for an older agent to go for at most `patience`.
    pub fn take(dir: &Path, name: &str, patience: Duration) -> Result<Self, LockError> {
        let path = dir.join(name);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|error| super::file::named(error, &path))?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < patience => {
                    thread::sleep(TRY_EVERY);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Held(path)),
                Err(error) => {
                    return Err(LockError::Io(super::file::named(error.into(), &path)));
                }
            }
        }
        // For people who look; nothing reads it back.
        let _ = file.set_len(0);
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_agents_on_one_machine_exclude_each_other() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let first = DirLock::take(dir.path(), "lock", Duration::ZERO).expect("free");
        let second = DirLock::take(dir.path(), "lock", Duration::from_millis(50));
        assert!(matches!(second, Err(LockError::Held(_))));
        drop(first);
        DirLock::take(dir.path(), "lock", Duration::ZERO).expect("free again");
    }
}
