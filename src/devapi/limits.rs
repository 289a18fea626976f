//! Every limit of the server in one place. A development server must not eat the laptop that it runs on.

use std::time::Duration;

/// Bytes of a request body. Kubernetes' own limit.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Bytes of one stored object, as JSON. etcd's request limit is 1.5 MiB.
pub const OBJECT_BYTES_MAX: usize = 1536 * 1024;
/// Objects of all kinds together.
pub const OBJECTS_MAX: usize = 50_000;
/// Events of both kinds; beyond, those go that were written longest ago.
pub const EVENTS_MAX: usize = 256;
/// Bytes of all objects together; the store lies in memory.
pub const STORE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Watches open at once.
pub const WATCHES_MAX: usize = 512;
/// Connections open at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// Changes kept for watches and lists of an older version; what is older gets 410.
pub const HISTORY_EVENTS: usize = 4096;
/// Bytes of those changes (each counts two states of its object, as text); what is older gets 410.
pub const HISTORY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Items of one list without `limit`. Above, the answer is a 429 that asks for `limit`.
pub const LIST_ITEMS_MAX: usize = 20_000;
/// How often a quiet watch that asked for bookmarks gets one.
pub const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
/// How long a watch lasts that names no `timeoutSeconds`.
pub const WATCH_LASTS: Duration = Duration::from_secs(45 * 60);
/// A TLS handshake that takes longer is dropped.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The log is rewritten when it is larger than this and larger than twice its objects.
pub const LOG_REWRITE_BYTES: u64 = 8 * 1024 * 1024;
/// Depth of objects and schemas.
pub const DEPTH_MAX: usize = 64;
/// Managers of one object that are remembered one by one; Kubernetes has no limit for appliers, and 10 for updaters.
pub const MANAGERS_MAX: usize = 64;
/// Finalizers, owner references, labels of one object.
pub const METADATA_ENTRIES_MAX: usize = 256;
/// Bytes of all annotations of one object. Kubernetes' own limit.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// Errors of one object that are answered.
pub const FIELD_ERRORS_MAX: usize = 64;
/// Custom resource definitions.
pub const DEFINITIONS_MAX: usize = 256;
/// How long open requests may take to end when the server stops.
pub const STOP_MAX: Duration = Duration::from_secs(2);
