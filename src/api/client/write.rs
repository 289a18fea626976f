//! Writes by server-side apply, each by one field manager; and the question whether one is needed at all.

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Why a write was not done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API is away or too slow. Try again later.
    #[error("the API cannot be reached: {0}")]
    Away(Box<kube::Error>),
    /// The API says no: a rule, a right, a newer version. Trying the same again is no use.
    #[error("the API refuses {code}: {message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// What it says, without bodies.
        message: String,
    },
}

impl WriteError {
    /// Sorts an error of the client.
    pub fn from_kube(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code < 500 && status.code != 429 => {
                Self::Refused { code: status.code, message: status.message.clone() }
            }
            other => Self::Away(Box::new(other)),
        }
    }

    /// The object is not there (any more).
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }
}

/// Applies a whole object as `manager`: what it owned and does not name any more goes away.
pub async fn apply<K>(
    client: &Client,
    namespace: &str,
    manager: &str,
    body: &impl Serialize,
) -> Result<K, WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let value = serde_json::to_value(body).unwrap_or_default();
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let api = Api::<K>::namespaced(client.clone(), namespace);
    api.patch(&name, &params(manager), &Patch::Apply(value)).await.map_err(WriteError::from_kube)
}

/// Applies the part of a status that `manager` owns.
pub async fn apply_status<K>(
    client: &Client,
    namespace: &str,
    manager: &str,
    name: &str,
    status: &Value,
) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let body = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "status": status,
    });
    let api = Api::<K>::namespaced(client.clone(), namespace);
    api.patch_status(name, &params(manager), &Patch::Apply(body))
        .await
        .map(drop)
        .map_err(WriteError::from_kube)
}

/// Deletes exactly this version of this object (SAFETY.md#S19).
pub async fn delete_exactly<K>(
    client: &Client,
    namespace: &str,
    object: &K,
) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let meta = object.meta();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
        }),
        ..DeleteParams::default()
    };
    let name = meta.name.clone().unwrap_or_default();
    let api = Api::<K>::namespaced(client.clone(), namespace);
    api.delete(&name, &params).await.map(drop).map_err(WriteError::from_kube)
}

fn params(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

/// Whether `current` says everything that `wanted` says: each field of a map, each condition by its type; other lists
/// and values are equal. What others wrote beside it does not count, so a settled object is not written.
pub fn current_status_has(current: &Value, wanted: &Value) -> bool {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => wanted.iter().all(|(name, value)| {
            current.get(name).is_some_and(|found| current_status_has(found, value))
        }),
        (Value::Array(current), Value::Array(wanted)) if wanted.iter().all(is_condition) => {
            wanted.iter().all(|value| {
                current.iter().any(|c| c["type"] == value["type"] && current_status_has(c, value))
            })
        }
        (current, wanted) => current == wanted,
    }
}

/// The part of a status that one writer owns.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its field manager.
    pub manager: &'static str,
    /// Fields of the status.
    pub fields: &'static [&'static str],
    /// Types of conditions.
    pub conditions: &'static [&'static str],
}

impl Section {
    /// Whether `wanted` has to be written over `current`: something is missing or different there, or something of
    /// this section stands there that is not wanted any more.
    pub fn differs(&self, current: &Value, wanted: &Value) -> bool {
        if !current_status_has(current, wanted) {
            return true;
        }
        let typed = |status: &Value, kind: &str| {
            let list = status["conditions"].as_array();
            list.is_some_and(|l| l.iter().any(|c| c["type"] == kind))
        };
        self.fields.iter().any(|f| current.get(f).is_some() && wanted.get(f).is_none())
            || self.conditions.iter().any(|c| typed(current, c) && !typed(wanted, c))
    }
}

fn is_condition(value: &Value) -> bool {
    value.get("type").is_some() && value.get("lastTransitionTime").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stands_there_already_is_not_written() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let current = json!({
            "observedGeneration": 3, "era": "1.2a", "nodes": ["a", "b"],
            "conditions": [condition("Ready", "True"), condition("Accepted", "True")],
        });
        let has = |wanted: Value| current_status_has(&current, &wanted);
        assert!(has(
            json!({"observedGeneration": 3, "conditions": [condition("Accepted", "True")]})
        ));
        assert!(!has(json!({"conditions": [condition("Accepted", "False")]})));
        assert!(!has(json!({"conditions": [condition("Stalled", "True")]})));
        assert!(!has(json!({"nodes": ["a"]})), "lists that are no conditions are equal or not");
        assert!(!has(json!({"coordinator": "n1"})));
        let section = Section { manager: "m", fields: &["era"], conditions: &["Ready"] };
        let less = json!({"era": "1.2a", "conditions": [condition("Ready", "True")]});
        assert!(!section.differs(&current, &less), "the rest is somebody else's");
        assert!(section.differs(&current, &json!({"conditions": [condition("Ready", "True")]})));
        assert!(section.differs(&current, &json!({"era": "1.2a"})), "Ready is not wanted any more");
    }
}
