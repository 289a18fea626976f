//! Redfish over HTTPS: what a board's web service says, as far as power is concerned.

mod certificate;
mod https;
mod service;

pub use certificate::Certificate;
pub(crate) use https::listen;
pub use service::{Account, Event, Faults, Redfish};
