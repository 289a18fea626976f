//! What requests do, as pure functions: the world as it is and a request in, a plan of changes or a refusal out.

pub(crate) mod admit;
pub(crate) mod collect;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod patch;
pub(crate) mod update;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apply::Writer;
use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::meta::{self, Key};
use crate::resource::Resource;
use crate::storage::Change;
use crate::storage::state::State;
use crate::user::User;

/// Everything that a plan may look at.
pub(crate) struct World<'a> {
    pub(crate) state: &'a State,
    pub(crate) catalog: &'a Catalog,
    pub(crate) now: Timestamp,
    /// Fresh names and uids.
    pub(crate) fresh: &'a dyn Fn() -> uuid::Uuid,
}

impl World<'_> {
    /// Now, as Kubernetes writes it: whole seconds.
    pub(crate) fn time(&self) -> String {
        self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// Which part of an object a request writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
}

/// What to do with fields that the schema does not know and keys that stand twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// What a request is about, and how it wants it done.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) resource: Arc<Resource>,
    pub(crate) key: Key,
    pub(crate) part: Part,
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) validation: FieldValidation,
    pub(crate) force: bool,
    /// Who asks, for admission policies.
    pub(crate) user: User,
}

impl Request {
    fn live<'a>(&self, world: &World<'a>) -> Option<&'a Arc<Value>> {
        world.state.get(&self.resource.table(), &self.key)
    }

    /// The object as this kind's version shows it, or 404.
    fn found(&self, world: &World<'_>) -> Result<Value, Failure> {
        let stored =
            self.live(world).ok_or_else(|| Failure::not_found(&self.resource, &self.key.name))?;
        Ok(self.resource.show(stored))
    }

    fn writer<'a>(&'a self, api_version: &'a str, time: &'a str) -> Writer<'a> {
        let ignored: &[&[&str]] = match self.part {
            Part::Status => &[&["spec"], &["metadata"]],
            // its finalizers are the server's own
            Part::Main if self.resource.is("", "namespaces") => &[&["spec"], &["status"]],
            Part::Main if self.resource.status => &[&["status"]],
            Part::Main => &[],
        };
        let subresource = if self.part == Part::Status { "status" } else { "" };
        let nothing = crate::builtin::nothing(&self.resource);
        Writer { name: &self.manager, api_version, subresource, time, ignored, nothing }
    }

    /// The change that stores `shown` (as this version shows it).
    fn store(&self, shown: Value) -> Change {
        let mut object = crate::events::to_storage(&self.resource, shown);
        if self.resource.custom {
            let version = &self.resource.storage_version;
            object["apiVersion"] = format!("{}/{version}", self.resource.group).into();
        }
        let key = meta::key(&object);
        Change { table: self.resource.table(), key, new: Some(object) }
    }
}

/// What a request comes to.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    pub(crate) answer: Answer,
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
}

/// What the client gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The first change's object, with the version that it gets.
    Written,
    /// This object.
    Object(Value),
    /// This, whatever it is: a Status, a list.
    Plain(Value),
}

impl Plan {
    fn shown(object: Value) -> Self {
        Self {
            changes: Vec::new(),
            answer: Answer::Object(object),
            code: 200,
            warnings: Vec::new(),
        }
    }

    fn written(code: u16, change: Change, warnings: Vec<String>) -> Self {
        Self { changes: vec![change], answer: Answer::Written, code, warnings }
    }
}

/// The Status of a finished deletion.
fn success(resource: &Resource, object: &Value) -> Value {
    let mut details = json!({"name": meta::name(object), "kind": resource.plural, "uid": meta::text(object, "uid")});
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
