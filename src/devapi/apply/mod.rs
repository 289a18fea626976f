//! Field management: who owns which field, and server-side apply.
//!
//! Follows Kubernetes' structured merge: an applier owns what it names; what it named before and names no more goes,
//! unless somebody else owns it too; who changes a field of another is a conflict, unless forced.

pub(crate) mod managers;
pub(crate) mod merge;
pub(crate) mod set;
#[cfg(test)]
mod tests;

pub(crate) mod walk;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::limits::MANAGERS_MAX;
use crate::meta;
use crate::schema::Node;
use managers::{Manager, Managers, Owned};
use set::{Set, Step, shown};

/// Fields that belong to the server or to the path, never to a manager.
const NOBODYS: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "deletionGracePeriodSeconds"],
];

/// Who writes what through which door.
#[derive(Clone, Debug)]
pub(crate) struct Writer<'a> {
    /// Field manager.
    pub(crate) name: &'a str,
    /// Version of the written object.
    pub(crate) api_version: &'a str,
    /// `status` or nothing.
    pub(crate) subresource: &'a str,
    /// Now, as text.
    pub(crate) time: &'a str,
    /// Fields that this door does not write.
    pub(crate) ignored: &'a [&'a [&'a str]],
    /// What a new object is before anything is said: parts that are always there belong to nobody.
    pub(crate) nothing: &'a Value,
}

impl Writer<'_> {
    fn strip(&self, mut set: Set) -> Set {
        for path in NOBODYS.iter().chain(self.ignored) {
            set.strip(path);
        }
        set
    }

    fn manager(&self, applies: bool) -> Manager {
        Manager {
            applies,
            name: self.name.to_owned(),
            api_version: if applies { String::new() } else { self.api_version.to_owned() },
            subresource: self.subresource.to_owned(),
        }
    }

    fn owned(&self, set: Set) -> Owned {
        Owned { set, time: self.time.to_owned(), api_version: self.api_version.to_owned() }
    }
}

/// A field that another manager owns.
struct Conflict {
    manager: String,
    path: Vec<Step>,
}

/// Records that `writer` made `new` out of `old` by a create, update or patch.
pub(crate) fn track_update(
    old: Option<&Value>,
    new: &mut Value,
    node: Node<'_>,
    writer: &Writer<'_>,
) -> Result<(), Failure> {
    if managers::is_reset(new) {
        meta::set(new, "managedFields", None);
        return Ok(());
    }
    // a client that sends a list of its own (kubectl, when it moves an object to server-side apply) is believed
    let sent = managers::read(new);
    let sent_none = sent.is_empty();
    let mut all = match old {
        Some(old) if sent.is_empty() => managers::read(old),
        _ => sent,
    };
    let untracked = old.is_some_and(|o| managers::read(o).is_empty());
    if untracked && sent_none {
        // nobody began to keep book, so nobody goes on: the first apply does
        meta::set(new, "managedFields", None);
        return Ok(());
    }
    let nothing = writer.nothing.clone();
    let manager = writer.manager(false);
    share(old.unwrap_or(&nothing), new, node, &mut all, &manager, true, writer)?;
    let difference = walk::compare(old.unwrap_or(&nothing), new, Some(node))?;
    let before = all.remove(&manager);
    let had = before.as_ref().map(|o| o.set.clone()).unwrap_or_default();
    let set = writer
        .strip(had.minus(&difference.removed).union(&difference.modified).union(&difference.added));
    match before {
        Some(before) if before.set == set => {
            all.insert(manager, before);
        }
        _ => {
            all.insert(manager, writer.owned(set));
        }
    }
    limit(&mut all);
    managers::write(new, &all);
    Ok(())
}

/// Server-side apply: what becomes of `live` (nothing, at first) when `applied` is applied.
pub(crate) fn apply(
    live: Option<&Value>,
    applied: &Value,
    node: Node<'_>,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Failure> {
    let base = live.unwrap_or(writer.nothing);
    let mut all = managers::read(base);
    if let (Some(live), true) = (live, all.is_empty()) {
        // made before anybody kept book: all of it belongs to somebody
        let set = writer.strip(walk::field_set(live, Some(node))?);
        let unknown = Manager {
            applies: false,
            name: "before-first-apply".into(),
            api_version: writer.api_version.into(),
            subresource: String::new(),
        };
        all.insert(unknown, writer.owned(set));
    }
    let manager = writer.manager(true);
    let merged = merge::merge(base, applied, Some(node))?;
    let set = writer.strip(walk::field_set(applied, Some(node))?);
    let before = all.remove(&manager);
    let last = before.as_ref().map(|o| o.set.clone());
    all.insert(
        manager.clone(),
        match before {
            Some(before) if before.set == set => {
                Owned { api_version: writer.api_version.to_owned(), ..before }
            }
            _ => writer.owned(set),
        },
    );
    let mut new = match last {
        Some(last) => prune(&merged, &all, &last, node)?,
        None => merged,
    };
    share(base, &new, node, &mut all, &manager, force, writer)?;
    limit(&mut all);
    managers::write(&mut new, &all);
    Ok(new)
}

