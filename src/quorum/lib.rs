//! Votes and majority as arithmetic over a membership given as a value.
//!
//! Promises: the same voters and the same members give the same answer on every node; of two disjoint sets of members
//! at most one is quorate. Never: learning expected votes from messages (TOTEM.md 12.2 does; CLUSTER.md section 1 does
//! not, voters are part of the replicated state), time, memory of what was.
//!
//! ```text
//!   Voters (from the state) ──┐
//!   Rules  (from the spec)  ──┼──▶ Quorum { present, expected, needed, absent } ──▶ is_quorate()
//!   members (from the ring) ──┘
//! ```
//!
//! Follows votequorum's arithmetic (TOTEM.md section 12.2). Options that are not in the model of CLUSTER.md section 3
//! are refused by `Rules::new` with the reason.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod rules;
#[cfg(test)]
mod tests;
mod verdict;
mod voters;

pub use rules::{RefusedOption, Rules, Wanted};
pub use verdict::Quorum;
pub use voters::{Change, Voters, VotersError};

/// Voters of one cluster, at most.
pub const VOTERS_MAX: usize = 64;
/// Votes of one voter, at most. 64 x 1,000 is far from where 32 bits end.
pub const VOTES_MAX: u32 = 1000;
