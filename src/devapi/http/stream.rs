//! Watches. A watch has no queue of its own: it reads the store's window of changes, and one that falls out of the
//! window is told 410 and lists again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::accept::Form;
use super::{Call, Shared, answer};
use crate::engine::WatchGuard;
use crate::failure::Failure;
use crate::limits;
use crate::meta;
use crate::resource::Resource;
use crate::storage::{Event, parsed};
use crate::table::{self, Include};
use crate::verbs::list::{Query, revision, too_new};

/// Changes that one watch takes before it lets others read.
const BATCH_MAX: usize = 256;

struct Watch {
    shared: Arc<Shared>,
    resource: Arc<Resource>,
    query: Query,
    revisions: tokio::sync::watch::Receiver<u64>,
    stop: tokio::sync::watch::Receiver<bool>,
    /// Everything up to here was sent.
    revision: u64,
    queue: VecDeque<Bytes>,
    /// What there was at the beginning and was not sent yet; each becomes text when its turn comes.
    initial: std::vec::IntoIter<Arc<Value>>,
    /// Whether the end of these is to be said.
    ends_initial: bool,
    form: Form,
    include: Include,
    /// The head of a table is sent once.
    headed: bool,
    bookmarks: bool,
    next_bookmark: Instant,
    lasts: Duration,
    /// Set when the client begins to read: by its own clock a watch never ends early.
    until: Option<Instant>,
    ended: bool,
    _guard: WatchGuard,
}

/// Begins a watch.
pub(super) fn watch(
    shared: &Arc<Shared>,
    call: &Call,
    resource: Arc<Resource>,
    query: Query,
) -> Result<Response, Failure> {
    let form = Form::of(call.header(header::ACCEPT))?;
    let include = answer::included(call.param("includeObject"))?;
    let guard = shared.engine.enter_watch()?;
    let revisions = shared.engine.revisions();
    let initial = match call.param("sendInitialEvents") {
        "" => None,
        text => Some(text == "true"),
    };
    let bookmarks = call.flag("allowWatchBookmarks");
    check_initial(call, initial, bookmarks)?;
    let asked = revision(&query.resource_version)?;
    let lasts = match call.param("timeoutSeconds").parse::<u64>() {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds).min(limits::WATCH_LASTS),
        _ => limits::WATCH_LASTS,
    };
    let now = Instant::now();
    let mut watch = Watch {
        shared: Arc::clone(shared),
        resource,
        query,
        revisions,
        stop: shared.stop.clone(),
        revision: 0,
        queue: VecDeque::new(),
        initial: Vec::new().into_iter(),
        ends_initial: false,
        form,
        include,
        headed: false,
        bookmarks,
        next_bookmark: now + limits::BOOKMARK_EVERY,
        lasts,
        until: None,
        ended: false,
        _guard: guard,
    };
    watch.begin(asked, initial)?;
    let body = stream::unfold(watch, |mut watch| async move {
        watch.next().await.map(|line| (Ok::<_, std::convert::Infallible>(line), watch))
    });
    Ok(answer::stream(Body::from_stream(body)))
}

fn check_initial(call: &Call, initial: Option<bool>, bookmarks: bool) -> Result<(), Failure> {
    let forbidden = |why: &str| {
        Failure::new(422, "Invalid", format!("ListOptions.meta.k8s.io \"\" is invalid: {why}"))
    };
    let matches = call.param("resourceVersionMatch");
    match initial {
        Some(_) if matches != "NotOlderThan" => Err(forbidden(
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )),
        Some(true) if !bookmarks => {
            Err(forbidden("allowWatchBookmarks: Forbidden: sendInitialEvents requires bookmarks"))
        }
        None if !matches.is_empty() => Err(forbidden(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
             provided",
        )),
        _ => Ok(()),
    }
}

impl Watch {
    /// What comes before the first change.
    fn begin(&mut self, asked: Option<u64>, initial: Option<bool>) -> Result<(), Failure> {
        let engine = Arc::clone(&self.shared.engine);
        let state = engine.state();
        let current = state.revision();
        if let Some(asked) = asked.filter(|r| *r > current) {
            return Err(too_new(asked, current));
        }
        let from_now = asked.is_none_or(|r| r == 0);
        let everything = initial.unwrap_or(from_now);
        if everything {
            let stored: Vec<Arc<Value>> = state
                .list(&self.resource.table(), &self.query.namespace)
                .map(|(_, stored)| Arc::clone(stored))
                .collect();
            self.initial = stored.into_iter();
        }
        self.revision = if everything || from_now { current } else { asked.unwrap_or(current) };
        let expired = state.since(self.revision).map(drop).err();
        if let Some(old) = expired {
            // a stream that began well ends with an error in it: so clients expect it
            self.expire(old.oldest);
            return Ok(());
        }
        self.ends_initial = initial == Some(true);
        Ok(())
    }

