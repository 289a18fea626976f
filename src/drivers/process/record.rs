//! What is written under `/run/palisade/resources/ID/`, so that the next agent finds what the last one started.
//!
//! `record.json` by the shim when the process runs, `exit.json` by the shim when it ended, `error` by the shim when it
//! could not start. Written aside and renamed: a reader sees all or nothing.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base::{Label, ResourceId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::proc::ProcessId;

/// Records are small; a larger one is not ours.
const RECORD_BYTES_MAX: u64 = 16 * 1024;

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// For whom.
    pub resource: ResourceId,
    /// From which template.
    pub template: Label,
    /// Of the start that made it; random.
    pub token: String,
    /// Also the id of the session.
    pub shim: ProcessId,
    /// The process itself.
    pub process: ProcessId,
    /// Cgroup controllers that the shim could not leave, with the reason; the process may die with the agent's container.
    pub cgroups_kept: Vec<String>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Of the start that made it.
    pub token: String,
    /// Exit status, if it ended by itself.
    pub status: Option<i32>,
    /// Signal, if one ended it.
    pub signal: Option<i32>,
}

/// The folder of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A resource id begins with a letter or digit and has no slash: it is always a folder of its own below `root`.
    pub(crate) fn new(root: &Path, resource: &ResourceId) -> Self {
        Self(root.join(resource.as_str()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) fn remove_one(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.write_bytes(name, &serde_json::to_vec(value)?)
    }

    pub(crate) fn write_bytes(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        use io::Write as _;
        let aside = self.path(&format!(".{name}.{}", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(bytes)?;
        fs::rename(aside, self.path(name))
    }

    /// `None` for what is absent, unreadable or not ours: then `/proc` is asked.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.path(name);
        if fs::metadata(&path).ok()?.len() > RECORD_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}
