//! The state directory: what a member remembers over crash, restart and power cut (CLUSTER.md section 9).
//!
//! Invariants (SAFETY.md#S12): a counter is durable before it is used; a start goes on above everything that an
//! earlier one may have used; a file that cannot be believed is set aside under another name and counts as lost; only
//! the owner reads (0700, files 0600); one agent at a time holds the lock.

mod far;
mod file;
mod lock;
mod worker;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use base::{
    Incarnation, NodeId,
    faulty::{Rule, broken},
};
use serde::{Deserialize, Serialize};

pub use far::keep;
pub use file::{CONTENT_BYTES_MAX, Content, FileKind, content, header, read, write};
pub use lock::{DirLock, LockError};
pub use worker::{Persisted, Persister, WriteToken};

use crate::keys::RingKeys;

/// Ring sequence numbers per second of wall time where no file says where to go on. A member whose disk was lost goes
/// on above what it used before, as long as it used fewer than this per second and the clock was not set back; peers
/// with intact disks correct it upwards either way. Each start takes a block of 1024, so this is four starts a second.
const SEQUENCES_PER_SECOND: u64 = 4096;

/// Why the state directory cannot be used. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It belongs to somebody else.
    #[error(
        "{} belongs to member {found_node} of cluster {found_cluster:?}, not to member {node} of {cluster:?}: a state directory is never moved; give this member an empty one",
        .dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Who it belongs to.
        found_node: NodeId,
        /// Cluster it belongs to.
        found_cluster: String,
        /// Who we are.
        node: NodeId,
        /// Our cluster.
        cluster: String,
    },
    /// Others may write to it.
    #[error("{} may be read or written by others: make it 0700 and owned by the agent's user", .0.display())]
    Open(PathBuf),
    /// Another agent holds it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk.
    #[error(
        "{0}: the agent needs a directory that it can write to and that keeps what fsync promises"
    )]
    Io(#[from] io::Error),
}

/// Whose disk this is. Written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `namespace/name` of the cluster.
    pub cluster: String,
    /// The member.
    pub node: NodeId,
    /// Drawn when the directory was made: two directories are never the same one.
    pub marker: u128,
    /// For people.
    pub made_at_ms: u64,
}

/// Whether the disk is the one that this member had (CLUSTER.md section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Everything that a promise rests on was there and intact.
    Kept,
    /// Made just now, or the promise or its counters could not be believed: this member's promise does not count
    /// until the rules of CLUSTER.md section 3.2 let it.
    Lost,
}

/// A file that could not be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Which.
    pub kind: FileKind,
    /// Under which name it was kept.
    pub kept: PathBuf,
    /// What was wrong.
    pub why: String,
}

/// What the ring part starts from.
pub struct Loaded {
    /// Whose it is.
    pub identity: Identity,
    /// Whether it is the disk that we had.
    pub disk: Disk,
    /// Of this process; its counter is durable already.
    pub incarnation: Incarnation,
    /// The highest ring sequence number that an earlier life may have used: the end of the last block that was
    /// reserved durably. Only numbers above it may be used.
    pub reserved: u64,
    /// The newest promise as `cluster` wrote it.
    pub promise: Option<Vec<u8>>,
    /// State and position as `cluster` wrote them.
    pub state: Option<Vec<u8>>,
    /// What could not be believed.
    pub set_aside: Vec<SetAside>,
}

/// How its files are reached.
#[derive(Clone, Debug)]
pub struct Files(Reach);

#[derive(Clone, Debug)]
enum Reach {
    Here(PathBuf),
    ByChild(far::Far),
}

impl From<PathBuf> for Files {
    fn from(dir: PathBuf) -> Self {
        Self(Reach::Here(dir))
    }
}

impl Files {
    fn read(&self, kind: FileKind) -> io::Result<Content> {
        match &self.0 {
            Reach::Here(dir) => read(dir, kind),
            Reach::ByChild(far) => far.read(kind),
        }
    }

    fn write(&self, kind: FileKind, content: &[u8]) -> io::Result<()> {
        match &self.0 {
            Reach::Here(dir) => write(dir, kind, content),
            Reach::ByChild(far) => far.write(kind, content),
        }
    }
}

/// The directory, locked.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    files: Files,
    /// A child that reaches the files has it instead.
    _lock: Option<DirLock>,
    set_aside: Vec<SetAside>,
}

