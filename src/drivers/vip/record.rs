//! Which address belongs to which resource, under `/run/palisade/addresses/`: for the next agent, and for kernels whose
//! addresses carry no mark.

use core::net::IpAddr;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

const RECORDS_MAX: usize = 4096;
const RECORD_BYTES_MAX: u64 = 4096;

/// One address that was put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was put.
    pub address: IpAddr,
    /// For whom.
    pub resource: ResourceId,
    /// As what.
    pub kind: ResourceKind,
}

fn file(folder: &Path, address: IpAddr) -> PathBuf {
    folder.join(format!("{address}.json"))
}

/// Before the address is put: an address without record could not be told from a person's on an old kernel.
pub(super) fn write(folder: &Path, record: &Record) -> io::Result<()> {
    use io::Write as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let aside = folder.join(format!(".{}", record.address));
    let mut out =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    out.write_all(&serde_json::to_vec(record)?)?;
    fs::rename(aside, file(folder, record.address))
}

pub(super) fn remove(folder: &Path, address: IpAddr) -> io::Result<()> {
    match fs::remove_file(file(folder, address)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn all(folder: &Path) -> Vec<Record> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .take(RECORDS_MAX)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            if entry.metadata().ok()?.len() > RECORD_BYTES_MAX {
                return None;
            }
            serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()
        })
        .collect()
}
