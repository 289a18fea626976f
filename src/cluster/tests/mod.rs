//! A small extended-virtual-synchrony world around the real engine, the scenarios that CLUSTER.md section 3 names, and a
//! seeded random walk.

mod admission;
mod planner;
mod real;
mod scenarios;
mod unit;
mod walk;
mod world;
