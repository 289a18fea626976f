//! The pure half: what to ask next, and what an answer means. No socket, no clock.

mod judge;
mod session;
mod types;

pub use judge::{BODY_MAX, find_system, parse_members, parse_root, parse_system, printable};
pub use session::Session;
pub use types::{
    Action, Answer, Ask, Config, Failure, Method, Output, Pass, Reply, Root, Sayings, Step, System,
};
