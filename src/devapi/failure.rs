//! What a request gets that cannot be answered: a `Status` in Kubernetes' own words, so that clients recognise it.

use serde_json::{Value, json};

use crate::resource::Resource;

/// A refused or failed request. None of these has changed anything, but where the message says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// The machine's word, for example `NotFound`.
    pub reason: &'static str,
    /// What a person reads.
    pub message: String,
    /// Kind, name and causes.
    pub details: Option<Value>,
}

impl Failure {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// Malformed beyond what field errors can say.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// Our own fault, or the disk's.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// A part of Kubernetes that this server does not have. Never a silent success.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(501, "NotImplemented", format!("devapi does not do this: {what}"))
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified_plural());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    /// A path that nothing serves.
    pub(crate) fn no_such_path() -> Self {
        Self {
            details: Some(json!({})),
            ..Self::new(404, "NotFound", "the server could not find the requested resource")
        }
    }

    pub(crate) fn is_no_such_path(&self) -> bool {
        *self == Self::no_such_path()
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified_plural());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let plural = resource.qualified_plural();
        let message = format!("Operation cannot be fulfilled on {plural} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// The object was changed since the caller read it.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(resource, name, why)
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified_plural());
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self {
            details: Some(json!({})),
            ..Self::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            )
        }
    }

    /// The window of kept changes has moved on: list again.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// A limit of this server is reached.
    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        let mut failure = Self::new(429, "TooManyRequests", message);
        failure.details = Some(json!({"retryAfterSeconds": 1}));
        failure
    }

    /// Every field error of one object.
    pub(crate) fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let kind = resource.qualified_kind();
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(FieldError::text) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            _ => format!("[{}]", texts.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.fault.reason(), "message": e.body(), "field": e.field}))
            .collect();
        let mut details = json!({"kind": resource.kind, "causes": causes});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !resource.group.is_empty() {
            details["group"] = resource.group.clone().into();
        }
        let message = format!("{kind} {name:?} is invalid: {list}");
        Self { details: Some(details), ..Self::new(422, "Invalid", message) }
    }

    /// An update that must name the version which it replaces.
    pub(crate) fn without_version(resource: &Resource, name: &str) -> Self {
        let error = FieldError::new(Fault::Invalid, "metadata.resourceVersion", "0")
            .because("must be specified for an update");
        let named_by_plural = Resource { kind: resource.plural.clone(), ..resource.clone() };
        Self::invalid(&named_by_plural, name, &[error])
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        let mut details = json!({"kind": resource.plural});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !resource.group.is_empty() {
            details["group"] = resource.group.clone().into();
        }
        self.details = Some(details);
        self
    }

    /// The object that goes over the wire.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Which kind of wrong.
    pub fault: Fault,
    /// Path, for example `spec.members[0].name`.
    pub field: String,
    /// The value, as the message shows it; empty where the fault has none.
    pub value: String,
    /// What would be right.
    pub detail: String,
}

/// Kinds of field errors, as Kubernetes names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not this value.
    Invalid,
    /// Missing.
    Required,
    /// Not one of the list.
    NotSupported,
    /// Twice.
    Duplicate,
    /// Not allowed to be set or changed.
    Forbidden,
    /// A string or map over its limit.
    TooLong,
    /// A list over its limit.
    TooMany,
    /// Another type.
    TypeInvalid,
}

impl Fault {
    fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

impl FieldError {
    pub(crate) fn new(fault: Fault, field: impl Into<String>, value: impl Into<String>) -> Self {
        Self { fault, field: field.into(), value: value.into(), detail: String::new() }
    }

    pub(crate) fn because(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    fn body(&self) -> String {
        let head = match self.fault {
            Fault::Invalid | Fault::TypeInvalid if self.value.is_empty() => "Invalid value".into(),
            Fault::Invalid | Fault::TypeInvalid => format!("Invalid value: {}", self.value),
            Fault::Required => "Required value".to_owned(),
            Fault::NotSupported => format!("Unsupported value: {}", self.value),
            Fault::Duplicate => format!("Duplicate value: {}", self.value),
            Fault::Forbidden => "Forbidden".to_owned(),
            Fault::TooLong => "Too long".to_owned(),
            Fault::TooMany => format!("Too many: {}", self.value),
        };
        if self.detail.is_empty() { head } else { format!("{head}: {}", self.detail) }
    }

    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.field, self.body())
    }
}
