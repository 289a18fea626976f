//! Values that nobody may read: one file each in a folder of root's. Objects and messages have only their names.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use base::Label;

use crate::process::{OTHERS_WRITE, STICKY, owned};

/// Where they are.
pub const FOLDER: &str = "/etc/palisade/secrets";
const BYTES_MAX: u64 = 4096;
/// Who is neither the owner nor of us gets nothing.
const OTHERS: u32 = 0o077;

/// Why a value is not known here. None of it has the value.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("{path} cannot be read on this machine: put the value there, root's alone ({error})")]
    Absent { path: PathBuf, error: io::Error },
    #[error(
        "{0} is not root's alone: chown root it, chmod go-rwx the file, chmod go-w its folder and those above"
    )]
    Unsafe(PathBuf),
    #[error("{0} is no value: a text of at most 4096 bytes without a zero byte")]
    NoText(PathBuf),
}

/// The value; the last end of line, which editors write, is not part of it. The folder is root's alone, so what it links to is
/// root's choice: a mounted Secret is made of links.
pub(super) fn read(folder: &Path, name: &Label) -> Result<String, SecretError> {
    let path = folder.join(name.as_str());
    let absent = |error| SecretError::Absent { path: path.clone(), error };
    for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        let meta = fs::metadata(above).map_err(absent)?;
        let shared = meta.mode() & OTHERS_WRITE != 0 && meta.mode() & STICKY == 0;
        if !owned(meta.uid()) || shared {
            return Err(SecretError::Unsafe(above.to_owned()));
        }
    }
    let file = File::open(&path).map_err(absent)?;
    let meta = file.metadata().map_err(absent)?;
    if !owned(meta.uid()) || meta.mode() & OTHERS != 0 {
        return Err(SecretError::Unsafe(path));
    }
    if !meta.is_file() {
        return Err(SecretError::NoText(path));
    }
    let mut text = String::new();
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    if read.is_err() || text.len() as u64 > BYTES_MAX || text.contains('\0') {
        return Err(SecretError::NoText(path));
    }
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