impl StateDir {
    /// Makes the directory where it is missing, checks who may read it and takes its lock.
    pub fn open(dir: &Path, patience: Duration) -> Result<Self, StateError> {
        make_private(dir)?;
        let lock = DirLock::take(dir, "lock", patience)?;
        let files = dir.to_owned().into();
        Ok(Self { dir: dir.into(), files, _lock: Some(lock), set_aside: Vec::new() })
    }

    /// The same by a child of this process, which goes on when this one is not root any more. `arguments` start it: it calls
    /// [`keep`] for the same directory.
    pub fn open_by_child(dir: &Path, arguments: &[std::ffi::OsString]) -> Result<Self, StateError> {
        let files = Files(Reach::ByChild(far::Far::start(arguments)?));
        Ok(Self { dir: dir.into(), files, _lock: None, set_aside: Vec::new() })
    }

    /// For who writes while this value keeps the lock.
    pub fn files(&self) -> Files {
        self.files.clone()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// One file's content; a broken one is set aside and reads as missing.
    pub fn read(&mut self, kind: FileKind) -> io::Result<Option<Vec<u8>>> {
        match self.files.read(kind)? {
            Content::Intact(bytes) => Ok(Some(bytes)),
            Content::Missing => Ok(None),
            Content::SetAside { kept, why } => {
                tracing::error!(file = kind.file_name(), kept = %kept.display(), why,
                    "a state file could not be believed and was set aside; the member takes a snapshot instead");
                self.set_aside.push(SetAside { kind, kept, why });
                Ok(None)
            }
        }
    }

    /// Writes one file durably. Blocks for an fsync: never from the ring's loop.
    pub fn write(&self, kind: FileKind, content: &[u8]) -> io::Result<()> {
        self.files.write(kind, content)
    }

    /// The ring keys of the last contact.
    pub fn ring_keys(&mut self) -> io::Result<Option<RingKeys>> {
        let Some(bytes) = self.read(FileKind::RingKeys)? else { return Ok(None) };
        let bytes = zeroize::Zeroizing::new(bytes);
        match RingKeys::parse(&bytes) {
            Ok(keys) => Ok(Some(keys)),
            Err(error) => {
                tracing::error!(%error, "the cached ring keys cannot be read; waiting for the API");
                Ok(None)
            }
        }
    }

    /// Reads what a start needs and makes this start durable: the incarnation's counter is on disk when this returns.
    pub fn begin(
        &mut self,
        cluster: &str,
        node: NodeId,
        random: u128,
        wall_ms: u64,
    ) -> Result<Loaded, StateError> {
        let identity = self.read_as::<Identity>(FileKind::Identity)?;
        if let Some(found) = &identity
            && (found.node != node || found.cluster != cluster)
        {
            return Err(StateError::Foreign {
                dir: self.dir.clone(),
                found_node: found.node,
                found_cluster: found.cluster.clone(),
                node,
                cluster: cluster.into(),
            });
        }
        let counter = self.read_as::<u64>(FileKind::Incarnation)?;
        let reserved = self.read_as::<u64>(FileKind::RingSequence)?;
        let promise = self.read(FileKind::Promise)?;
        let state = self.read(FileKind::State)?;
        let promise_lost = self.set_aside.iter().any(|file| file.kind == FileKind::Promise);
        let disk = if identity.is_some() && counter.is_some() && reserved.is_some() && !promise_lost
        {
            Disk::Kept
        } else {
            Disk::Lost
        };

        let seconds = wall_ms / 1000;
        let counter = counter.map_or(seconds, |counter| counter.saturating_add(1));
        // finer than a second: a disk may be lost right after a start
        let above = if broken(Rule::RingIdReused) { 0 } else { SEQUENCES_PER_SECOND };
        let reserved = reserved.unwrap_or_else(|| wall_ms.saturating_mul(above) / 1000);
        let identity = identity.unwrap_or_else(|| Identity {
            cluster: cluster.into(),
            node,
            marker: random,
            made_at_ms: wall_ms,
        });
        // The counters first: an identity stands only beside counters that were durable before it.
        self.write_as(FileKind::Incarnation, &counter)?;
        self.write_as(FileKind::RingSequence, &reserved)?;
        self.write_as(FileKind::Identity, &identity)?;
        Ok(Loaded {
            identity,
            disk,
            incarnation: Incarnation { counter, random },
            reserved,
            promise,
            state,
            set_aside: core::mem::take(&mut self.set_aside),
        })
    }

    /// A small value in postcard form.
    pub fn read_as<T: for<'de> Deserialize<'de>>(
        &mut self,
        kind: FileKind,
    ) -> io::Result<Option<T>> {
        Ok(self.read(kind)?.and_then(|bytes| postcard::from_bytes(&bytes).ok()))
    }

    /// A small value in postcard form, durable when this returns.
    pub fn write_as<T: Serialize>(&self, kind: FileKind, value: &T) -> io::Result<()> {
        let bytes = postcard::to_allocvec(value).map_err(io::Error::other)?;
        self.write(kind, &bytes)
    }
}

/// Makes `dir` 0700 where it is missing; refuses one that others may enter or that is not ours.
pub fn make_private(dir: &Path) -> Result<(), StateError> {
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Ok(()) => {}
        Err(error) => return Err(StateError::Io(file::named(error, dir))),
    }
    let found = fs::metadata(dir).map_err(|error| file::named(error, dir))?;
    let ours = rustix::process::geteuid().as_raw();
    if found.uid() != ours || found.permissions().mode() & 0o022 != 0 {
        return Err(StateError::Open(dir.into()));
    }
    if found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
            .map_err(|error| file::named(error, dir))?;
    }
    Ok(())
}

