//! OpenAPI documents: version 3 for each API version (`kubectl explain`, `apply`), version 2 as one JSON document.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::builtin;
use crate::catalog::Catalog;
use crate::resource::Resource;

/// Parameters of writes that kubectl looks for before it trusts a server with validation and dry runs.
const WRITE_PARAMETERS: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];

/// `/openapi/v3`.
pub(crate) fn index(catalog: &Catalog, revision: u64) -> Value {
    let mut paths = Map::new();
    for (group, versions) in catalog.groups() {
        for version in versions {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            // clients keep documents by their hash: it changes whenever a definition may have
            let url = format!("/openapi/v3/{path}?hash={revision}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// `/openapi/v3/apis/GROUP/VERSION`.
pub(crate) fn document(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let resources: Vec<&Resource> = catalog
        .resources()
        .iter()
        .map(AsRef::as_ref)
        .filter(|r| r.group == group && r.version == version)
        .collect();
    if resources.is_empty() {
        return None;
    }
    let (schemas, paths) = parts(catalog, &resources, "#/components/schemas/");
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": crate::version::GIT},
        "paths": paths, "components": {"schemas": schemas},
    }))
}

/// `/openapi/v2`.
pub(crate) fn swagger(catalog: &Catalog) -> Value {
    let resources: Vec<&Resource> = catalog.resources().iter().map(AsRef::as_ref).collect();
    let (definitions, paths) = parts(catalog, &resources, "#/definitions/");
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": crate::version::GIT},
           "paths": paths, "definitions": definitions})
}

fn parts(catalog: &Catalog, resources: &[&Resource], prefix: &str) -> (Value, Value) {
    let known = builtin::schema_names();
    let mut schemas = Map::new();
    let mut wanted = BTreeSet::new();
    let mut paths = Map::new();
    for resource in resources {
        let id = format!("{}/{}/{}", resource.group, resource.version, resource.kind);
        let (name, mut schema) = match known.get(&id) {
            Some(name) => {
                let own = catalog.definitions().get(*name).cloned().unwrap_or_default();
                ((*name).to_owned(), own)
            }
            None => (custom_name(resource), resource.schema.root().plain().clone()),
        };
        references(&schema, &mut wanted);
        schema["x-kubernetes-group-version-kind"] = json!([kind(resource)]);
        schemas.insert(name.clone(), rewritten(&schema, prefix));
        add_paths(&mut paths, resource, &format!("{prefix}{name}"));
    }
    // everything that they refer to, and what that refers to
    while let Some(name) = wanted.pop_first() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(schema) = catalog.definitions().get(&name) else { continue };
        references(schema, &mut wanted);
        schemas.insert(name, rewritten(schema, prefix));
    }
    (schemas.into(), paths.into())
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

/// The name of a custom resource's schema: the group backwards, version, kind.
fn custom_name(resource: &Resource) -> String {
    let mut parts: Vec<&str> = resource.group.split('.').rev().collect();
    parts.extend([resource.version.as_str(), resource.kind.as_str()]);
    parts.join(".")
}

fn references(schema: &Value, out: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$ref" => {
                        out.insert(text.rsplit('/').next().unwrap_or(text).to_owned());
                    }
                    _ => references(value, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, out)),
        _ => {}
    }
}

/// A schema whose references point where this document has them. What stands beside a reference goes around it:
/// OpenAPI 3.0 knows nothing beside one.
fn rewritten(schema: &Value, prefix: &str) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut out: Map<String, Value> = fields
                .iter()
                .filter(|(name, _)| *name != "$ref" && *name != "x-devapi-own")
                .map(|(name, value)| (name.clone(), rewritten(value, prefix)))
                .collect();
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let name = reference.rsplit('/').next().unwrap_or(reference);
                let reference = json!({"$ref": format!("{prefix}{name}")});
                out.remove("type");
                if out.is_empty() {
                    return reference;
                }
                out.insert("allOf".to_owned(), json!([reference]));
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(|item| rewritten(item, prefix)).collect(),
        other => other.clone(),
    }
}

fn add_paths(paths: &mut Map<String, Value>, resource: &Resource, schema: &str) {
    let base = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let collection = if resource.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{base}/{}", resource.plural)
    };
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|p| {
                json!({"name": p, "in": "query", "schema": {"type": "string", "uniqueItems": true},
                       "description": format!("{p} of the request")})
            })
            .collect();
        json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind(resource),
            "parameters": parameters,
            "responses": {"200": {"description": "OK",
                "content": {"application/json": {"schema": {"$ref": schema}}}}},
        })
    };
    let write = |action: &str| operation(action, WRITE_PARAMETERS);
    let mut patch = write("patch");
    let mut forms = vec![
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    if !resource.custom {
        forms.push("application/strategic-merge-patch+json");
    }
    let content: Map<String, Value> =
        forms.into_iter().map(|form| (form.to_owned(), json!({"schema": {}}))).collect();
    patch["requestBody"] = json!({"content": content});
    let lists = ["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch"];
    paths.insert(
        collection.clone(),
        json!({"get": operation("list", &lists), "post": write("post"),
               "delete": operation("deletecollection", &lists)}),
    );
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({"get": operation("get", &[]), "put": write("put"), "patch": patch.clone(),
               "delete": operation("delete", &["dryRun", "propagationPolicy"])}),
    );
    if resource.status {
        paths.insert(
            format!("{collection}/{{name}}/status"),
            json!({"get": operation("get", &[]), "put": write("put"), "patch": patch}),
        );
    }
}
