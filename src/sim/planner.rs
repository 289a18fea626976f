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
///
/// # Errors
/// As [`policy::schedule`].
pub fn schedule(scheduler: &mut policy::Scheduler, model: &Model) -> Result<Plan, Error> {
    let answer = scheduler.schedule(model);
    if answer != policy::schedule(model) {
        let what = "S16: what was remembered of the last model changes the plan for this one";
        FOUND.with(|found| *found.borrow_mut() = Some(what.to_owned()));
    }
    let plan = answer?;
    if let Some(broken) = policy::check::check(model, &plan).first() {
        FOUND.with(|found| *found.borrow_mut() = Some(format!("{}: {}", broken.rule, broken.what)));
    }
    Ok(plan)
}
