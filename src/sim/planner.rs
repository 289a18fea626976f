//! `policy::schedule` with an independent look at each plan (SAFETY.md#S16).

use std::cell::RefCell;

use policy::{Error, Model, Plan};

thread_local! {
    /// A planner is a plain function, so what it finds waits here for the world, which runs on this thread.
    static FOUND: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What the last plans of this thread broke, if anything.
pub fn take() -> Option<String> {
    FOUND.with(|found| found.borrow_mut().take())
}

/// The product's planner, looked over.
pub fn schedule(model: &Model) -> Result<Plan, Error> {
    let plan = policy::schedule(model)?;
    if let Some(broken) = policy::check::check(model, &plan).first() {
        FOUND.with(|found| *found.borrow_mut() = Some(format!("{}: {}", broken.rule, broken.what)));
    }
    Ok(plan)
}