/// Takes out what the applier named before and nobody names now.
fn prune(merged: &Value, all: &Managers, last: &Set, node: Node<'_>) -> Result<Value, Failure> {
    let node = Some(node);
    let last = last.with_named_fields(node);
    let pruned = merge::without(merged, &last, node)?;
    let managed = all
        .values()
        .fold(Set::default(), |sum, owned| sum.union(&owned.set))
        .with_named_fields(node);
    let have = walk::field_set(merged, node)?.with_named_fields(node);
    // what went, but belongs to somebody, comes back ...
    let left = walk::field_set(&pruned, node)?.with_named_fields(node);
    let pruned = merge::without(merged, &have.minus(&left).minus(&managed), node)?;
    // ... and what went with its parent, but was never the applier's
    let left = walk::field_set(&pruned, node)?.with_named_fields(node);
    merge::without(merged, &have.minus(&left).intersection(&last), node)
}

/// Takes from the other managers what `new` changes, or tells the conflicts.
fn share(
    old: &Value,
    new: &Value,
    node: Node<'_>,
    all: &mut Managers,
    writer: &Manager,
    force: bool,
    door: &Writer<'_>,
) -> Result<(), Failure> {
    let difference = walk::compare(old, new, Some(node))?;
    let changed = door.strip(difference.modified.union(&difference.added));
    let removed = door.strip(difference.removed);
    let mut conflicts = Vec::new();
    for (manager, owned) in all.iter().filter(|(m, _)| *m != writer) {
        for path in owned.set.intersection(&changed).paths() {
            conflicts.push(Conflict { manager: manager.shown(), path });
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(refused(&conflicts));
    }
    for (_, owned) in all.iter_mut().filter(|(m, _)| *m != writer) {
        let rest = owned.set.minus(&changed).minus(&removed);
        if rest != owned.set {
            owned.set = rest;
        }
    }
    all.retain(|manager, owned| manager == writer || !owned.set.is_empty());
    Ok(())
}

fn refused(conflicts: &[Conflict]) -> Failure {
    let message = match conflicts {
        [one] => {
            format!(
                "Apply failed with 1 conflict: conflict with {}: {}",
                one.manager,
                shown(&one.path)
            )
        }
        many => {
            let mut lines = Vec::new();
            let mut managers: Vec<&str> = many.iter().map(|c| c.manager.as_str()).collect();
            managers.sort_unstable();
            managers.dedup();
            for manager in managers {
                lines.push(format!("conflicts with {manager}:"));
                let of = many.iter().filter(|c| c.manager == manager);
                lines.extend(of.map(|c| format!("- {}", shown(&c.path))));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|c| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", c.manager),
                   "field": shown(&c.path)})
        })
        .collect();
    Failure { details: Some(json!({"causes": causes})), ..Failure::new(409, "Conflict", message) }
}

/// One entry per writer does not grow without end: the oldest updaters become one.
fn limit(all: &mut Managers) {
    while all.len() > MANAGERS_MAX {
        let mut updaters: Vec<(Manager, String)> = all
            .iter()
            .filter(|(m, _)| !m.applies)
            .map(|(m, o)| (m.clone(), o.time.clone()))
            .collect();
        updaters.sort_by(|(_, a), (_, b)| a.cmp(b));
        let [(first, _), (second, _), ..] = updaters.as_slice() else { return };
        let (Some(one), Some(two)) = (all.remove(first), all.remove(second)) else { return };
        let manager = Manager { name: "ancient-changes".into(), ..second.clone() };
        let earlier = all.remove(&manager).map(|o| o.set).unwrap_or_default();
        let set = one.set.union(&two.set).union(&earlier);
        all.insert(manager, Owned { set, ..two });
    }
}
