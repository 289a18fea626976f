//! The text of a list, object by object.
//!
//! Invariant: of all its objects one at a time is there in a second copy. After a break each of three agents and a controller
//! list everything at once: whole lists as values took 6 MiB each, for 270 KiB of text, and what the allocator
//! then puts behind them keeps it from giving that back.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};

use crate::resource::Resource;
use crate::table;
use crate::verbs::list::Page;

/// Bytes of a piece at least, but for the last one.
const PIECE_BYTES: usize = 16 * 1024;

/// A list as it goes over the wire; `partial` is its metadata only. What fits into one piece has a known length.
pub(super) fn body(resource: Arc<Resource>, page: Page, partial: bool) -> Body {
    let mut pieces = Pieces::new(resource, page, partial);
    let first = pieces.next().unwrap_or_default();
    if pieces.ended {
        return first.into();
    }
    let all = std::iter::once(first).chain(pieces);
    Body::from_stream(stream::iter(all.map(Ok::<_, Infallible>)))
}

/// An object of a list as a real server sends it: custom resources keep their kind, others have none of their own.
pub(super) fn item(resource: &Resource, mut object: Value) -> Value {
    if let (false, Some(fields)) = (resource.custom, object.as_object_mut()) {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    object
}

struct Pieces {
    resource: Arc<Resource>,
    partial: bool,
    items: std::vec::IntoIter<Arc<Value>>,
    /// Written and not given out.
    text: String,
    /// Whether an item stands before the next one.
    behind: bool,
    ended: bool,
}

impl Pieces {
    fn new(resource: Arc<Resource>, page: Page, partial: bool) -> Self {
        let (kind, version) = if partial {
            ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned())
        } else {
            (resource.list_kind.as_str(), resource.api_version())
        };
        let head = json!({"kind": kind, "apiVersion": version, "metadata": page.metadata});
        let mut text = head.to_string();
        // its brace comes behind the items
        text.pop();
        text.push_str(",\"items\":[");
        let items = page.items.into_iter();
        Self { resource, partial, items, text, behind: false, ended: false }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while !self.ended && self.text.len() < PIECE_BYTES {
            let Some(stored) = self.items.next() else {
                self.text.push_str("]}");
                self.ended = true;
                break;
            };
            let object = self.resource.show(&stored);
            let object = match self.partial {
                true => table::partial(&object),
                false => item(&self.resource, object),
            };
            if std::mem::replace(&mut self.behind, true) {
                self.text.push(',');
            }
            self.text.push_str(&object.to_string());
        }
        let text = std::mem::take(&mut self.text);
        (!text.is_empty()).then(|| text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    fn texts(objects: u64) -> Vec<Bytes> {
        let catalog = Catalog::new([]);
        let resource = catalog.find("", "v1", "configmaps").expect("served");
        let items = (0..objects).map(|n| {
            Arc::new(json!({"metadata": {"name": format!("o-{n}")}, "data": {"n": n.to_string()}}))
        });
        let page = Page { items: items.collect(), metadata: json!({"resourceVersion": "7"}) };
        Pieces::new(Arc::clone(resource), page, false).collect()
    }

    #[test]
    fn pieces_are_one_list_however_many_there_are() {
        for objects in [0, 1, 2, 1000] {
            let pieces = texts(objects);
            let whole: Value = serde_json::from_slice(&pieces.concat()).expect("JSON");
            assert_eq!(whole["kind"], "ConfigMapList");
            assert_eq!(whole["metadata"]["resourceVersion"], "7");
            let items = whole["items"].as_array().expect("a list");
            assert_eq!(items.len() as u64, objects);
            assert!(items.iter().all(|item| item.get("kind").is_none()), "{items:?}");
            assert_eq!(pieces.len() > 1, objects == 1000, "{} pieces", pieces.len());
            assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 1024));
        }
    }
}
