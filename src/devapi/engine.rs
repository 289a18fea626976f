//! The server without its sockets: one writer at a time, readers beside it, watches told of each change.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::limits;
use crate::meta::Key;
use crate::schema::decode::Decoded;
use crate::storage::Change;
use crate::storage::file::{LogFile, OpenError};
use crate::storage::state::State;
use crate::user::User;
use crate::verbs::{self, Answer, FieldValidation, Part, Plan, Request, World};

/// Rounds of collection after one write. Chains of owners are short; a cycle that never ends is cut here.
const ROUNDS_MAX: usize = 64;
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Store, kinds and watches.
#[derive(Debug)]
pub struct Engine {
    log: Mutex<LogFile>,
    state: RwLock<State>,
    catalog: RwLock<Arc<Catalog>>,
    revision: watch::Sender<u64>,
    watches: AtomicUsize,
    /// A torn end of the log that was put aside at the start.
    set_aside: Option<PathBuf>,
}

/// What a write came to, ready for the wire.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) object: Value,
    /// Whether `object` is of the request's kind (and not a Status).
    pub(crate) is_object: bool,
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
}

/// A lock that a panicking writer held is still good: the state changes only after everything that can fail.
fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Opens the store in `dir`, or begins one. Watches can go back `window` changes.
    pub fn open(dir: &Path, window: usize) -> Result<Self, OpenError> {
        let opened = LogFile::open(dir, window, limits::LOG_REWRITE_BYTES)?;
        let revision = opened.state.revision();
        let catalog = Catalog::new(definitions(&opened.state));
        let engine = Self {
            log: Mutex::new(opened.log),
            state: RwLock::new(opened.state),
            catalog: RwLock::new(Arc::new(catalog)),
            revision: watch::Sender::new(revision),
            watches: AtomicUsize::new(0),
            set_aside: opened.set_aside,
        };
        Ok(engine)
    }

    /// Where a torn end of the log was put, if there was one: the write that a crash cut short, never acknowledged.
    #[must_use]
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    /// Makes the namespaces that every cluster has, and other objects that the caller wants to be there.
    pub fn seed(&self, objects: &[Value]) -> Result<(), Failure> {
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let first = [namespace("default"), namespace("kube-system")];
        for object in first.iter().chain(objects) {
            let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default();
            let (group, version) =
                text("/apiVersion").split_once('/').unwrap_or_else(|| ("", text("/apiVersion")));
            let catalog = self.catalog();
            let kind = text("/kind");
            let resource = catalog
                .resources()
                .iter()
                .find(|r| r.group == group && r.version == version && r.kind == kind)
                .ok_or_else(|| Failure::bad_request(format!("seed: {kind} is not served")))?;
            let request = Request {
                resource: Arc::clone(resource),
                key: Key::new(text("/metadata/namespace"), text("/metadata/name")),
                part: Part::Main,
                dry_run: false,
                manager: "devapi".to_owned(),
                validation: FieldValidation::Strict,
                force: true,
                user: User::admin(),
            };
            let body = object.to_string();
            // an apply: a newer definition takes the place of the one of the last start
            self.write(|world| {
                if request.resource.kind == "Namespace" {
                    if world.state.get("namespaces", &request.key).is_some() {
                        return Ok(nothing());
                    }
                    let body = Decoded { object: object.clone(), duplicates: Vec::new() };
                    return verbs::create::create(world, &request, body);
                }
                verbs::patch::patch(world, &request, verbs::patch::Form::Apply, body.as_bytes())
            })?;
        }
        Ok(())
    }

    /// The served kinds.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        let catalog = unpoisoned(self.catalog.read());
        Arc::clone(&catalog)
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        unpoisoned(self.state.read())
    }

    /// Tells of each new revision.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Counts a watch in; it is counted out when the guard goes.
    pub(crate) fn enter_watch(self: &Arc<Self>) -> Result<WatchGuard, Failure> {
        let before = self.watches.fetch_add(1, Ordering::SeqCst);
        let guard = WatchGuard { engine: Arc::clone(self) };
        if before >= limits::WATCHES_MAX {
            return Err(Failure::too_many(format!("{} watches are open", limits::WATCHES_MAX)));
        }
        Ok(guard)
    }

    /// Reads at one moment.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&World<'_>) -> T) -> T {
        let catalog = self.catalog();
        let state = self.state();
        f(&World {
            state: &state,
            catalog: &catalog,
            now: Timestamp::now(),
            fresh: &uuid::Uuid::new_v4,
        })
    }

    /// Plans and carries out a write. When this returns, it is on the disk.
    pub(crate) fn write(
        &self,
        f: impl FnOnce(&World<'_>) -> Result<Plan, Failure>,
    ) -> Result<Done, Failure> {
        let mut log = unpoisoned(self.log.lock());
        let plan = self.read(f)?;
        let due = plan.changes.iter().any(verbs::collect::is_due);
        let stored = self.commit(&mut log, plan.changes)?;
        let (object, is_object) = match plan.answer {
            Answer::Object(object) => (object, true),
            Answer::Plain(object) => (object, false),
            Answer::Written => {
                let object = stored.into_iter().next().flatten();
                (object.map_or(Value::Null, |o| Value::clone(&o)), true)
            }
        };
        if due {
            self.collect(&mut log);
        }
        if log.wants_rewrite(&self.state())
            && let Err(error) = log.rewrite(&self.state())
        {
            tracing::warn!(%error, "the log could not be rewritten; it grows on until the disk is well");
        }
        Ok(Done { object, is_object, code: plan.code, warnings: plan.warnings })
    }

    fn collect(&self, log: &mut MutexGuard<'_, LogFile>) {
        for _ in 0..ROUNDS_MAX {
            let changes = self.read(verbs::collect::collect);
            if changes.is_empty() {
                return;
            }
            if let Err(failure) = self.commit(log, changes) {
                tracing::warn!(why = failure.message, "collection stops until the next write");
                return;
            }
        }
        tracing::warn!(
            rounds = ROUNDS_MAX,
            "collection did not come to an end; it goes on with the next write"
        );
    }

    fn commit(
        &self,
        log: &mut MutexGuard<'_, LogFile>,
        changes: Vec<Change>,
    ) -> Result<Vec<Option<Arc<Value>>>, Failure> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let kinds = changes.iter().any(|c| c.table == DEFINITIONS);
        let numbered = self.state().number(changes);
        log.append(&numbered).map_err(Failure::internal)?;
        let stored = unpoisoned(self.state.write()).apply(numbered);
        if kinds {
            let old = self.catalog();
            let catalog = old.renewed(definitions(&self.state()));
            *unpoisoned(self.catalog.write()) = Arc::new(catalog);
        }
        self.revision.send_replace(self.state().revision());
        Ok(stored)
    }
}

fn nothing() -> Plan {
    Plan {
        changes: Vec::new(),
        answer: Answer::Plain(Value::Null),
        code: 200,
        warnings: Vec::new(),
    }
}

fn definitions(state: &State) -> impl Iterator<Item = &Value> {
    state.list(DEFINITIONS, "").map(|(_, object)| object.as_ref())
}

/// One open watch.
#[derive(Debug)]
pub(crate) struct WatchGuard {
    engine: Arc<Engine>,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.engine.watches.fetch_sub(1, Ordering::SeqCst);
    }
}
