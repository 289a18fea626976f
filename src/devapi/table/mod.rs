//! Objects as tables, the form that `kubectl get` prints.

mod cells;
mod paths;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::Resource;
pub(crate) use paths::find;

/// What the columns of a kind are.
#[derive(Clone, Debug)]
pub(crate) enum Columns {
    /// Those of its definition; without any, name and age.
    Of(Vec<Column>),
    /// Known to this program.
    BuiltIn,
}

/// One printer column of a definition.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    path: String,
}

impl Columns {
    /// The columns of one version of a definition.
    pub(crate) fn of(version: &Value) -> Self {
        let list = version.get("additionalPrinterColumns").and_then(Value::as_array);
        let text = |c: &Value, k: &str| c[k].as_str().unwrap_or_default().to_owned();
        Self::Of(
            list.into_iter()
                .flatten()
                .map(|c| Column {
                    name: text(c, "name"),
                    kind: text(c, "type"),
                    format: text(c, "format"),
                    description: text(c, "description"),
                    priority: c["priority"].as_i64().unwrap_or(0),
                    path: text(c, "jsonPath"),
                })
                .collect(),
        )
    }
}

/// Which part of each object goes into its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Metadata,
    None,
    Object,
}

/// A table of `objects`.
pub(crate) fn table(
    resource: &Resource,
    objects: &[Value],
    list_metadata: Value,
    include: Include,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = json!({"cells": row(resource, object, now)});
            match include {
                Include::None => {}
                Include::Object => row["object"] = object.clone(),
                Include::Metadata => row["object"] = partial(object),
            }
            row
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_metadata,
        "columnDefinitions": definitions(resource), "rows": rows,
    })
}

/// The metadata of an object as an object of its own.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// The head of the table.
pub(crate) fn definitions(resource: &Resource) -> Value {
    let definition = |name: &str, kind: &str, format: &str, description: &str, priority: i64| json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority});
    let name = definition("Name", "string", "name", "Name must be unique within a namespace.", 0);
    let age = definition("Age", "date", "", "When the object was made.", 0);
    // an Event's name says nothing: it stands at the end of the wide table
    let mut head = if named(resource) { vec![name] } else { Vec::new() };
    match &resource.columns {
        Columns::Of(columns) if columns.is_empty() => head.push(age),
        Columns::Of(columns) => head.extend(
            columns
                .iter()
                .map(|c| definition(&c.name, &c.kind, &c.format, &c.description, c.priority)),
        ),
        Columns::BuiltIn => head.extend(cells::heads(resource).iter().map(|head| {
            let (name, wide) = head.strip_suffix('+').map_or((*head, 0), |n| (n, 1));
            definition(name, "string", "", "", wide)
        })),
    }
    Value::Array(head)
}

fn named(resource: &Resource) -> bool {
    resource.custom || resource.kind != "Event"
}

fn row(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = || object["metadata"]["name"].clone();
    let mut row = if named(resource) { vec![name()] } else { Vec::new() };
    match &resource.columns {
        Columns::Of(columns) if columns.is_empty() => row.push(cells::age(object, now)),
        Columns::Of(columns) => row.extend(columns.iter().map(|c| cell(c, object, now))),
        Columns::BuiltIn => row.extend(cells::cells(resource, object, now)),
    }
    row
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let found = find(&column.path, object);
    let Some(first) = found.first() else { return Value::Null };
    match column.kind.as_str() {
        // of several only the first, as Kubernetes
        "string" => paths::printed(first).into(),
        "integer" => first
            .as_i64()
            .map_or_else(|| first.as_f64().map_or(Value::Null, |f| json!(f.trunc())), Value::from),
        "number" => first.as_f64().map_or(Value::Null, Value::from),
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        "date" => cells::ago(first.as_str(), now),
        _ => Value::Null,
    }
}
