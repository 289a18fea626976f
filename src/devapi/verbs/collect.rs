//! What deletions leave to do: dependents of deleted owners, contents of namespaces and definitions. And Events, which nobody
//! deletes: the oldest go.
//!
//! Kubernetes does this in controllers some time later; here it follows each write, so that tests need not wait.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::World;
use super::delete::{Begun, FOREGROUND, ORPHAN, Propagation, begin};
use crate::definition;
use crate::limits;
use crate::meta::{self, Key};
use crate::storage::Change;

/// Of both kinds of Events.
const EVENTS: &str = "events";

/// Whether a change may leave something to collect.
pub(crate) fn is_due(change: &Change) -> bool {
    match &change.new {
        None => true,
        Some(_) if change.table == EVENTS => true,
        Some(object) => meta::is_deleting(object) || meta::owners(object).next().is_some(),
    }
}

/// Changes of one round, by object: no object is changed twice in a round.
type Round = BTreeMap<(String, Key), Change>;

/// One round. Nothing is left to do once it is empty.
pub(crate) fn collect(world: &World<'_>) -> Vec<Change> {
    let mut round = Round::new();
    namespaces(world, &mut round);
    definitions(world, &mut round);
    owners(world, &mut round);
    events(world, &mut round);
    round.into_values().collect()
}

fn add(world: &World<'_>, round: &mut Round, table: &str, key: &Key, new: Option<Value>) {
    debug_assert!(world.state.get(table, key).is_some(), "only what exists is collected");
    round.entry((table.to_owned(), key.clone())).or_insert_with(|| Change {
        table: table.to_owned(),
        key: key.clone(),
        new,
    });
}

/// Deletes a stored object as a client would.
fn drop_one(
    world: &World<'_>,
    round: &mut Round,
    table: &str,
    key: &Key,
    propagation: Option<Propagation>,
) {
    let Some(stored) = world.state.get(table, key) else { return };
    let Some(resource) = world.catalog.of_table(table) else {
        return add(world, round, table, key, None);
    };
    match begin(world, resource, stored, propagation) {
        Begun::Gone => add(world, round, table, key, None),
        Begun::Marked(marked) => add(world, round, table, key, Some(marked)),
        Begun::Already => {}
    }
}

/// Takes a finalizer off; the object goes if it was the last one and it is being deleted.
fn finalized(world: &World<'_>, round: &mut Round, table: &str, key: &Key, finalizer: &str) {
    let Some(stored) = world.state.get(table, key) else { return };
    let left: Vec<String> = meta::finalizers(stored)
        .into_iter()
        .filter(|f| *f != finalizer)
        .map(str::to_owned)
        .collect();
    if left.is_empty() {
        return add(world, round, table, key, None);
    }
    let mut object = Value::clone(stored);
    meta::set_finalizers(&mut object, &left);
    add(world, round, table, key, Some(object));
}

