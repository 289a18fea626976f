//! The policy engine: a cluster model in, a plan out (POLICY.md).
//!
//! Promises: a pure, deterministic function of its input; same input, same bytes out; it never panics on a model that
//! [`Model::validate`] accepts and says [`Error::Unsupported`] where it would have to guess. It plans only: whether
//! evidence allows an action is decided where it is dispatched (CLUSTER.md section 6).
//! Never: clocks, sockets, randomness, hash-ordered collections, knowledge of where the model came from.
//!
//! ```text
//!   custom resources ─▶ compile ─┐                        ┌─▶ placements, scores, explanations
//!                                ├─▶ Model ─▶ schedule ─▶ │   actions with intent, order
//!   Pacemaker CIB ───▶ cib ──────┘                        └─▶ nodes to fence and to unfence
//!
//!   schedule = unpack ─▶ probe ─▶ score ─▶ place ─▶ act ─▶ order ─▶ trim
//! ```
//!
//! Follows "Pacemaker Explained" for its semantics; the differences that we want are written into the model by the
//! door that wants them.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod act;
pub mod check;
pub mod digest;
mod memory;
pub mod model;
mod order;
mod place;
pub mod plan;
pub mod revision;
mod score;
mod supported;
mod trim;
mod unpack;
mod world;

pub use memory::Scheduler;
pub use model::Model;
pub use plan::Plan;

use alloc::{string::String, vec::Vec};

use memory::Memory;

/// Why there is no plan. The model is untouched in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The model uses features that this engine does not plan yet; a wrong plan is never given in their place.
    #[error("the engine cannot plan these features yet, remove them or wait for a later version: {}", .0.join(", "))]
    Unsupported(Vec<String>),
    /// The model breaks a rule that its door must keep; the text names the object.
    #[error("invalid model: {0}")]
    Invalid(String),
}

/// Plans one transition from the model's state towards the state that its configuration asks for.
///
/// The result is a function of the model alone.
///
/// # Errors
/// [`Error::Invalid`] when the model contradicts itself, [`Error::Unsupported`] when it needs what is not built.
pub fn schedule(model: &Model) -> Result<Plan, Error> {
    plan_with(model, Detail::Decision, &mut Memory::none())
}

/// As [`schedule`], and the plan also says why: all scores, and an explanation for each resource. The decisions are
/// the same; the words cost more than the decisions, so they are made when somebody asks.
///
/// # Errors
/// As [`schedule`].
pub fn explain(model: &Model) -> Result<Plan, Error> {
    plan_with(model, Detail::Reasons, &mut Memory::none())
}

/// How much a plan says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Decision,
    Reasons,
}

fn plan_with(model: &Model, detail: Detail, memory: &mut Memory) -> Result<Plan, Error> {
    model.validate_with(memory)?;
    let unsupported = supported::missing(model);
    if !unsupported.is_empty() {
        return Err(Error::Unsupported(unsupported));
    }
    let mut world = unpack::run(model, detail, memory)?;
    unpack::constrain(&mut world);
    score::run(&mut world);
    order::imply(&mut world);
    act::review_history(&mut world);
    place::run(&mut world);
    act::run(&mut world);
    order::run(&mut world);
    act::notify(&mut world);
    memory.digests = world.digests.take();
    Ok(trim::run(&world, detail))
}
