//! Merging an applied object into the live one, and taking out what nobody wants any more.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::set::{Set, Step};
use super::walk::{Shape, indexed, shape, step_of};
use crate::failure::Failure;
use crate::schema::Node;

/// `live` with everything that `applied` says. Items of lists keep the order of `applied` among themselves; live ones
/// stay where they stood.
pub(crate) fn merge(
    live: &Value,
    applied: &Value,
    node: Option<Node<'_>>,
) -> Result<Value, Failure> {
    if std::mem::discriminant(live) != std::mem::discriminant(applied) {
        return Ok(applied.clone());
    }
    match (shape(node, applied), live, applied) {
        (Shape::Fields, Value::Object(one), Value::Object(two)) => {
            let mut out = one.clone();
            for (name, value) in two {
                let inner = node.and_then(|n| n.field(name));
                let merged = match one.get(name) {
                    Some(old) => merge(old, value, inner)?,
                    None => value.clone(),
                };
                out.insert(name.clone(), merged);
            }
            Ok(Value::Object(out))
        }
        (Shape::Items(list), Value::Array(one), Value::Array(two)) => {
            let inner = node.and_then(Node::items);
            let (left, live) = indexed(one, &list, inner)?;
            let (right, applied) = indexed(two, &list, inner)?;
            let order = interleave(&left, &right);
            let item = |step: &Step| match (live.get(step), applied.get(step)) {
                (Some(old), Some(new)) => merge(old, new, inner),
                (Some(one), None) | (None, Some(one)) => Ok(Value::clone(one)),
                (None, None) => unreachable!("the order is made of both lists"),
            };
            Ok(Value::Array(order.into_iter().map(item).collect::<Result<_, _>>()?))
        }
        _ => Ok(applied.clone()),
    }
}

/// One order of both lists: that of the right one for what it names, with the rest where it stood on the left.
fn interleave<'a>(left: &'a [Step], right: &'a [Step]) -> Vec<&'a Step> {
    let on_left: BTreeSet<&Step> = left.iter().collect();
    let on_right: BTreeSet<&Step> = right.iter().collect();
    let mut shared = right.iter().filter(|s| on_left.contains(s)).peekable();
    let mut out = Vec::with_capacity(left.len() + right.len());
    let mut taken = BTreeSet::new();
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
            if a == b {
                if taken.insert(a) {
                    out.push(a);
                }
                (l, r) = (l + 1, r + 1);
                shared.next();
                continue;
            }
            // on both sides, but its turn on the right is another one
            if on_right.contains(a) && shared.peek().is_some_and(|next| *next != a) {
                l += 1;
                continue;
            }
        }
        if let Some(a) = left.get(l) {
            if !on_right.contains(a) {
                if taken.insert(a) {
                    out.push(a);
                }
                l += 1;
                continue;
            }
            if taken.contains(a) {
                l += 1;
            }
        }
        if let Some(b) = right.get(r) {
            if taken.insert(b) {
                out.push(b);
            }
            r += 1;
            if shared.peek() == Some(&b) {
                shared.next();
            }
        }
    }
    out
}

/// `value` without the members of `set`.
pub(crate) fn without(value: &Value, set: &Set, node: Option<Node<'_>>) -> Result<Value, Failure> {
    match (shape(node, value), value) {
        (Shape::Fields, Value::Object(fields)) => {
            let mut out = Map::new();
            for (name, field) in fields {
                let step = Step::Field(name.clone());
                if set.has(&step) {
                    continue;
                }
                let kept = match set.below(&step) {
                    Some(inner) => without(field, inner, node.and_then(|n| n.field(name)))?,
                    None => field.clone(),
                };
                out.insert(name.clone(), kept);
            }
            Ok(Value::Object(out))
        }
        (Shape::Items(list), Value::Array(items)) => {
            let inner = node.and_then(Node::items);
            let mut out = Vec::new();
            for item in items {
                let step = step_of(item, &list, inner)?;
                if set.has(&step) {
                    continue;
                }
                out.push(match set.below(&step) {
                    Some(below) => without(item, below, inner)?,
                    None => item.clone(),
                });
            }
            Ok(Value::Array(out))
        }
        _ => Ok(value.clone()),
    }
}
