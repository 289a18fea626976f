//! The kinds that are served without a definition.

pub(crate) mod complete;
pub(crate) mod protobuf;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::{DaemonSet, Deployment},
    coordination::v1::Lease,
    core::v1 as core,
    events::v1 as events,
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    scheduling::v1::PriorityClass,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::resource::Resource;
use crate::schema::Schema;
use crate::table::Columns;

pub(crate) const DEFINITIONS_GROUP: &str = "apiextensions.k8s.io";
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// What merges how: the part that the schemas leave out.
const TOPOLOGY: &str = include_str!("topology.txt");

/// The schemas of the built-in kinds by their names, with everything that they refer to.
pub(crate) fn definitions() -> Arc<Map<String, Value>> {
    static DEFINITIONS: OnceLock<Arc<Map<String, Value>>> = OnceLock::new();
    Arc::clone(DEFINITIONS.get_or_init(|| {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        macro_rules! kinds {
            ($($kind:ty),* $(,)?) => { $( let _ = generator.subschema_for::<$kind>(); )* };
        }
        kinds!(
            core::Namespace,
            core::Secret,
            core::ConfigMap,
            core::Event,
            core::Node,
            core::Service,
            core::ServiceAccount,
            events::Event,
            Lease,
            Deployment,
            DaemonSet,
            Role,
            RoleBinding,
            ClusterRole,
            ClusterRoleBinding,
            NetworkPolicy,
            PodDisruptionBudget,
            PriorityClass,
            ValidatingAdmissionPolicy,
            ValidatingAdmissionPolicyBinding,
            CustomResourceDefinition,
        );
        let mut definitions = generator.take_definitions(true);
        for (name, definition) in &mut definitions {
            // Rust's types always have it, Kubernetes' schemas do not ask for it
            if let Some(required) = definition.get_mut("required").and_then(Value::as_array_mut) {
                required.retain(|field| field != "metadata");
            }
            // any JSON, which the types call an object
            if let (true, Some(fields)) = (name.ends_with(".v1.JSON"), definition.as_object_mut()) {
                fields.remove("type");
                fields.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
            }
        }
        add_topology(&mut definitions);
        Arc::new(definitions)
    }))
}

fn add_topology(definitions: &mut Map<String, Value>) {
    for line in TOPOLOGY.lines().filter(|l| !l.starts_with('#')) {
        let mut words = line.split(' ');
        let (Some(definition), Some(field)) = (words.next(), words.next()) else { continue };
        // newer than the types: skipped
        let Some(definition) = definitions.get_mut(definition) else { continue };
        let target = if field == "-" {
            Some(definition)
        } else {
            definition.get_mut("properties").and_then(|p| p.get_mut(field))
        };
        let Some(target) = target.and_then(Value::as_object_mut) else { continue };
        for word in words {
            let Some((what, value)) = word.split_once('=') else { continue };
            match what {
                "list" => {
                    let (kind, keys) = value.split_once(':').unwrap_or((value, ""));
                    target.insert("x-kubernetes-list-type".into(), kind.into());
                    if !keys.is_empty() {
                        let keys: Vec<&str> = keys.split(',').collect();
                        target.insert("x-kubernetes-list-map-keys".into(), json!(keys));
                    }
                }
                "map" => {
                    target.insert("x-kubernetes-map-type".into(), value.into());
                }
                "key" => {
                    target.insert("x-kubernetes-patch-merge-key".into(), value.into());
                }
                "patch" => {
                    target.insert("x-kubernetes-patch-strategy".into(), value.into());
                }
                _ => {}
            }
        }
    }
    // ports are told apart by their protocol also where nobody wrote it
    for (definition, field) in [
        ("io.k8s.api.core.v1.ContainerPort", "protocol"),
        ("io.k8s.api.core.v1.ServicePort", "protocol"),
    ] {
        if let Some(field) = definitions
            .get_mut(definition)
            .and_then(|d| d.get_mut("properties"))
            .and_then(|p| p.get_mut(field))
            .and_then(Value::as_object_mut)
        {
            field.insert("default".into(), "TCP".into());
        }
    }
}

/// A new object of a kind before anything is said: the parts that Go's types always have.
pub(crate) fn nothing(resource: &Resource) -> &'static Value {
    static PLAIN: LazyLock<Value> = LazyLock::new(|| json!({"metadata": {}}));
    static PARTS: LazyLock<Value> =
        LazyLock::new(|| json!({"metadata": {}, "spec": {}, "status": {}}));
    static PODS: LazyLock<Value> = LazyLock::new(|| {
        let template = json!({"metadata": {}, "spec": {"containers": null}});
        json!({"metadata": {}, "status": {},
               "spec": {"strategy": {}, "updateStrategy": {}, "template": template}})
    });
    if resource.custom || resource.schema.root().property("spec").is_none() {
        &PLAIN
    } else if resource.group == "apps" {
        &PODS
    } else {
        &PARTS
    }
}

/// The built-in kinds.
pub(crate) fn resources() -> Vec<Resource> {
    let definitions = definitions();
    table::ROWS.iter().map(|row| row.resource(&definitions)).collect()
}

/// A definition by the group-version-kind that a path names.
pub(crate) fn schema_names() -> BTreeMap<String, &'static str> {
    table::ROWS
        .iter()
        .map(|r| (format!("{}/{}/{}", r.group, r.version, r.kind), r.definition))
        .collect()
}

struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    status: bool,
    scale: bool,
    unconditional_update: bool,
    generation: bool,
    note: Option<&'static str>,
    selectable: &'static [(&'static str, &'static str)],
    definition: &'static str,
}

impl Row {
    fn resource(&self, definitions: &Arc<Map<String, Value>>) -> Resource {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let root = json!({"$ref": format!("#/$defs/{}", self.definition), "type": "object"});
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.into(),
            singular: self.kind.to_lowercase(),
            short_names: owned(self.short),
            categories: owned(self.categories),
            namespaced: self.namespaced,
            status: self.status,
            scale: self.scale,
            unconditional_update: self.unconditional_update,
            generation: self.generation,
            custom: false,
            storage_version: self.version.into(),
            note: self.note,
            selectable: self.selectable.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
            columns: Columns::BuiltIn,
            schema: Schema::new(root, Arc::clone(definitions)),
            rules: None,
        }
    }
}
