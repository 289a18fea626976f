//! One file of the state directory: written whole, or not at all.
//!
//! Layout: magic `PLSD`, kind (u16), version (u16), length (u32), SHA-256 over all of these and the content, content;
//! numbers little-endian. Write = temporary file + fsync + rename + fsync of the directory, so that a power cut leaves
//! the old content or the new one (SAFETY.md#S12).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;

/// First bytes of each file.
const MAGIC: &[u8; 4] = b"PLSD";
/// Version of the layout; a newer one is set aside, never guessed at.
const VERSION: u16 = 1;
/// magic + kind + version + length + digest.
const HEADER_BYTES: usize = 4 + 2 + 2 + 4 + 32;
/// Length of a content that is written or read. The state image of 4096 objects is far below it.
pub const CONTENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The files, each with a number of its own in its header: a file that was copied over another is not believed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[repr(u16)]
pub enum FileKind {
    /// Whose disk this is: node, cluster, marker.
    Identity = 1,
    /// Counter of process starts.
    Incarnation = 2,
    /// End of the reserved block of ring sequence numbers.
    RingSequence = 3,
    /// The newest promise.
    Promise = 4,
    /// The replicated state with its position.
    State = 5,
    /// The last revision that came from the API, for the start without it.
    Revision = 6,
    /// Ring keys.
    RingKeys = 7,
    /// BMC credentials; in the fencer's directory.
    Credentials = 8,
    /// Where and how the API was reached; for the start without it.
    Bootstrap = 9,
}

impl FileKind {
    /// Its name in the directory.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Incarnation => "incarnation",
            Self::RingSequence => "ring-sequence",
            Self::Promise => "promise",
            Self::State => "state",
            Self::Revision => "revision",
            Self::RingKeys => "ring-keys",
            Self::Credentials => "credentials",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// What reading found.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// The content as written.
    Intact(Vec<u8>),
    /// No such file.
    Missing,
    /// It was there and could not be believed; it now stands beside its place under this name.
    SetAside {
        /// Where it is now.
        kept: PathBuf,
        /// What was wrong with it.
        why: String,
    },
}

/// Reads a file and checks it. A broken one is renamed to `NAME.corrupt-N`, never overwritten (CLUSTER.md section 9).
pub fn read(dir: &Path, kind: FileKind) -> io::Result<Content> {
    let path = dir.join(kind.file_name());
    let file = match open_no_follow(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Missing),
        Err(error) => return Err(named(error, &path)),
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(CONTENT_BYTES_MAX + HEADER_BYTES + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| named(error, &path))?;
    match content(&bytes, kind) {
        Ok(_) => Ok(Content::Intact(bytes.split_off(HEADER_BYTES))),
        Err(why) => Ok(Content::SetAside { kept: set_aside(dir, kind)?, why: why.to_owned() }),
    }
}

/// Writes a file durably: when this returns `Ok`, a power cut does not take it back.
pub fn write(dir: &Path, kind: FileKind, content: &[u8]) -> io::Result<()> {
    let path = dir.join(kind.file_name());
    if content.len() > CONTENT_BYTES_MAX {
        return Err(named(io::Error::other("content above 64 MiB"), &path));
    }
    let temporary = dir.join(format!("{}.new", kind.file_name()));
    let result = (|| {
        // What an earlier crash left is ours: the directory's lock is held.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(&header(kind, content))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_dir(dir)
    })();
    result.map_err(|error| named(error, &path))
}

/// Makes renames and removals in `dir` durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// What stands before the content.
pub fn header(kind: FileKind, content: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&(kind as u16).to_le_bytes());
    header.extend_from_slice(&VERSION.to_le_bytes());
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    header.extend_from_slice(&length.to_le_bytes());
    let sum = checksum(&header, content);
    header.extend_from_slice(sum.as_ref());
    header
}

fn checksum(front: &[u8], content: &[u8]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(front);
    context.update(content);
    context.finish()
}

/// The content of a whole file, or why it is not believed.
pub fn content(bytes: &[u8], kind: FileKind) -> Result<&[u8], &'static str> {
    let Some((header, content)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err("it is shorter than its header");
    };
    if &header[..4] != MAGIC {
        return Err("it does not begin like a state file");
    }
    if header[4..6] != (kind as u16).to_le_bytes() {
        return Err("it is a state file of another kind");
    }
    if header[6..8] != VERSION.to_le_bytes() {
        return Err(
            "another version wrote it; go back to that version or let the member take a snapshot",
        );
    }
    if header[8..12] != u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes() {
        return Err("it is shorter or longer than it says");
    }
    if checksum(&header[..12], content).as_ref() != &header[12..] {
        return Err("its checksum is wrong");
    }
    Ok(content)
}

/// Renames to the first free `NAME.corrupt-N`.
fn set_aside(dir: &Path, kind: FileKind) -> io::Result<PathBuf> {
    let path = dir.join(kind.file_name());
    for number in 1..=999 {
        let kept = dir.join(format!("{}.corrupt-{number}", kind.file_name()));
        if !kept.exists() {
            fs::rename(&path, &kept).map_err(|error| named(error, &path))?;
            sync_dir(dir)?;
            return Ok(kept);
        }
    }
    Err(named(
        io::Error::other("999 corrupt copies stand beside it: look into them and remove them"),
        &path,
    ))
}

fn open_no_follow(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(path)
}

/// The same error with the path in its text: the condition must name it (SAFETY.md 3.3, O19).
pub(crate) fn named(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory for the test")
    }

    #[test]
    fn what_was_written_is_read_and_only_the_owner_may() {
        let dir = dir();
        write(dir.path(), FileKind::Promise, b"one").expect("written");
        write(dir.path(), FileKind::Promise, b"two").expect("written again");
        assert_eq!(
            read(dir.path(), FileKind::Promise).expect("read"),
            Content::Intact(b"two".to_vec())
        );
        let mode = fs::metadata(dir.path().join("promise")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!dir.path().join("promise.new").exists());
    }

    #[test]
    fn each_flipped_bit_and_each_cut_is_seen_and_the_file_kept() {
        let dir = dir();
        write(dir.path(), FileKind::State, b"what the member knew").expect("written");
        let good = fs::read(dir.path().join("state")).expect("read");
        let mut broken: Vec<Vec<u8>> = (0..good.len() * 8)
            .map(|bit| {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            })
            .collect();
        broken.extend((0..good.len()).map(|length| good[..length].to_vec()));
        for bytes in broken {
            fs::write(dir.path().join("state"), &bytes).expect("broken");
            let Content::SetAside { kept, .. } = read(dir.path(), FileKind::State).expect("read")
            else {
                panic!("believed {bytes:?}");
            };
            assert_eq!(fs::read(&kept).expect("kept"), bytes);
            fs::remove_file(kept).expect("removed for the next case");
            assert_eq!(read(dir.path(), FileKind::State).expect("read"), Content::Missing);
        }
    }

    #[test]
    fn a_file_copied_over_another_is_not_believed() {
        let dir = dir();
        write(dir.path(), FileKind::Incarnation, b"12345678").expect("written");
        fs::copy(dir.path().join("incarnation"), dir.path().join("ring-sequence")).expect("copied");
        let found = read(dir.path(), FileKind::RingSequence).expect("read");
        assert!(matches!(found, Content::SetAside { .. }), "{found:?}");
    }

    #[test]
    fn an_error_names_the_path() {
        let error =
            write(Path::new("/nonexistent/dir"), FileKind::State, b"x").expect_err("no dir");
        assert!(error.to_string().contains("/nonexistent/dir/state"), "{error}");
    }
}
