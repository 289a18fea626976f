//! All objects, and the last changes. Pure: the caller has made the changes durable before they are applied.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use super::{Change, Event, parsed};
use crate::limits;
use crate::meta::{self, Key};

type Table = BTreeMap<Key, Stored>;

#[derive(Clone, Debug)]
struct Stored {
    object: Arc<Value>,
    /// The same as JSON, for the history.
    text: Arc<str>,
}

/// The objects at one revision, with a window of what led there.
#[derive(Debug)]
pub(crate) struct State {
    tables: BTreeMap<String, Table>,
    revision: u64,
    history: VecDeque<Arc<Event>>,
    history_bytes: usize,
    /// Changes after this revision are all in the history.
    known_after: u64,
    objects: usize,
    bytes: usize,
    window: usize,
}

/// The asked revision lies before the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOld {
    /// The oldest that can be asked for.
    pub(crate) oldest: u64,
}

impl State {
    /// An empty store that remembers `window` changes.
    pub(crate) fn new(window: usize) -> Self {
        Self {
            tables: BTreeMap::new(),
            // 1 is what clients write for "before everything"; nothing of ours has it
            revision: 1,
            history: VecDeque::new(),
            history_bytes: 0,
            known_after: 1,
            objects: 0,
            bytes: 0,
            window,
        }
    }

