//! `palisade`: finds the verb and runs it; every verb has a file of its own. `main.rs` only calls it.
//!
//! Exit codes (DESIGN.md section 7): 0 done, 1 refused or failed with the reason on stderr, 2 wrong usage.
#![forbid(unsafe_code)]

mod agent;
mod bundle;
mod completion;
mod controller;
mod crds;
mod dev;
mod local;
mod log;
mod node;
mod plan;
mod resource;
#[cfg(feature = "sabotage")]
pub mod sabotage;
mod simulate;
mod status;
mod suspend;
mod timeline;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// High availability for OpenStack control planes.
#[derive(Parser)]
#[command(name = "palisade", version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Compile objects into placements, for a whole namespace.
    Controller(controller::Args),
    /// Collect what somebody else needs to help, without secrets.
    Bundle(bundle::Args),
    /// Print what makes a shell complete our words.
    Completion(completion::Args),
    /// Print the definitions of our kinds.
    Crds,
    /// Be a member of a cluster on this machine.
    Agent(agent::Args),
    /// A whole cluster in a box: no root, no containers, no Kubernetes.
    Dev(dev::Args),
    /// Standby, fence, confirm, leave: by the local agent.
    Node(node::Args),
    /// Move, ban, clean up, remove: by the local agent.
    Resource(resource::Args),
    /// Plan one transition of a cluster and print it.
    Simulate(simulate::Args),
    /// Let all agents be stopped: nobody is fenced, nothing is recovered, what runs stays.
    Suspend(suspend::SuspendArgs),
    /// End a suspension.
    Resume(suspend::Args),
    /// The cluster as the local agent sees it, or as the API shows it.
    Status(status::Args),
    /// What the local agent saw lately.
    Timeline(timeline::Args),
}

/// The program.
pub fn main() -> ExitCode {
    // Not a verb for people: the agent starts it as the parent of a supervised process.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "shim") {
        return drivers::process::shim::main(words);
    }
    let done = |()| ExitCode::SUCCESS;
    let called = std::env::args_os().next().unwrap_or_default();
    let called = std::path::Path::new(&called).file_name().unwrap_or_default();
    if let Some(name) = drivers::ocf::TOOLS.into_iter().find(|name| called == *name) {
        // an agent speaks to the executor that called it
        return drivers::ocf::tool(name, std::env::args().skip(1));
    }
    if called == completion::KUBECTL_COMPLETES {
        return completion::for_kubectl(&Cli::command(), std::env::args().skip(1).collect());
    }
    // A plugin of kubectl's by its name: it says so in its own help, and asks the API first.
    let plugin = called == "kubectl-palisade";
    let command = match plugin {
        true => Cli::command().bin_name("kubectl palisade"),
        false => Cli::command(),
    };
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let result = match cli.verb {
        Verb::Controller(args) => controller::run(args).map(done),
        Verb::Bundle(args) => bundle::run(&args).map(done),
        Verb::Completion(args) => {
            completion::run(&args, Cli::command());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Crds => crds::run().map(done),
        Verb::Agent(args) => agent::run(args),
        Verb::Dev(args) => dev::run(args).map(done),
        Verb::Node(args) => node::run(args).map(done),
        Verb::Resource(args) => resource::run(args).map(done),
        Verb::Simulate(args) => simulate::run(&args).map(done),
        Verb::Status(args) => status::run(&args, plugin).map(done),
        Verb::Suspend(args) => suspend::suspend(&args).map(done),
        Verb::Resume(args) => suspend::resume(&args).map(done),
        Verb::Timeline(args) => timeline::run(&args).map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("palisade: {error:#}");
            ExitCode::from(1)
        }
    }
}
