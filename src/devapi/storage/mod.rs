//! What is kept: the state in memory, the log on disk. A write is on the disk before anybody sees it.

pub(crate) mod file;
pub(crate) mod log;
pub(crate) mod state;

use std::sync::Arc;

use serde_json::Value;

use crate::meta::Key;

/// One object that a write changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where its kind lies.
    pub table: String,
    /// Which object.
    pub key: Key,
    /// Its new state; `None` deletes it.
    pub new: Option<Value>,
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub struct Event {
    /// The version that the store has from then on.
    pub revision: u64,
    /// Where the kind lies.
    pub table: String,
    /// Which object.
    pub key: Key,
    /// Before, as JSON: a parsed object takes twenty to sixty times as much memory as its text, and hundreds of past states are kept
    /// that hardly anybody asks for.
    pub old: Option<Arc<str>>,
    /// After; `None` once deleted.
    pub new: Option<Arc<str>>,
    /// Bytes of both states, for the limit of the history.
    pub bytes: usize,
}

/// A state that was kept as text.
pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the text of a Value, written by this process")
}
