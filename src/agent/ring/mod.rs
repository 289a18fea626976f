//! The ring part: network, order, replicated state, and the word to the other two parts.
//!
//! Invariants (CLUSTER.md section 8): nothing on the path of the token waits for a disk, a lock or another part; all
//! queued datagrams are taken in before timers are judged; a gap of the own execution is said before anything that came
//! meanwhile. It decides nothing.

mod core;
mod counted;
mod incidents;
mod outlet;
mod parts;
pub mod requests;
mod run;
mod setup;
mod start;
mod timeline;
mod view;

pub use parts::Dial;
pub use run::run;
pub use setup::{Ended, Feed, Prober, Setup, Stop};
pub use start::ask_privileges;
