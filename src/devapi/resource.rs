//! One kind that is served, with everything that the verbs need to know of it.

use std::sync::Arc;

use serde_json::Value;

use crate::rules::Rules;
use crate::schema::Schema;
use crate::table::Columns;

/// A served kind in one version.
#[derive(Clone, Debug)]
pub struct Resource {
    /// API group, empty for the core.
    pub group: String,
    /// Version, for example `v1`.
    pub version: String,
    /// Kind, for example `ConfigMap`.
    pub kind: String,
    /// Kind of lists of it.
    pub list_kind: String,
    /// The name in paths, for example `configmaps`.
    pub plural: String,
    /// What kubectl also takes.
    pub singular: String,
    /// Short names, for example `cm`.
    pub short_names: Vec<String>,
    /// Categories, for example `all`.
    pub categories: Vec<String>,
    /// Whether objects lie in namespaces.
    pub namespaced: bool,
    /// Whether status is written by its own path only.
    pub status: bool,
    /// Whether Kubernetes serves a scale subresource here; devapi answers 501.
    pub scale: bool,
    /// Whether a PUT without a resource version overwrites.
    pub unconditional_update: bool,
    /// Whether `metadata.generation` counts changes of the intent.
    pub generation: bool,
    /// Comes from a CustomResourceDefinition.
    pub custom: bool,
    /// Which version of a custom resource is stored.
    pub storage_version: String,
    /// What a writer is told: the kind is kept, but nothing acts on it.
    pub note: Option<&'static str>,
    /// Fields besides name and namespace that field selectors may use, with their paths.
    pub selectable: Vec<(String, String)>,
    pub(crate) columns: Columns,
    pub(crate) schema: Schema,
    pub(crate) rules: Option<Arc<Rules>>,
}

impl Resource {
    /// `GROUP/VERSION`, or the version alone in the core.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The plural with its group, as messages name it.
    #[must_use]
    pub fn qualified_plural(&self) -> String {
        qualified(&self.plural, &self.group)
    }

    /// The kind with its group, as messages name it.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        qualified(&self.kind, &self.group)
    }

    /// Where its objects lie. The two Event kinds share one table, as they do in Kubernetes.
    #[must_use]
    pub fn table(&self) -> String {
        if self.kind == "Event" && self.group == "events.k8s.io" {
            return "events".to_owned();
        }
        self.qualified_plural()
    }

    /// Whether a PUT of nothing makes it, as Kubernetes has it for a few kinds.
    pub(crate) fn made_by_update(&self) -> bool {
        let kinds = ["Event", "Lease", "Service"];
        !self.custom
            && (kinds.contains(&self.kind.as_str()) || self.group == "rbac.authorization.k8s.io")
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// A stored object as this version shows it.
    pub(crate) fn show(&self, stored: &Value) -> Value {
        let mut object = crate::events::from_storage(self, stored);
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), self.api_version().into());
            fields.insert("kind".to_owned(), self.kind.clone().into());
        }
        object
    }
}

fn qualified(word: &str, group: &str) -> String {
    if group.is_empty() { word.to_owned() } else { format!("{word}.{group}") }
}
