//! `palisade`: finds the verb and runs it; every verb has a file of its own.
//!
//! Exit codes (DESIGN.md section 7): 0 done, 1 refused or failed with the reason on stderr, 2 wrong usage.
#![forbid(unsafe_code)]

mod controller;
mod crds;
mod log;
mod plan;
mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// High availability for OpenStack control planes.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Compile objects into placements, for a whole namespace.
    Controller(controller::Args),
    /// Print the definitions of our kinds.
    Crds,
    /// Plan one transition of a cluster and print it.
    Simulate(simulate::Args),
}

fn main() -> ExitCode {
    // Not a verb for people: the agent starts it as the parent of a supervised process.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "shim") {
        return drivers::process::shim::main(words);
    }
    let result = match Cli::parse().verb {
        Verb::Controller(args) => controller::run(args),
        Verb::Crds => crds::run(),
        Verb::Simulate(args) => simulate::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("palisade: {error:#}");
            ExitCode::from(1)
        }
    }
}