/// In Kubernetes an Event goes an hour after it was written last. An hour of somebody who plays has thousands.
fn events(world: &World<'_>, round: &mut Round) {
    let written = |event: &Value| -> u64 {
        event["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0)
    };
    let mut all: Vec<(u64, &Key)> =
        world.state.list(EVENTS, "").map(|(key, event)| (written(event), key)).collect();
    let over = all.len().saturating_sub(limits::EVENTS_MAX);
    all.sort_unstable();
    for (_, key) in all.into_iter().take(over) {
        drop_one(world, round, EVENTS, key, None);
    }
}

fn namespaces(world: &World<'_>, round: &mut Round) {
    let deleting = world.state.list("namespaces", "").filter(|(_, o)| meta::is_deleting(o));
    for (key, namespace) in deleting {
        let mut contents = 0;
        for table in world.state.tables().filter(|t| *t != "namespaces") {
            for (inner, _) in world.state.list(table, &key.name) {
                if inner.namespace == key.name {
                    contents += 1;
                    drop_one(world, round, table, inner, None);
                }
            }
        }
        if contents == 0 && meta::finalizers(namespace).is_empty() {
            add(world, round, "namespaces", key, None);
        }
    }
}

fn definitions(world: &World<'_>, round: &mut Round) {
    let table = "customresourcedefinitions.apiextensions.k8s.io";
    let waits =
        |o: &Value| meta::is_deleting(o) && meta::finalizers(o).contains(&definition::CLEANUP);
    for (key, _) in world.state.list(table, "").filter(|(_, o)| waits(o)) {
        // the table of its objects is named as the definition itself
        let mut contents = 0;
        for (inner, _) in world.state.list(&key.name, "") {
            contents += 1;
            drop_one(world, round, &key.name, inner, None);
        }
        if contents == 0 {
            finalized(world, round, table, key, definition::CLEANUP);
        }
    }
}

struct Owner {
    namespace: String,
    /// Waits until its dependents are gone.
    foreground: bool,
}

fn owners(world: &World<'_>, round: &mut Round) {
    let mut owners: BTreeMap<&str, Owner> = BTreeMap::new();
    let mut owned = Vec::new();
    let mut waiting = Vec::new();
    for table in world.state.tables() {
        for (key, object) in world.state.list(table, "") {
            let finalizers = meta::finalizers(object);
            let foreground = meta::is_deleting(object) && finalizers.contains(&FOREGROUND);
            let orphan = meta::is_deleting(object) && finalizers.contains(&ORPHAN);
            let uid = meta::text(object, "uid");
            owners.insert(uid, Owner { namespace: key.namespace.clone(), foreground });
            if foreground || orphan {
                waiting.push((table, key, uid, orphan));
            }
            if meta::owners(object).next().is_some() {
                owned.push((table, key, object));
            }
        }
    }
    for (table, key, object) in &owned {
        dependent(world, round, &owners, (table, key, object));
    }
    for (table, key, uid, orphan) in waiting {
        let mine = |o: &Value| meta::owners(o).any(|r| r["uid"] == uid);
        if orphan {
            for (table, key, object) in owned.iter().filter(|(_, _, o)| mine(o)) {
                let mut free = Value::clone(object);
                disown(&mut free, &[uid]);
                add(world, round, table, key, Some(free));
            }
            finalized(world, round, table, key, ORPHAN);
        } else {
            let blocks = |o: &Value| {
                meta::owners(o).any(|r| r["uid"] == uid && r["blockOwnerDeletion"] == true)
            };
            if !owned.iter().any(|(_, _, o)| blocks(o)) {
                finalized(world, round, table, key, FOREGROUND);
            }
        }
    }
}

fn dependent(
    world: &World<'_>,
    round: &mut Round,
    owners: &BTreeMap<&str, Owner>,
    (table, key, object): (&str, &Key, &Value),
) {
    let (mut solid, mut gone, mut waiting) = (0, Vec::new(), Vec::new());
    for reference in meta::owners(object) {
        let uid = reference["uid"].as_str().unwrap_or_default();
        // an owner in another namespace counts as absent, as in Kubernetes
        let owner =
            owners.get(uid).filter(|o| o.namespace.is_empty() || o.namespace == key.namespace);
        match owner {
            None => gone.push(uid),
            Some(owner) if owner.foreground && reference["blockOwnerDeletion"] == true => {
                waiting.push(uid);
            }
            Some(_) => solid += 1,
        }
    }
    if solid > 0 {
        let leave: Vec<&str> = gone.into_iter().chain(waiting).collect();
        if !leave.is_empty() {
            let mut free = object.clone();
            disown(&mut free, &leave);
            add(world, round, table, key, Some(free));
        }
    } else if !waiting.is_empty() {
        drop_one(world, round, table, key, Some(Propagation::Foreground));
    } else if !meta::is_deleting(object) {
        drop_one(world, round, table, key, Some(Propagation::Background));
    }
}

fn disown(object: &mut Value, uids: &[&str]) {
    let left: Vec<Value> = meta::owners(object)
        .filter(|r| !uids.iter().any(|uid| r["uid"] == *uid))
        .cloned()
        .collect();
    meta::set(object, "ownerReferences", (!left.is_empty()).then(|| json!(left)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::storage::state::State;

    #[test]
    fn events_are_kept_up_to_a_number_and_the_one_written_longest_ago_goes_first() {
        let mut state = State::new(10);
        let put = |n: usize| {
            let name = format!("e{n}");
            let new = json!({"metadata": {"name": name, "namespace": "default"}});
            Change { table: EVENTS.into(), key: Key::new("default", &name), new: Some(new) }
        };
        let names = (0..limits::EVENTS_MAX + 2).chain([0]);
        let numbered = state.number(names.map(put).collect());
        assert!(numbered.iter().all(|(_, change)| is_due(change)));
        state.apply(numbered);
        let catalog = Catalog::new(std::iter::empty());
        let now = jiff::Timestamp::now();
        let world = World { state: &state, catalog: &catalog, now, fresh: &uuid::Uuid::new_v4 };
        let gone = collect(&world);
        let names: Vec<&str> = gone.iter().map(|change| change.key.name.as_str()).collect();
        assert_eq!(names, ["e1", "e2"], "e0 was written again");
        assert!(gone.iter().all(|change| change.new.is_none()));
    }
}
