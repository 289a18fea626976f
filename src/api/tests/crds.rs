//! The outside of the definitions: `crds/` is what the types say, everything has a limit, nothing smuggles a command.

use std::{fs, path::Path};

use serde_json::Value;

/// `PALISADE_WRITE_CRDS=1 cargo test -p api` writes the files in place of comparing them.
#[test]
fn the_checked_in_definitions_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let write = std::env::var_os("PALISADE_WRITE_CRDS").is_some();
    let mut files = Vec::new();
    for crd in api::crds() {
        let file = format!("{}.yaml", crd.metadata.name.as_deref().expect("named"));
        let text = serde_yaml::to_string(&crd).expect("plain data");
        if write {
            fs::write(folder.join(&file), &text).expect("crds/ can be written");
        }
        let found = fs::read_to_string(folder.join(&file)).unwrap_or_default();
        assert!(found == text, "crds/{file} is old: run PALISADE_WRITE_CRDS=1 cargo test -p api");
        files.push(file);
    }
    for entry in fs::read_dir(folder).expect("crds/ is there") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        assert!(files.contains(&name), "crds/{name} belongs to no kind");
    }
}

#[test]
fn every_list_map_and_string_has_a_limit() {
    let mut open = Vec::new();
    each_schema(|path, schema| {
        let has = |key: &str| schema.get(key).is_some();
        let timestamp = schema["format"] == "date-time";
        match schema["type"].as_str() {
            Some("string") if !has("maxLength") && !has("enum") && !timestamp => open.push(path),
            Some("array") if !has("maxItems") => open.push(path),
            Some("object") if has("additionalProperties") && !has("maxProperties") => {
                open.push(path);
            }
            _ => {}
        }
    });
    assert!(open.is_empty(), "no limit on:\n{}", open.join("\n"));
}

#[test]
fn every_field_is_explained_and_typed() {
    let mut bare = Vec::new();
    each_schema(|path, schema| {
        if schema.get("type").is_none() {
            bare.push(format!("{path}: no type"));
        }
        let own = !path.contains(".conditions[]") && !path.ends_with(']');
        if own && path.contains('.') && schema.get("description").is_none() {
            bare.push(format!("{path}: no description"));
        }
        for key in ["nullable", "oneOf", "anyOf", "$ref"] {
            if schema.get(key).is_some() {
                bare.push(format!("{path}: has {key}"));
            }
        }
    });
    assert!(bare.is_empty(), "{}", bare.join("\n"));
}

/// SAFETY.md 4.2: who may create our objects does not get root.
#[test]
fn no_object_carries_a_command_a_path_an_image_or_an_environment() {
    each_schema(|path, schema| {
        let last = path.rsplit('.').next().unwrap_or_default().to_lowercase();
        for word in ["command", "args", "script", "image", "env", "path", "exec", "password"] {
            let said_by_us = path.contains(".status");
            assert!(
                said_by_us || !last.contains(word),
                "{path} smells of a way to run code or leak a secret"
            );
        }
        let free = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
        assert!(!free, "{path} takes anything");
    });
}

#[test]
fn every_rule_has_a_message_of_its_own() {
    each_schema(|path, schema| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let says = rule.get("message").or_else(|| rule.get("messageExpression"));
            assert!(says.is_some(), "{path}: {rule} would show CEL source to people");
        }
    });
}

#[test]
fn every_kind_is_found_by_category_short_name_and_cluster() {
    let mut short = Vec::new();
    for crd in api::crds() {
        let names = &crd.spec.names;
        assert_eq!(names.categories.as_deref(), Some(&["palisade".to_owned()][..]));
        short.extend(names.short_names.clone().expect("a short name"));
        assert_eq!(crd.spec.scope, "Namespaced");
        let version = &crd.spec.versions[0];
        assert!(version.additional_printer_columns.is_some(), "{}", names.kind);
        assert!(version.subresources.as_ref().is_some_and(|s| s.status.is_some()));
        if names.kind != "HACluster" {
            let fields = version.selectable_fields.as_ref().expect("selectable fields");
            assert!(fields.iter().any(|f| f.json_path == ".spec.clusterRef.name"));
        }
    }
    assert_eq!(short, ["fd", "fc", "fo", "fr", "hac", "han", "lb", "plc", "rp", "vip"]);
}

fn each_schema(mut visit: impl FnMut(String, &Value)) {
    for crd in api::crds() {
        let kind = crd.spec.names.kind.clone();
        let schema = crd.spec.versions[0].schema.as_ref().expect("a schema");
        let root = serde_json::to_value(&schema.open_api_v3_schema).expect("plain data");
        for part in ["spec", "status"] {
            walk(&format!("{kind}.{part}"), &root["properties"][part], &mut visit);
        }
    }
}

fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(String, &Value)) {
    visit(path.to_owned(), schema);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), inner, visit);
    }
    if let Some(inner) = schema.get("items") {
        walk(&format!("{path}[]"), inner, visit);
    }
    if let Some(inner) = schema.get("additionalProperties") {
        walk(&format!("{path}{{}}"), inner, visit);
    }
}
