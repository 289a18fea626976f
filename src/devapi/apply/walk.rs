//! Objects into field sets: what an applied object says, and what differs between two.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{Set, Step};
use crate::failure::Failure;
use crate::schema::{ListType, Node};

/// How a value is taken apart.
pub(super) enum Shape<'a> {
    /// One value: scalars, atomic lists and maps.
    Leaf,
    /// Field by field.
    Fields,
    /// Item by item.
    Items(ListType<'a>),
}

/// The shape at a place. Without a schema, lists are one value and objects are taken apart.
pub(super) fn shape<'a>(node: Option<Node<'a>>, value: &Value) -> Shape<'a> {
    match value {
        Value::Object(_) if node.is_some_and(Node::is_atomic_map) => Shape::Leaf,
        Value::Object(_) => Shape::Fields,
        Value::Array(_) => match node.map(Node::list_type) {
            None | Some(ListType::Atomic) => Shape::Leaf,
            Some(list) => Shape::Items(list),
        },
        _ => Shape::Leaf,
    }
}

/// What tells an item of a list apart.
pub(super) fn step_of(
    item: &Value,
    list: &ListType<'_>,
    items: Option<Node<'_>>,
) -> Result<Step, Failure> {
    let ListType::Map(keys) = list else { return Ok(Step::Value(item.to_string())) };
    let mut identity = Map::new();
    for key in keys {
        let default = || items.and_then(|n| n.property(key)).and_then(Node::default);
        let Some(value) = item.get(key).or_else(default) else {
            return Err(Failure::bad_request(format!(
                "associative list with keys has an element that omits key field {key:?} (and doesn't have \
                 default value)"
            )));
        };
        identity.insert((*key).to_owned(), value.clone());
    }
    Ok(Step::Key(Value::Object(identity).to_string()))
}

/// Items by what tells them apart, in order. The first of equals counts.
pub(super) fn indexed<'a>(
    items: &'a [Value],
    list: &ListType<'_>,
    node: Option<Node<'_>>,
) -> Result<(Vec<Step>, BTreeMap<Step, &'a Value>), Failure> {
    let mut steps = Vec::new();
    let mut index = BTreeMap::new();
    for item in items {
        let step = step_of(item, list, node)?;
        index.entry(step.clone()).or_insert(item);
        steps.push(step);
    }
    Ok((steps, index))
}

/// The fields that an object says something about.
pub(crate) fn field_set(value: &Value, node: Option<Node<'_>>) -> Result<Set, Failure> {
    let mut set = Set::default();
    fields_of(value, node, &mut Vec::new(), &mut set)?;
    Ok(set)
}

fn fields_of(
    value: &Value,
    node: Option<Node<'_>>,
    path: &mut Vec<Step>,
    set: &mut Set,
) -> Result<(), Failure> {
    match (shape(node, value), value) {
        (Shape::Fields, Value::Object(fields)) => {
            for (name, field) in fields {
                let named = node.and_then(|n| n.property(name));
                path.push(Step::Field(name.clone()));
                fields_of(field, named.or_else(|| node.and_then(Node::additional)), path, set)?;
                let hollow = field.is_null() || field.as_object().is_some_and(Map::is_empty);
                if hollow || named.is_none() {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (Shape::Items(list), Value::Array(items)) => {
            let inner = node.and_then(Node::items);
            let mut seen = Set::default();
            for item in items {
                let step = step_of(item, &list, inner)?;
                if seen.has(&step) {
                    return Err(Failure::bad_request(format!(
                        "duplicate entries for key {step} in {}",
                        super::set::shown(path)
                    )));
                }
                seen.insert(std::slice::from_ref(&step));
                path.push(step);
                if matches!(list, ListType::Map(_)) {
                    fields_of(item, inner, path, set)?;
                }
                set.insert(path);
                path.pop();
            }
        }
        _ => set.insert(path),
    }
    Ok(())
}

/// What differs between two objects.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Difference {
    pub(crate) added: Set,
    pub(crate) removed: Set,
    pub(crate) modified: Set,
}

/// Compares two objects field by field.
pub(crate) fn compare(
    old: &Value,
    new: &Value,
    node: Option<Node<'_>>,
) -> Result<Difference, Failure> {
    let mut difference = Difference::default();
    differ(Some(old), Some(new), node, &mut Vec::new(), &mut difference)?;
    Ok(difference)
}

fn differ(
    old: Option<&Value>,
    new: Option<&Value>,
    node: Option<Node<'_>>,
    path: &mut Vec<Step>,
    out: &mut Difference,
) -> Result<(), Failure> {
    let Some(guide) = new.filter(|v| !v.is_null()).or(old).or(new) else { return Ok(()) };
    let same_kind = |v: Option<&Value>| {
        v.is_none_or(|v| v.is_null() || std::mem::discriminant(v) == std::mem::discriminant(guide))
    };
    let hollow = |v: Option<&Value>| match v {
        Some(Value::Object(o)) => o.is_empty(),
        Some(Value::Array(a)) => a.is_empty(),
        _ => true,
    };
    let leaf = !same_kind(old) || !same_kind(new) || (hollow(old) && hollow(new));
    match shape(node, guide) {
        Shape::Fields if !leaf => {
            let empty = Map::new();
            let one = old.and_then(Value::as_object).unwrap_or(&empty);
            let two = new.and_then(Value::as_object).unwrap_or(&empty);
            for name in one.keys().chain(two.keys().filter(|k| !one.contains_key(*k))) {
                path.push(Step::Field(name.clone()));
                let inner = node.and_then(|n| n.field(name));
                differ(one.get(name), two.get(name), inner, path, out)?;
                path.pop();
            }
        }
        Shape::Items(list) if !leaf => {
            let inner = node.and_then(Node::items);
            let items =
                |v: Option<&'_ Value>| v.and_then(Value::as_array).cloned().unwrap_or_default();
            let (one, two) = (items(old), items(new));
            let (first, before) = indexed(&one, &list, inner)?;
            let (second, after) = indexed(&two, &list, inner)?;
            let fresh = second.iter().filter(|s| !before.contains_key(*s));
            for step in first.iter().chain(fresh) {
                path.push(step.clone());
                differ(before.get(step).copied(), after.get(step).copied(), inner, path, out)?;
                path.pop();
            }
        }
        _ => {
            match (old, new) {
                (None, _) => out.added.insert(path),
                (_, None) => out.removed.insert(path),
                (Some(old), Some(new)) if old != new => out.modified.insert(path),
                _ => {}
            }
            return Ok(());
        }
    }
    match (old, new) {
        (None, _) => out.added.insert(path),
        (_, None) => out.removed.insert(path),
        _ => {}
    }
    Ok(())
}
