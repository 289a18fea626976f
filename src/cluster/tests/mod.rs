//! A small extended-virtual-synchrony world around the real engine, the scenarios that CLUSTER.md section 3 names, and a
//! seeded random walk.

mod admission;
mod evidence;
mod hostile;
mod large;
mod largest;
mod outside;
mod parts;
mod planner;
mod real;
mod reload;
mod ring;
mod scenarios;
mod scores;
mod specimen;
mod suspend;
mod told;
mod unique;
mod unit;
mod walk;
mod ways;
mod why;
mod world;
