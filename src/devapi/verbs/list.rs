//! GET of one object and of lists: now, or as of an earlier version, in pages.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};

use super::World;
use crate::failure::Failure;
use crate::limits;
use crate::meta::Key;
use crate::resource::Resource;
use crate::selector::Selector;

/// What a list request asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) namespace: String,
    pub(crate) selector: Selector,
    pub(crate) limit: usize,
    pub(crate) token: String,
    pub(crate) resource_version: String,
    pub(crate) version_match: String,
}

impl Query {
    /// Whether a stored object is asked for.
    pub(crate) fn selects(&self, resource: &Resource, stored: &Value) -> bool {
        self.selector.is_empty() || self.selector.matches(&resource.show(stored))
    }
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// As they are stored: a parsed object takes ten times as much memory as its text and more, and several clients ask for
    /// hundreds of them at once. Each is shown when its turn comes to be written.
    pub(crate) items: Vec<Arc<Value>>,
    pub(crate) metadata: Value,
}

/// A resource version of a request as a number. Empty counts as none.
pub(crate) fn revision(text: &str) -> Result<Option<u64>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Failure::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// A version that this store has not reached. It never will wait: nobody else writes here.
pub(crate) fn too_new(asked: u64, current: u64) -> Failure {
    let mut failure = Failure::new(
        504,
        "Timeout",
        format!("Timeout: Too large resource version: {asked}, current: {current}"),
    );
    failure.details = Some(json!({"retryAfterSeconds": 1,
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}));
    failure
}

/// A page of objects.
pub(crate) fn list(world: &World<'_>, resource: &Resource, query: &Query) -> Result<Page, Failure> {
    let current = world.state.revision();
    let asked = revision(&query.resource_version)?;
    let exact = match query.version_match.as_str() {
        "" if query.limit > 0 && asked.is_some_and(|r| r > 0) => true,
        "" | "NotOlderThan" => false,
        "Exact" => true,
        other => {
            return Err(Failure::bad_request(format!("resourceVersionMatch {other:?} is none")));
        }
    };
    if !query.version_match.is_empty() && asked.is_none() {
        return Err(forbidden_match(
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ));
    }
    if let Some(asked) = asked.filter(|r| *r > current) {
        return Err(too_new(asked, current));
    }
    let from = if query.token.is_empty() { None } else { Some(Continue::read(&query.token)?) };
    let at = match &from {
        Some(token) => token.revision,
        None if exact => asked.unwrap_or(current),
        None => current,
    };
    let then = world.state.list_at(&resource.table(), &query.namespace, at).map_err(|old| {
        Failure::expired(if from.is_some() {
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter."
                .to_owned()
        } else {
            format!("too old resource version: {at} ({})", old.oldest)
        })
    })?;
    let mut matching = then
        .iter()
        .filter(|(key, _)| from.as_ref().is_none_or(|token| **key > token.after))
        .filter(|(_, stored)| query.selects(resource, stored));
    let wanted = if query.limit == 0 { limits::LIST_ITEMS_MAX + 1 } else { query.limit };
    let mut items = Vec::new();
    let mut last = None;
    for (key, stored) in matching.by_ref().take(wanted) {
        items.push(Arc::clone(stored));
        last = Some(key);
    }
    if query.limit == 0 && items.len() > limits::LIST_ITEMS_MAX {
        return Err(Failure::too_many(format!(
            "more than {} items: list with a limit, in pages",
            limits::LIST_ITEMS_MAX
        )));
    }
    let rest = matching.count();
    let mut metadata = json!({"resourceVersion": at.to_string()});
    if let (true, Some(last)) = (rest > 0, last) {
        metadata["continue"] = Continue { revision: at, after: last.clone() }.write().into();
        if query.selector.is_empty() {
            metadata["remainingItemCount"] = rest.into();
        }
    }
    Ok(Page { items, metadata })
}

fn forbidden_match(why: &str) -> Failure {
    Failure::new(
        422,
        "Invalid",
        format!("ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: {why}"),
    )
}

/// Where the next page begins.
#[derive(Debug, PartialEq)]
struct Continue {
    revision: u64,
    after: Key,
}

impl Continue {
    fn write(&self) -> String {
        let text = json!([self.revision, self.after.namespace, self.after.name]).to_string();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    }

    fn read(token: &str) -> Result<Self, Failure> {
        let wrong =
            || Failure::bad_request("continue key is not valid: it was not made by this server");
        let bytes =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
        let (revision, namespace, name) = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        Ok(Self { revision, after: Key { namespace, name } })
    }
}
