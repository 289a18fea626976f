//! Strategic merge patches, for the built-in kinds: lists with a merge key are merged item by item.

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::schema::Node;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_PRIMITIVE: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// `old` changed by `patch`.
pub(crate) fn patch(old: &Value, patch: &Value, node: Node<'_>) -> Result<Value, Failure> {
    match (old, patch) {
        (Value::Object(old), Value::Object(patch)) => {
            map(old, patch, Some(node)).map(Value::Object)
        }
        _ => Err(Failure::bad_request("a strategic merge patch is an object")),
    }
}

type Fields = Map<String, Value>;

fn map(old: &Fields, patch: &Fields, node: Option<Node<'_>>) -> Result<Fields, Failure> {
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            let mut new = patch.clone();
            new.remove(DIRECTIVE);
            return Ok(new);
        }
        Some("delete") => return Ok(Fields::new()),
        Some("merge") | None => {}
        Some(other) => {
            return Err(Failure::bad_request(format!("unknown patch directive $patch: {other}")));
        }
    }
    let mut out = old.clone();
    if let Some(retain) = patch.get(RETAIN).and_then(Value::as_array) {
        out.retain(|name, _| retain.iter().any(|r| r == name));
    }
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix(DELETE_PRIMITIVE) {
            delete_from(&mut out, field, value);
        } else if name.starts_with('$') {
            // order: below; directives: above
        } else if value.is_null() {
            out.remove(name);
        } else {
            let inner = node.and_then(|n| n.field(name));
            let new = match (out.get(name), value) {
                (Some(Value::Object(a)), Value::Object(b)) => Value::Object(map(a, b, inner)?),
                (Some(Value::Array(a)), Value::Array(b)) => list(a, b, inner)?,
                (None, Value::Object(b)) => Value::Object(map(&Fields::new(), b, inner)?),
                (None, Value::Array(b)) => list(&[], b, inner)?,
                _ => value.clone(),
            };
            out.insert(name.clone(), new);
        }
    }
    for (name, order) in patch {
        if let (Some(field), Some(order)) = (name.strip_prefix(ORDER), order.as_array()) {
            let key = merge_key(node.and_then(|n| n.field(field)));
            if let Some(Value::Array(items)) = out.get_mut(field) {
                set_order(items, order, key);
            }
        }
    }
    Ok(out)
}

fn delete_from(fields: &mut Fields, field: &str, values: &Value) {
    let gone = values.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(Value::Array(items)) = fields.get_mut(field) {
        items.retain(|item| !gone.contains(item));
    }
}

fn merge_key(node: Option<Node<'_>>) -> Option<&str> {
    node.and_then(|n| n.get("x-kubernetes-patch-merge-key")).and_then(Value::as_str)
}

fn list(old: &[Value], patch: &[Value], node: Option<Node<'_>>) -> Result<Value, Failure> {
    let strategy = node.and_then(|n| n.get("x-kubernetes-patch-strategy")).and_then(Value::as_str);
    if !strategy.is_some_and(|s| s.split(',').any(|s| s == "merge")) {
        return Ok(patch.to_vec().into());
    }
    let Some(key) = merge_key(node) else {
        // scalars: what is new is appended
        let mut out = old.to_vec();
        out.extend(patch.iter().filter(|p| !old.contains(p)).cloned());
        return Ok(out.into());
    };
    let inner = node.and_then(Node::items);
    let replaces = patch.iter().any(|p| p[DIRECTIVE] == "replace" && p.get(key).is_none());
    let mut out = if replaces { Vec::new() } else { old.to_vec() };
    for item in patch {
        let Some(fields) = item.as_object() else {
            return Err(Failure::bad_request(format!(
                "an item of a list with merge key {key:?} is an object"
            )));
        };
        let Some(identity) = fields.get(key) else {
            if fields.contains_key(DIRECTIVE) {
                continue;
            }
            return Err(Failure::bad_request(format!(
                "map: {item} does not contain declared merge key: {key}"
            )));
        };
        let at = out.iter().position(|o| o.get(key) == Some(identity));
        if fields.get(DIRECTIVE).is_some_and(|d| d == "delete") {
            if let Some(at) = at {
                out.remove(at);
            }
            continue;
        }
        match at {
            Some(at) => {
                let empty = Fields::new();
                let before = out[at].as_object().unwrap_or(&empty);
                out[at] = Value::Object(map(before, fields, inner)?);
            }
            None => out.push(Value::Object(map(&Fields::new(), fields, inner)?)),
        }
    }
    Ok(out.into())
}

/// Brings items into the order that the patch names; those that it does not name keep their place behind their
/// neighbours.
fn set_order(items: &mut [Value], order: &[Value], key: Option<&str>) {
    let rank = |item: &Value| {
        order.iter().position(|o| match key {
            Some(key) => o.get(key).is_some() && o.get(key) == item.get(key),
            None => o == item,
        })
    };
    let mut named: Vec<Value> = items.iter().filter(|i| rank(i).is_some()).cloned().collect();
    named.sort_by_key(|i| rank(i));
    let mut named = named.into_iter();
    for item in items.iter_mut() {
        if rank(item).is_some()
            && let Some(next) = named.next()
        {
            *item = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use serde_json::json;

    fn patched(kind: &str, old: Value, p: Value) -> Value {
        let catalog = Catalog::new([]);
        let (group, plural) = kind.split_once('/').expect("group/plural");
        let resource = catalog.find(group, "v1", plural).expect("served");
        patch(&old, &p, resource.schema.root()).expect("patches")
    }

    fn pod(containers: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn containers_merge_by_name_and_go_by_directive() {
        let old =
            pod(json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]));
        let patch = pod(
            json!([{"name": "b", "$patch": "delete"}, {"name": "a", "image": "2", "args": ["y"]},
                               {"name": "c"}]),
        );
        let want = pod(json!([{"name": "a", "image": "2", "args": ["y"]}, {"name": "c"}]));
        assert_eq!(patched("apps/deployments", old, patch), want);
    }

    #[test]
    fn the_order_is_the_patchs() {
        let old = pod(json!([{"name": "a"}, {"name": "b"}]));
        let mut patch = pod(json!([{"name": "c"}]));
        patch["spec"]["template"]["spec"]["$setElementOrder/containers"] =
            json!([{"name": "c"}, {"name": "b"}, {"name": "a"}]);
        let want = pod(json!([{"name": "c"}, {"name": "b"}, {"name": "a"}]));
        assert_eq!(patched("apps/deployments", old, patch), want);
    }

    #[test]
    fn scalars_are_added_and_deleted_and_maps_are_replaced_on_demand() {
        let old = json!({"metadata": {"finalizers": ["a/b", "c/d"], "labels": {"x": "1"}}, "data": {"k": "v"}});
        let patch = json!({"metadata": {"finalizers": ["e/f"], "$deleteFromPrimitiveList/finalizers": ["a/b"],
                           "labels": {"x": null, "y": "2"}}, "data": {"$patch": "replace", "z": "1"}});
        let want = json!({"metadata": {"finalizers": ["c/d", "e/f"], "labels": {"y": "2"}}, "data": {"z": "1"}});
        assert_eq!(patched("/configmaps", old, patch), want);
    }

    #[test]
    fn retained_keys_drop_the_others() {
        let old = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        let want = json!({"spec": {"strategy": {"type": "Recreate"}}});
        assert_eq!(patched("apps/deployments", old, patch), want);
    }
}
