//! What a server with these CRDs would say of an object, said without one (SPEC-ERRORS.md rule 8).
//!
//! Used by the CLI before it applies, by `palisade simulate -f`, and by `devapi`. Structure first, then CEL: a value of
//! the wrong type is reported once, and not again by every rule that looks at it.

mod defaults;
mod structure;
mod suggest;

use std::{fmt, sync::OnceLock};

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::Value;

pub use defaults::fill;

/// One fault of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Path of the field. Example: `spec.members[0].name`.
    pub path: String,
    /// What is wrong with which value, and what to write.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() || self.message.starts_with(&format!("{}:", self.path)) {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// A kind of ours, its rules read once.
struct Served {
    kind: String,
    schema: Value,
    rules: CompiledSchema,
}

fn served() -> &'static [Served] {
    static SERVED: OnceLock<Vec<Served>> = OnceLock::new();
    SERVED.get_or_init(|| {
        crate::crds()
            .into_iter()
            .filter_map(|crd| {
                let version = crd.spec.versions.into_iter().next()?;
                let schema = version.schema?.open_api_v3_schema?;
                let schema = serde_json::to_value(schema).ok()?;
                let rules = compile_schema(&schema);
                Some(Served { kind: crd.spec.names.kind, schema, rules })
            })
            .collect()
    })
}

/// The schema of a kind of ours.
pub fn schema(kind: &str) -> Option<&'static Value> {
    served().iter().find(|served| served.kind == kind).map(|served| &served.schema)
}

/// Every fault of `object`, as a create or, with `old`, as an update of it. Empty: a server takes it.
///
/// `object` is completed with the schema's defaults, as a server does before its rules look.
pub fn check(object: &mut Value, old: Option<&Value>) -> Vec<Fault> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, version) = (text("kind"), text("apiVersion"));
    let fault = |path: &str, message: String| vec![Fault { path: path.into(), message }];
    if version != crate::names::API_VERSION {
        return fault(
            "apiVersion",
            format!("{version:?} is not served: write {}", crate::names::API_VERSION),
        );
    }
    let Some(Served { schema, rules, .. }) = served().iter().find(|served| served.kind == kind)
    else {
        let hint = suggest::closest(&kind, served().iter().map(|served| served.kind.as_str()));
        return fault("kind", format!("unknown kind {kind:?}{}", suggest::did_you_mean(hint)));
    };
    structure::prune_nulls(object, schema);
    let mut faults = structure::faults(object, schema);
    if !faults.is_empty() {
        faults.sort();
        return faults;
    }
    fill(object, schema);
    let mut faults = match Validator::new().validate_compiled(rules, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(from_cel).collect(),
    };
    faults.sort();
    faults.dedup();
    faults
}

/// Every fault of a whole object, without changing it.
pub fn faults(object: &Value) -> Vec<Fault> {
    check(&mut object.clone(), None)
}

fn from_cel(error: kube::core::cel::ValidationError) -> Fault {
    let message = match error.kind {
        ErrorKind::ValidationFailure => error.message,
        // a rule that this library cannot evaluate: said as it is, so that nobody takes it for the user's mistake
        kind => format!("cannot be checked here ({kind:?}): {}", error.message),
    };
    Fault { path: error.field_path, message }
}
