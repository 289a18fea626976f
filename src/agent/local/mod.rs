//! The local socket: what a person on the machine may ask and say when the API is away.
//!
//! Invariants: uid 0 only (or the agent's own user, where it runs without root), by the kernel's word and on each
//! connection; one JSON object per line, limited in length, number and time; no secret is ever in an answer.

mod client;
mod protocol;
mod server;

pub use client::{ClientError, call};
pub use protocol::{
    LINE_BYTES_MAX, NodeVerb, REPLY_BYTES_MAX, Reply, Request, ResourceVerb, TimelineEntry,
};
pub use server::{CONNECTIONS_MAX, Call, serve};
