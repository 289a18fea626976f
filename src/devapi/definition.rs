//! CustomResourceDefinitions: checked, completed, and turned into served kinds.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::builtin::OBJECT_META;
use crate::cost;
use crate::failure::{Fault, FieldError};
use crate::resource::Resource;
use crate::rules::Rules;
use crate::schema::{Schema, structural};
use crate::table::Columns;

/// Holds a definition back until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What Kubernetes says of the fields that every object has.
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers \
    should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer \
    this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn words(value: &Value, pointer: &str) -> Vec<String> {
    list(value, pointer).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Fills in what Kubernetes fills in.
pub(crate) fn complete(definition: &mut Value) {
    let kind = text(definition, "/spec/names/kind").to_owned();
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
    }
    spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
}

/// Everything that is wrong with a definition.
pub(crate) fn faults(definition: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(definition, "/metadata/name");
    let wanted =
        format!("{}.{}", text(definition, "/spec/names/plural"), text(definition, "/spec/group"));
    if name != wanted {
        errors.push(
            FieldError::new(Fault::Invalid, "metadata.name", format!("{name:?}"))
                .because(r#"must be spec.names.plural+"."+spec.group"#),
        );
    }
    if !text(definition, "/spec/group").contains('.') {
        errors.push(
            FieldError::new(
                Fault::Invalid,
                "spec.group",
                format!("{:?}", text(definition, "/spec/group")),
            )
            .because("should be a domain with at least one dot"),
        );
    }
    if text(definition, "/spec/conversion/strategy") == "Webhook" {
        errors.push(
            FieldError::new(Fault::NotSupported, "spec.conversion.strategy", "\"Webhook\"")
                .because("devapi calls no webhooks; use None"),
        );
    }
    if !["Namespaced", "Cluster"].contains(&text(definition, "/spec/scope")) {
        errors.push(
            FieldError::new(
                Fault::NotSupported,
                "spec.scope",
                format!("{:?}", text(definition, "/spec/scope")),
            )
            .because(r#"supported values: "Cluster", "Namespaced""#),
        );
    }
    let stored = list(definition, "/spec/versions").filter(|v| v["storage"] == true).count();
    if stored != 1 {
        errors.push(
            FieldError::new(Fault::Invalid, "spec.versions", "versions")
                .because("must have exactly one version marked as storage version"),
        );
    }
    for (i, version) in list(definition, "/spec/versions").enumerate() {
        let path = if list(definition, "/spec/versions").count() == 1 {
            "spec.validation.openAPIV3Schema".to_owned()
        } else {
            format!("spec.versions[{i}].schema.openAPIV3Schema")
        };
        match version.pointer("/schema/openAPIV3Schema") {
            None => errors
                .push(FieldError::new(Fault::Required, path, "").because("schemas are required")),
            Some(schema) => {
                errors.extend(structural::faults(schema, &path));
                errors.extend(Rules::compile(schema, &path).err().into_iter().flatten());
                errors.extend(cost::faults(schema, &path));
            }
        }
    }
    errors
}

/// The status of a definition that is served. Keeps what stood there.
pub(crate) fn establish(definition: &mut Value, now: &str) {
    let names = definition.pointer("/spec/names").cloned().unwrap_or(Value::Null);
    let storage = list(definition, "/spec/versions")
        .find(|v| v["storage"] == true)
        .and_then(|v| v["name"].as_str())
        .unwrap_or_default()
        .to_owned();
    let mut stored = words(definition, "/status/storedVersions");
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    let since = |kind: &str| {
        list(definition, "/status/conditions")
            .find(|c| c["type"] == kind && c["status"] == "True")
            .and_then(|c| c["lastTransitionTime"].as_str())
            .unwrap_or(now)
            .to_owned()
    };
    let mut conditions = vec![
        json!({"type": "NamesAccepted", "status": "True", "reason": "NoConflicts",
               "message": "no conflicts found", "lastTransitionTime": since("NamesAccepted")}),
        json!({"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
               "message": "the initial names have been accepted", "lastTransitionTime": since("Established")}),
    ];
    conditions.extend(
        list(definition, "/status/conditions").filter(|c| c["type"] == "Terminating").cloned(),
    );
    definition["status"] =
        json!({"acceptedNames": names, "conditions": conditions, "storedVersions": stored});
}

/// The served kinds of a definition. A definition that is stored was checked; what cannot be served all the same is
/// left out.
pub(crate) fn resources(
    definition: &Value,
    definitions: &Arc<Map<String, Value>>,
) -> Vec<Resource> {
    let storage = list(definition, "/spec/versions").find(|v| v["storage"] == true);
    let storage_version = storage.and_then(|v| v["name"].as_str()).unwrap_or_default();
    list(definition, "/spec/versions")
        .filter(|v| v["served"] == true)
        .filter_map(|version| {
            let schema = version.pointer("/schema/openAPIV3Schema")?;
            let name = version["name"].as_str()?;
            let rules = Rules::compile(schema, "").ok()?;
            Some(Resource {
                group: text(definition, "/spec/group").into(),
                version: name.into(),
                kind: text(definition, "/spec/names/kind").into(),
                list_kind: text(definition, "/spec/names/listKind").into(),
                plural: text(definition, "/spec/names/plural").into(),
                singular: text(definition, "/spec/names/singular").into(),
                short_names: words(definition, "/spec/names/shortNames"),
                categories: words(definition, "/spec/names/categories"),
                namespaced: text(definition, "/spec/scope") == "Namespaced",
                status: version.pointer("/subresources/status").is_some(),
                scale: version.pointer("/subresources/scale").is_some(),
                unconditional_update: false,
                generation: true,
                custom: true,
                storage_version: storage_version.into(),
                note: None,
                selectable: list(version, "/selectableFields")
                    .filter_map(|f| f["jsonPath"].as_str())
                    .map(|path| (path.trim_start_matches('.').to_owned(), path.to_owned()))
                    .collect(),
                columns: Columns::of(version),
                schema: Schema::new(whole(schema), Arc::clone(definitions)),
                rules: Some(Arc::new(rules)),
            })
        })
        .collect()
}

/// The schema with the fields that every object has.
fn whole(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let name = schema.pointer("/properties/metadata").cloned();
    if let Some(fields) = schema.as_object_mut() {
        let properties = fields.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = json!({"type": "string", "description": API_VERSION});
        properties["kind"] = json!({"type": "string", "description": KIND});
        properties["metadata"] = json!({"$ref": format!("#/$defs/{OBJECT_META}"), "type": "object",
            "description": METADATA});
        // what the definition itself asks of the name is checked beside the shape of all metadata
        if let Some(own) = name {
            properties["metadata"]["x-devapi-own"] = own;
        }
    }
    schema
}