    /// Of what there was at the beginning.
    fn next_initial(&mut self) -> Option<Bytes> {
        while let Some(stored) = self.initial.next() {
            if self.query.selects(&self.resource, &stored) {
                let object = self.resource.show(&stored);
                return Some(self.line("ADDED", object));
            }
        }
        std::mem::take(&mut self.ends_initial).then(|| self.bookmark(true))
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.next_initial() {
                return Some(line);
            }
            if let Some(line) = self.queue.pop_front() {
                return Some(line);
            }
            if self.ended || *self.stop.borrow() {
                return None;
            }
            self.revisions.borrow_and_update();
            self.read();
            if !self.queue.is_empty() {
                continue;
            }
            let lasts = self.lasts;
            let until = *self.until.get_or_insert_with(|| Instant::now() + lasts);
            if self.ended || Instant::now() >= until {
                return None;
            }
            if self.behind() {
                tokio::task::yield_now().await;
                continue;
            }
            if self.bookmarks && Instant::now() >= self.next_bookmark {
                let line = self.bookmark(false);
                return Some(line);
            }
            let timer = if self.bookmarks { until.min(self.next_bookmark) } else { until };
            tokio::select! {
                changed = self.revisions.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                _ = self.stop.changed() => {}
                () = tokio::time::sleep_until(timer) => {}
            }
        }
    }

    fn behind(&self) -> bool {
        self.shared.engine.state().revision() > self.revision
    }

    /// Takes the next changes in.
    fn read(&mut self) {
        let r = &self.resource;
        // its definition is gone: so is the watch
        if r.custom && self.shared.engine.catalog().find(&r.group, &r.version, &r.plural).is_none()
        {
            self.drain();
            self.ended = true;
            return;
        }
        self.drain();
    }

    fn drain(&mut self) {
        let engine = Arc::clone(&self.shared.engine);
        let state = engine.state();
        let events = state
            .since(self.revision)
            .map(|events| events.take(BATCH_MAX).cloned().collect::<Vec<Arc<Event>>>());
        drop(state);
        let events = match events {
            Ok(events) => events,
            Err(old) => return self.expire(old.oldest),
        };
        let table = self.resource.table();
        for event in events {
            self.revision = event.revision;
            let here = event.table == table
                && (self.query.namespace.is_empty() || event.key.namespace == self.query.namespace);
            if here {
                self.take(&event);
            }
        }
    }

    fn take(&mut self, event: &Event) {
        let shown = |o: &Option<Arc<str>>| o.as_ref().map(|text| self.resource.show(&parsed(text)));
        let seen = |o: &Option<Value>| o.as_ref().is_some_and(|o| self.query.selector.matches(o));
        let (old, new) = (shown(&event.old), shown(&event.new));
        let (was, is) = (seen(&old), seen(&new));
        let line = match (was, is, old, new) {
            (false, true, _, Some(new)) => self.line("ADDED", new),
            (true, true, _, Some(new)) => self.line("MODIFIED", new),
            (true, false, Some(mut gone), _) => {
                // as it was last seen
                meta::set(&mut gone, "resourceVersion", Some(event.revision.to_string().into()));
                self.line("DELETED", gone)
            }
            _ => return,
        };
        self.queue.push_back(line);
    }

    fn expire(&mut self, oldest: u64) {
        let why = format!("too old resource version: {} ({oldest})", self.revision);
        self.queue.push_back(line("ERROR", &Failure::expired(why).status()));
        self.ended = true;
    }

    fn line(&mut self, kind: &str, object: Value) -> Bytes {
        let object = match self.form {
            Form::Json | Form::Yaml => object,
            Form::Partial => table::partial(&object),
            Form::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let mut table = table::table(
                    &self.resource,
                    &[object],
                    metadata,
                    self.include,
                    Timestamp::now(),
                );
                if std::mem::replace(&mut self.headed, true)
                    && let Some(fields) = table.as_object_mut()
                {
                    fields.insert("columnDefinitions".to_owned(), Value::Null);
                }
                table
            }
        };
        line(kind, &object)
    }

    /// How far this watch has come, for clients that resume from there.
    fn bookmark(&mut self, initial: bool) -> Bytes {
        self.next_bookmark = Instant::now() + limits::BOOKMARK_EVERY;
        let mut metadata =
            json!({"resourceVersion": self.revision.to_string(), "creationTimestamp": null});
        if initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, version) = match self.form {
            Form::Json | Form::Yaml => (self.resource.kind.clone(), self.resource.api_version()),
            Form::Partial => ("PartialObjectMetadata".into(), "meta.k8s.io/v1".into()),
            Form::Table => ("Table".into(), "meta.k8s.io/v1".into()),
        };
        line("BOOKMARK", &json!({"kind": kind, "apiVersion": version, "metadata": metadata}))
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": kind, "object": object}).to_string();
    text.push('\n');
    text.into()
}