/// 128 random bits from the kernel.
pub fn random_u128() -> u128 {
    let mut bytes = [0_u8; 16];
    // Cannot fail in aws-lc: it aborts where the kernel has no randomness, which is the only safe answer here.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000_000;

    fn node(id: u16) -> NodeId {
        NodeId::new(id).expect("not zero")
    }

    fn open(dir: &Path) -> StateDir {
        StateDir::open(dir, Duration::ZERO).expect("opened")
    }

    #[test]
    fn each_start_goes_on_above_the_one_before() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let dir = dir.path().join("state");
        let first = open(&dir).begin("ns/main", node(1), 7, WALL).expect("begun");
        assert_eq!(first.disk, Disk::Lost, "a new directory is no kept disk");
        let second = open(&dir).begin("ns/main", node(1), 8, WALL).expect("begun");
        assert_eq!(second.disk, Disk::Kept);
        assert_eq!(second.incarnation.counter, first.incarnation.counter + 1);
        assert_ne!(second.incarnation.random, first.incarnation.random);
        assert_eq!(second.reserved, first.reserved);
        let mut used = open(&dir);
        used.write_as(FileKind::RingSequence, &(first.reserved + 1024)).expect("reserved");
        let third = used.begin("ns/main", node(1), 9, WALL).expect("begun");
        assert_eq!(third.reserved, first.reserved + 1024);
        assert_eq!(second.identity.marker, 7, "the directory is the same one");
    }

    #[test]
    fn a_wiped_directory_goes_on_above_what_was_used() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let dir = dir.path().join("state");
        let first = open(&dir).begin("ns/main", node(1), 7, WALL).expect("begun");
        fs::remove_dir_all(&dir).expect("wiped");
        let later = WALL + 120_000;
        let second = open(&dir).begin("ns/main", node(1), 8, later).expect("begun");
        assert_eq!(second.disk, Disk::Lost);
        assert!(second.reserved > first.reserved + 1024);
        assert!(second.incarnation.counter > first.incarnation.counter);
    }

    #[test]
    fn a_broken_promise_is_a_lost_disk() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let dir = dir.path().join("state");
        let mut first = open(&dir);
        first.begin("ns/main", node(1), 7, WALL).expect("begun");
        first.write(FileKind::Promise, b"promise").expect("written");
        drop(first);
        fs::write(dir.join("promise"), b"PLSDgarbage").expect("broken");
        let second = open(&dir).begin("ns/main", node(1), 8, WALL).expect("begun");
        assert_eq!(second.disk, Disk::Lost);
        assert_eq!(second.promise, None);
        assert_eq!(second.set_aside.len(), 1);
        assert_eq!(fs::read(&second.set_aside[0].kept).expect("kept"), b"PLSDgarbage");
    }

    #[test]
    fn the_directory_of_another_member_is_refused_and_untouched() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let dir = dir.path().join("state");
        open(&dir).begin("ns/main", node(1), 7, WALL).expect("begun");
        let before = fs::read(dir.join("incarnation")).expect("there");
        for (cluster, id) in [("ns/main", 2), ("ns/other", 1)] {
            let refused = open(&dir).begin(cluster, node(id), 8, WALL);
            assert!(matches!(refused, Err(StateError::Foreign { .. })));
        }
        assert_eq!(fs::read(dir.join("incarnation")).expect("there"), before);
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("opened up");
        let refused = StateDir::open(dir.path(), Duration::ZERO);
        assert!(matches!(refused, Err(StateError::Open(_))), "{refused:?}");
    }
}
