//! What this machine was told to run in this boot: written before a start, so that a new executor knows what of the
//! things that it finds is its own (SAFETY.md#S31).
//!
//! Not durable on purpose: it lies where a reboot loses it, as it loses what it names.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base::{BootId, ResourceId, ResourceKind};
use drivers::resource::Survivor;
use lifecycle::{Found, INSTANCES_MAX};
use serde::{Deserialize, Serialize};

/// Name of the file in the run directory.
const NAME: &str = "executor-record";
/// Name of the file that stands beside it while this machine is suspended.
const SUSPENDED: &str = "suspended";
/// Longest record that is read.
const BYTES_MAX: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Written {
    boot_id: BootId,
    entries: BTreeMap<ResourceId, Entry>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    kind: ResourceKind,
    exclusive: bool,
}

/// The record in memory and its file.
fn parse(bytes: &[u8]) -> Option<Written> {
    postcard::from_bytes(bytes).ok()
}

/// What a record says, in our own words again: for fuzzing.
pub fn restate(bytes: &[u8]) -> Option<Vec<u8>> {
    postcard::to_allocvec(&parse(bytes)?).ok()
}

pub(super) struct Record {
    path: PathBuf,
    boot_id: BootId,
    entries: BTreeMap<ResourceId, Entry>,
}

impl Record {
    /// Reads what an earlier life in this boot wrote; anything else counts as nothing.
    pub(super) fn load(run_dir: &Path, boot_id: BootId) -> Self {
        let path = run_dir.join(NAME);
        let small = fs::metadata(&path).is_ok_and(|file| file.len() <= BYTES_MAX);
        let entries = small
            .then(|| fs::read(&path).ok())
            .flatten()
            .and_then(|bytes| parse(&bytes))
            .filter(|written| written.boot_id == boot_id)
            .map(|written| written.entries)
            .unwrap_or_default();
        Self { path, boot_id, entries }
    }

    /// Whether the machine was suspended in this boot, as an earlier life of the executor was told last.
    pub(super) fn is_suspended(&self) -> bool {
        let text = fs::read_to_string(self.path.with_file_name(SUSPENDED)).unwrap_or_default();
        text.trim() == format!("{:032x}", self.boot_id.0)
    }

    /// The next life is to know.
    pub(super) fn suspend(&self, yes: bool) {
        let path = self.path.with_file_name(SUSPENDED);
        let result = if yes {
            fs::write(&path, format!("{:032x}\n", self.boot_id.0))
        } else {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, path = %path.display(),
                "whether this machine is suspended cannot be noted; a restarted executor would take it from its ring part");
        }
    }

    /// What the core begins with: all that is on record, and all that was found and is not.
    pub(super) fn found(&mut self, survivors: Vec<Survivor>) -> Vec<Found> {
        let mut found: Vec<Found> = self
            .entries
            .iter()
            .map(|(resource, entry)| Found {
                resource: resource.clone(),
                kind: entry.kind.clone(),
                exclusive: entry.exclusive,
                recorded: true,
            })
            .collect();
        for Survivor { resource, kind, run } in survivors {
            if self.entries.contains_key(&resource) {
                continue;
            }
            match kind {
                Some(kind) => {
                    tracing::warn!(%resource, run, "runs here and is on no record: it is stopped");
                    found.push(Found { resource, kind, exclusive: true, recorded: false });
                }
                None => tracing::error!(%resource, run,
                    "runs here, is on no record and does not say what it is: stop it by hand"),
            }
        }
        found.truncate(INSTANCES_MAX);
        found
    }

    /// Before a start.
    pub(super) fn begin(&mut self, resource: &ResourceId, kind: &ResourceKind, exclusive: bool) {
        let entry = Entry { kind: kind.clone(), exclusive };
        if self.entries.get(resource) != Some(&entry) {
            self.entries.insert(resource.clone(), entry);
            self.write();
        }
    }

    /// A check carries other parameters than the start had.
    pub(super) fn turned_into(&mut self, resource: &ResourceId, kind: &ResourceKind) {
        if let Some(entry) = self.entries.get_mut(resource)
            && entry.kind.turns_into(kind)
        {
            entry.kind = kind.clone();
            self.write();
        }
    }

    /// When nothing of it is left.
    pub(super) fn end(&mut self, resource: &ResourceId) {
        if self.entries.remove(resource).is_some() {
            self.write();
        }
    }

    fn write(&self) {
        let written = Written { boot_id: self.boot_id, entries: self.entries.clone() };
        let new = self.path.with_extension("new");
        let result = (|| {
            let bytes = postcard::to_allocvec(&written).map_err(std::io::Error::other)?;
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&bytes)?;
            fs::rename(&new, &self.path)
        })();
        if let Err(error) = result {
            tracing::error!(%error, path = %self.path.display(),
                "the record of what runs here cannot be written; a restarted executor would stop it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(template: &str) -> ResourceKind {
        ResourceKind::Process { template: template.parse().expect("valid") }
    }

    #[test]
    fn what_was_begun_is_ours_and_what_was_not_is_stopped() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let web: ResourceId = "web".parse().expect("valid");
        let gone: ResourceId = "gone".parse().expect("valid");
        let stray: ResourceId = "stray".parse().expect("valid");
        let mut record = Record::load(dir.path(), BootId(1));
        record.begin(&web, &process("web"), false);
        record.begin(&gone, &process("web"), true);
        record.end(&gone);

        let mut again = Record::load(dir.path(), BootId(1));
        let survivor = |resource: &ResourceId| Survivor {
            resource: resource.clone(),
            kind: Some(process("web")),
            run: 7,
        };
        let found = again.found(vec![survivor(&web), survivor(&stray)]);
        let summary: Vec<_> =
            found.iter().map(|f| (f.resource.as_str(), f.exclusive, f.recorded)).collect();
        assert_eq!(summary, [("web", false, true), ("stray", true, false)]);
        assert_eq!(Record::load(dir.path(), BootId(2)).found(Vec::new()), []);
    }

    #[test]
    fn a_suspension_is_remembered_in_this_boot_only() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let record = |boot| Record::load(dir.path(), BootId(boot));
        assert!(!record(1).is_suspended());
        record(1).suspend(true);
        assert!(record(1).is_suspended());
        assert!(!record(2).is_suspended(), "what it kept is gone with the boot");
        record(1).suspend(false);
        record(1).suspend(false);
        assert!(!record(1).is_suspended());
    }
}
