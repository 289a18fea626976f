//! The run directory: one folder for each socket that somebody of another part, or a person, speaks to, so that a container is
//! given the folders of those whom its part must reach and no others (CLUSTER.md section 8).
//!
//! | folder | socket | bound by | reached by |
//! |---|---|---|---|
//! | `agent` | `agent.sock` | ring | people |
//! | `executor` | `executor.sock`, `fencer.sock` (see below) | executor | ring |
//! | `watch` | `executor.sock` | executor | fencer |
//! | `fencer` | `fencer.sock` | fencer | ring |
//!
//! The executor's records lie beside the folders, where they have always been: what runs is found by the version before and
//! by the one after. Invariants: only the part's user, and the group that it is told, may enter a folder; which of those may
//! speak is the kernel's word at each entry (`ipc`).
//!
//! **The version before** had all sockets in the directory itself. For as long as it may stand beside this one on a machine
//! (two DaemonSets are not replaced in one moment, and both may be rolled back), the old paths lead here by links, and the
//! executor takes the ring's connection on to a fencer that still listens at the old path. The next version drops all of that:
//! `link_old_paths`, `way_to_fencer_before`, and `process::before`.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use crate::state::{StateError, make_private};

/// Where everything of one machine's agent meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

/// A folder with a socket, each bound by one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The ring part's, for people.
    Agent,
    /// The executor's, for the ring part.
    Executor,
    /// The executor's, for the fencer, which feeds the watchdog on its answers.
    Watch,
    /// The fencer's, for the ring part.
    Fencer,
}

impl Entry {
    const fn below(self) -> (&'static str, &'static str) {
        match self {
            Self::Agent => ("agent", "agent.sock"),
            Self::Executor => ("executor", "executor.sock"),
            Self::Watch => ("watch", "executor.sock"),
            Self::Fencer => ("fencer", "fencer.sock"),
        }
    }

    /// Its name in the run directory, where the version before had it.
    const fn before(self) -> &'static str {
        match self {
            Self::Agent => "agent.sock",
            Self::Executor => "executor.sock",
            Self::Watch => "executor-watch.sock",
            Self::Fencer => "fencer.sock",
        }
    }
}

impl RunDir {
    /// At that path; nothing is made.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself: the executor's records.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Folder of a socket.
    pub fn folder(&self, entry: Entry) -> PathBuf {
        self.0.join(entry.below().0)
    }

    /// The socket itself.
    pub fn socket(&self, entry: Entry) -> PathBuf {
        self.folder(entry).join(entry.below().1)
    }

    /// Where the version before has its socket.
    pub fn socket_before(&self, entry: Entry) -> PathBuf {
        self.0.join(entry.before())
    }

    /// Where the executor takes the ring part on to a fencer of the version before.
    pub fn way_to_fencer_before(&self) -> PathBuf {
        self.folder(Entry::Executor).join("fencer.sock")
    }

    /// Makes the directory where it is missing, for the executor alone. `group` may pass through to the folders, where the ring
    /// part has another user than root and no container of its own.
    pub fn make(&self, group: Option<u32>) -> Result<(), StateError> {
        make_for(&self.0, group)
    }

    /// Makes the folder of a socket that the caller is about to bind, for itself and `group`, and returns the socket's path.
    pub fn make_entry(&self, entry: Entry, group: Option<u32>) -> Result<PathBuf, StateError> {
        make_for(&self.folder(entry), group)?;
        Ok(self.socket(entry))
    }

    /// Lets the path at which the version before looks for a socket lead to where this one has it. A socket that a part of the
    /// version before left there is taken away: the caller holds the place of that part.
    pub fn link_old_path(&self, entry: Entry) -> io::Result<()> {
        let (folder, name) = entry.below();
        let (to, link) = (Path::new(folder).join(name), self.socket_before(entry));
        if fs::read_link(&link).is_ok_and(|found| found == to) {
            return Ok(());
        }
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(to, link),
        }
    }

    /// Whether a part of the version before has a socket of its own there, and no link of ours.
    pub fn has_before(&self, entry: Entry) -> bool {
        fs::symlink_metadata(self.socket_before(entry))
            .is_ok_and(|found| found.file_type().is_socket())
    }
}

/// Nobody of the group lists it or writes there. Without the right to give files away its owner may hand a file to a group that
/// it is in, as the parts of the chart are.
fn make_for(dir: &Path, group: Option<u32>) -> Result<(), StateError> {
    make_private(dir)?;
    if group.is_some() {
        chown(dir, None, group)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o710))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn each_socket_has_a_folder_and_old_paths_lead_there() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let run = RunDir::at(dir.path().join("run"));
        run.make(None).expect("made");
        // as the version before left it
        drop(UnixListener::bind(run.socket_before(Entry::Watch)).expect("bound"));
        assert!(run.has_before(Entry::Watch));
        for entry in [Entry::Agent, Entry::Watch] {
            let socket = run.make_entry(entry, None).expect("made");
            let mode = fs::metadata(run.folder(entry)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            let _listener = UnixListener::bind(&socket).expect("bound");
            for _ in 0..2 {
                run.link_old_path(entry).expect("linked");
            }
            UnixStream::connect(run.socket_before(entry)).expect("by the old path");
            assert!(!run.has_before(entry), "a link is none of its own");
        }
        // and the version before takes its place again, as it did
        fs::remove_file(run.socket_before(Entry::Watch)).expect("it removes what is there");
        let _old = UnixListener::bind(run.socket_before(Entry::Watch)).expect("bound");
        assert!(run.has_before(Entry::Watch));
    }
}
