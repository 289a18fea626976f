//! What must hold for the plan of every case of Pacemaker's scheduler suite, whatever the expected result: the plan
//! passes the independent checker (SAFETY.md#S16) and is explained.
//!
//! The suite is looked for where `PALISADE_SCHEDULER_SUITE` points, else in `../shared/scheduler-suite` beside the
//! workspace. Without it these tests say so and judge nothing.

mod cases;
mod checker;
mod explained;
mod memory;