    /// The version of the whole store.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, table: &str, key: &Key) -> Option<&Arc<Value>> {
        self.tables.get(table)?.get(key).map(|s| &s.object)
    }

    /// The objects of a table in the order of their keys, of one namespace or of all.
    pub(crate) fn list<'a>(
        &'a self,
        table: &str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let from = Key::new(namespace, "");
        self.tables
            .get(table)
            .into_iter()
            .flat_map(move |t| t.range((Bound::Included(from.clone()), Bound::Unbounded)))
            .take_while(move |(key, _)| namespace.is_empty() || key.namespace == namespace)
            .map(|(key, stored)| (key, &stored.object))
    }

    /// A table as it was at `revision`.
    pub(crate) fn list_at(
        &self,
        table: &str,
        namespace: &str,
        revision: u64,
    ) -> Result<BTreeMap<Key, Arc<Value>>, TooOld> {
        if revision < self.known_after {
            return Err(TooOld { oldest: self.known_after });
        }
        // What each was at its first change since then: walked backwards, the last word counts.
        let mut changed: BTreeMap<&Key, Option<&Arc<str>>> = BTreeMap::new();
        for event in self.history.iter().rev().take_while(|e| e.revision > revision) {
            if event.table != table || !(namespace.is_empty() || event.key.namespace == namespace) {
                continue;
            }
            changed.insert(&event.key, event.old.as_ref());
        }
        let mut then: BTreeMap<Key, Arc<Value>> =
            self.list(table, namespace).map(|(k, v)| (k.clone(), Arc::clone(v))).collect();
        for (key, old) in changed {
            match old {
                Some(old) => then.insert(key.clone(), Arc::new(parsed(old))),
                None => then.remove(key),
            };
        }
        Ok(then)
    }

    /// Everything that happened after `revision`, oldest first.
    pub(crate) fn since(&self, revision: u64) -> Result<impl Iterator<Item = &Arc<Event>>, TooOld> {
        if revision < self.known_after {
            return Err(TooOld { oldest: self.known_after });
        }
        let first = self.history.partition_point(|e| e.revision <= revision);
        Ok(self.history.range(first..))
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().filter(|(_, t)| !t.is_empty()).map(|(name, _)| name.as_str())
    }

    pub(crate) fn objects(&self) -> usize {
        self.objects
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives each change the revision that it will have. Changes nothing: what comes out goes to the log, and then
    /// to [`Self::apply`].
    pub(crate) fn number(&self, changes: Vec<Change>) -> Vec<(u64, Change)> {
        let mut revision = self.revision;
        changes
            .into_iter()
            .map(|mut change| {
                revision += 1;
                if let Some(object) = &mut change.new {
                    meta::set(object, "resourceVersion", Some(revision.to_string().into()));
                }
                (revision, change)
            })
            .collect()
    }

    /// Takes numbered changes in. Gives the states as they are now stored.
    pub(crate) fn apply(&mut self, changes: Vec<(u64, Change)>) -> Vec<Option<Arc<Value>>> {
        changes.into_iter().map(|(revision, change)| self.apply_one(revision, change)).collect()
    }

    fn apply_one(&mut self, revision: u64, change: Change) -> Option<Arc<Value>> {
        assert!(revision > self.revision, "revisions only grow: {revision}, {}", self.revision);
        self.revision = revision;
        let table = self.tables.entry(change.table.clone()).or_default();
        let new = change.new.map(|object| {
            let text = object.to_string().into();
            Stored { object: Arc::new(object), text }
        });
        let old = match &new {
            Some(stored) => table.insert(change.key.clone(), stored.clone()),
            None => table.remove(&change.key),
        };
        let (new_bytes, old_bytes) =
            (new.as_ref().map_or(0, |s| s.text.len()), old.as_ref().map_or(0, |s| s.text.len()));
        self.objects = self.objects + usize::from(new.is_some()) - usize::from(old.is_some());
        self.bytes = self.bytes + new_bytes - old_bytes;
        let (now, text) = new.map(|s| (s.object, s.text)).unzip();
        self.remember(Event {
            revision,
            table: change.table,
            key: change.key,
            old: old.map(|s| s.text),
            new: text,
            bytes: new_bytes + old_bytes,
        });
        now
    }

    fn remember(&mut self, event: Event) {
        self.history_bytes += event.bytes;
        self.history.push_back(Arc::new(event));
        while self.history.len() > self.window || self.history_bytes > limits::HISTORY_BYTES_MAX {
            let Some(gone) = self.history.pop_front() else { break };
            self.history_bytes -= gone.bytes;
            self.known_after = gone.revision;
        }
    }

    /// The revision of a record of the log is reached.
    pub(crate) fn reach(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
        self.forget_history();
    }

    /// After a start nobody's watch of before can be continued but from the very end.
    fn forget_history(&mut self) {
        self.history.clear();
        self.history_bytes = 0;
        self.known_after = self.revision;
    }

    /// Everything, as changes that rebuild it: for the rewriting of the log.
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = Change> {
        self.tables.iter().flat_map(|(table, objects)| {
            objects.iter().map(|(key, stored)| Change {
                table: table.clone(),
                key: key.clone(),
                new: Some(Value::clone(&stored.object)),
            })
        })
    }

    /// One object of the log: as it was stored, with the version that it had.
    pub(crate) fn restore(&mut self, revision: u64, change: Change) {
        let before = self.revision;
        self.revision = 0;
        self.apply_one(revision.max(1), change);
        self.revision = before.max(revision);
        self.forget_history();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn put(name: &str, v: u64) -> Change {
        Change {
            table: "t".into(),
            key: Key::new("ns", name),
            new: Some(json!({"metadata": {"name": name, "namespace": "ns"}, "v": v})),
        }
    }

    fn gone(name: &str) -> Change {
        Change { new: None, ..put(name, 0) }
    }

    fn commit(state: &mut State, changes: Vec<Change>) {
        let numbered = state.number(changes);
        state.apply(numbered);
    }

    #[test]
    fn a_list_of_the_past_is_what_it_was() {
        let mut state = State::new(100);
        commit(&mut state, vec![put("a", 1), put("b", 1)]);
        let then = state.revision();
        commit(&mut state, vec![put("a", 2), gone("b"), put("c", 1)]);
        let past = state.list_at("t", "ns", then).expect("in the window");
        let names: Vec<(&str, u64)> = past
            .iter()
            .map(|(k, v)| (k.name.as_str(), v["v"].as_u64().expect("a number")))
            .collect();
        assert_eq!(names, [("a", 1), ("b", 1)]);
        assert_eq!(state.list("t", "").count(), 2);
        assert_eq!(state.objects(), 2);
    }

    #[test]
    fn the_window_moves_and_tells_where_it_begins() {
        let mut state = State::new(3);
        for i in 0..5 {
            commit(&mut state, vec![put("a", i)]);
        }
        let now = state.revision();
        assert_eq!(state.since(now - 3).expect("in the window").count(), 3);
        assert_eq!(state.since(now - 4).map(|_| ()), Err(TooOld { oldest: now - 3 }));
        assert_eq!(state.since(now).expect("the end").count(), 0, "silence");
    }

    #[test]
    fn the_window_is_bounded_by_bytes_too() {
        let mut state = State::new(usize::MAX);
        let large = "x".repeat(limits::OBJECT_BYTES_MAX);
        let fit = limits::HISTORY_BYTES_MAX / (2 * large.len());
        for _ in 0..2 * fit {
            let mut change = put("a", 1);
            change.new.as_mut().expect("an object")["text"] = large.as_str().into();
            commit(&mut state, vec![change]);
        }
        let held: usize =
            state.history.iter().flat_map(|e| [&e.old, &e.new]).flatten().map(|t| t.len()).sum();
        assert!(held <= limits::HISTORY_BYTES_MAX, "{held}");
        assert!(
            state.history.len() + 1 >= fit,
            "and no smaller than that: {}",
            state.history.len()
        );
        let now = state.revision();
        assert!(state.since(now - fit as u64 - 1).is_err(), "who is behind it lists again");
        assert_eq!(state.since(now).expect("the end").count(), 0);
    }

    #[test]
    fn bytes_and_objects_are_counted_down_again() {
        let mut state = State::new(3);
        commit(&mut state, vec![put("a", 1), put("b", 2)]);
        commit(&mut state, vec![put("a", 3333), gone("a"), gone("b")]);
        assert_eq!((state.objects(), state.bytes()), (0, 0));
    }
}
