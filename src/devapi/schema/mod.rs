//! Structural schemas, walked as the JSON that they are: of the built-in kinds (k8s-openapi) and of definitions.

pub(crate) mod decode;
pub(crate) mod defaults;
pub(crate) mod prune;
pub(crate) mod structural;
pub(crate) mod validate;

use serde_json::{Map, Value};
use std::sync::Arc;

/// A schema with the definitions that its references name.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    root: Arc<Value>,
    definitions: Arc<Map<String, Value>>,
}

/// One place in a schema. A reference and what stands beside it count as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    own: &'a Value,
    target: Option<&'a Value>,
    definitions: &'a Map<String, Value>,
}

/// How a list merges, and who owns its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListType<'a> {
    /// One value.
    Atomic,
    /// Each scalar by itself.
    Set,
    /// Objects told apart by these fields.
    Map(Vec<&'a str>),
}

impl Schema {
    pub(crate) fn new(root: Value, definitions: Arc<Map<String, Value>>) -> Self {
        Self { root: Arc::new(root), definitions }
    }

    pub(crate) fn root(&self) -> Node<'_> {
        Node::new(&self.root, &self.definitions)
    }
}

impl<'a> Node<'a> {
    pub(crate) fn new(own: &'a Value, definitions: &'a Map<String, Value>) -> Self {
        let reference = |v: &'a Value| v.get("$ref").and_then(Value::as_str);
        let wrapped = || match own.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) => reference(only),
            _ => None,
        };
        let target = reference(own)
            .or_else(wrapped)
            .and_then(|r| definitions.get(r.rsplit('/').next().unwrap_or(r)));
        Self { own, target, definitions }
    }

    pub(crate) fn get(self, key: &str) -> Option<&'a Value> {
        self.own.get(key).or_else(|| self.target.and_then(|t| t.get(key)))
    }

    /// The schema at this place as it is written.
    pub(crate) fn plain(self) -> &'a Value {
        self.own
    }

    fn child(self, own: &'a Value) -> Self {
        Node::new(own, self.definitions)
    }

    pub(crate) fn properties(self) -> Option<&'a Map<String, Value>> {
        self.get("properties").and_then(Value::as_object)
    }

    pub(crate) fn property(self, name: &str) -> Option<Self> {
        self.properties().and_then(|p| p.get(name)).map(|own| self.child(own))
    }

    /// The schema of any further key.
    pub(crate) fn additional(self) -> Option<Self> {
        self.get("additionalProperties").filter(|a| a.is_object()).map(|own| self.child(own))
    }

    /// The schema of this key, named or not.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        self.property(name).or_else(|| self.additional())
    }

    pub(crate) fn items(self) -> Option<Self> {
        self.get("items").filter(|i| i.is_object()).map(|own| self.child(own))
    }

    pub(crate) fn kind(self) -> &'a str {
        self.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn flag(self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn int_or_string(self) -> bool {
        self.flag("x-kubernetes-int-or-string")
    }

    /// Whether keys that the schema does not name stay.
    pub(crate) fn keeps_unknown(self) -> bool {
        let open = match self.get("additionalProperties") {
            Some(Value::Bool(open)) => *open,
            _ => false,
        };
        // RawExtension, FieldsV1, JSON: types without any shape
        let shapeless = self.properties().is_none()
            && self.get("additionalProperties").is_none()
            && self.items().is_none();
        open || shapeless || self.flag("x-kubernetes-preserve-unknown-fields")
    }

    pub(crate) fn list_type(self) -> ListType<'a> {
        match self.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map(
                self.get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect(),
            ),
            _ => ListType::Atomic,
        }
    }

    pub(crate) fn is_atomic_map(self) -> bool {
        self.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic")
    }

    pub(crate) fn default(self) -> Option<&'a Value> {
        self.get("default")
    }
}

/// `path.name`, or `name` at the top; names that are no words go in brackets.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
