//! P8: what was asked of the API server, by its own audit log.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A place in the log: what comes after it is what a scenario has caused.
#[derive(Debug, Clone)]
pub struct Cursor {
    path: PathBuf,
    offset: u64,
}

#[derive(Deserialize)]
struct Entry {
    verb: String,
    user: User,
    #[serde(rename = "objectRef")]
    object: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    resource: Option<String>,
    subresource: Option<String>,
    #[serde(rename = "apiGroup")]
    group: Option<String>,
}

/// Requests by `user verb resource`.
pub type Requests = BTreeMap<String, u64>;

impl Cursor {
    /// The log's end now.
    pub fn at_end(path: &Path) -> Result<Self> {
        let offset = std::fs::metadata(path).map_or(0, |m| m.len());
        Ok(Self { path: path.to_owned(), offset })
    }

    /// Writes since then to objects of this API group (empty: the core's), counted.
    pub fn writes(&self, group: &str) -> Result<Requests> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Requests::new());
            }
            other => other.with_context(|| format!("opening {}", self.path.display()))?,
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(count_writes(&text, group))
    }
}

fn count_writes(text: &str, group: &str) -> Requests {
    let mut counted = Requests::new();
    for line in text.lines() {
        let Ok(entry) = serde_json::from_str::<Entry>(line) else { continue }; // its last, half line
        let Some(object) = entry.object else { continue };
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        if !writes.contains(&entry.verb.as_str()) || object.group.unwrap_or_default() != group {
            continue;
        }
        let sub = object.subresource.map_or_else(String::new, |s| format!("/{s}"));
        let resource = object.resource.unwrap_or_default();
        let key = format!("{} {} {resource}{sub}", entry.user.username, entry.verb);
        *counted.entry(key).or_default() += 1;
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_other_groups_are_not_counted() {
        let line = |verb: &str, group: &str| {
            format!(
                r#"{{"verb":"{verb}","user":{{"username":"u"}},"objectRef":{{"resource":"vips","subresource":"status","apiGroup":"{group}"}}}}"#
            )
        };
        let text = [line("patch", "g"), line("get", "g"), line("patch", "h"), line("patch", "g")];
        let counted = count_writes(&text.join("\n"), "g");
        assert_eq!(counted, Requests::from([("u patch vips/status".to_owned(), 2)]));
    }
}
