//! A development API server: enough of Kubernetes' API for kubectl, Helm, kube-rs and our own controller and agents.
//!
//! Promises: what it answers is what a Kubernetes API server answers (`docs/devapi.md` has the comparison); what it
//! does not do gets a clear 501; a write that was acknowledged is on the disk. It listens on loopback with TLS and a
//! token. Never: pods (nothing is run), webhooks, authorization (there is one user, who may be anybody), more than one
//! machine.
//!
//! ```text
//!   kubectl, helm, kube-rs ─▶ http ─▶ verbs (pure: world + request ─▶ plan) ─▶ engine ─▶ log (fsync) ─▶ state
//!                              ▲        admit: prune, default, validate, CEL      │
//!                              │        apply: field managers, merge              └▶ window of changes
//!                              └── watches ◀───────────────────────────────────────────┘
//! ```
#![forbid(unsafe_code)]

mod apply;
mod budget;
mod builtin;
pub mod catalog;
mod cost;
mod definition;
mod discovery;
pub mod engine;
mod events;
pub mod failure;
mod http;
pub mod limits;
pub mod meta;
mod openapi;
mod patch;
mod policies;
pub mod resource;
mod rules;
mod schema;
mod selector;
pub mod server;
pub mod storage;
mod table;
mod user;
mod verbs;
mod version;

pub use server::{Options, Server, StartError};
