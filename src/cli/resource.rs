//! `palisade resource`: what a person does with a resource, by the local agent, also when the API is away.

use agent::local::{Request, ResourceVerb};
use base::{NodeName, ResourceId};
use clap::Subcommand;

use crate::local::{Socket, who};

/// Options of `palisade resource`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    socket: Socket,
}

#[derive(clap::Args)]
struct Target {
    /// The resource.
    name: ResourceId,
    /// The member that is meant.
    #[arg(long, value_name = "NODE")]
    node: Option<NodeName>,
}

#[derive(Subcommand)]
enum Action {
    /// Keep it away from a member.
    Ban(Target),
    /// Forget its failures and act anew: a stop that failed is tried again.
    Cleanup(Target),
    /// Forget bans and moves.
    Clear(Target),
    /// Prefer a member.
    Move(Target),
    /// End a resource whose object is gone and that was retained: it is stopped and leaves the model.
    Remove(Target),
    /// Stop it and start it again.
    Restart(Target),
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let (action, Target { name, node }) = match args.action {
        Action::Ban(target) => (ResourceVerb::Ban, target),
        Action::Cleanup(target) => (ResourceVerb::Cleanup, target),
        Action::Clear(target) => (ResourceVerb::Clear, target),
        Action::Move(target) => (ResourceVerb::Move, target),
        Action::Remove(target) => (ResourceVerb::Remove, target),
        Action::Restart(target) => (ResourceVerb::Restart, target),
    };
    args.socket.request(&Request::Resource { action, name, node, who: who() })
}
