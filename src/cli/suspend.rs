//! `palisade suspend` and `palisade resume`: all agents may be stopped, and what they keep up stays up.

use agent::local::Request;

use crate::local::Socket;

/// Options of `palisade suspend`.
#[derive(clap::Args)]
pub(crate) struct SuspendArgs {
    /// Is content with an agent that has never been a member, because its HACluster does not exist: nothing runs there.
    #[arg(long)]
    if_member: bool,
    #[command(flatten)]
    socket: Socket,
}

/// Options of `palisade resume`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: Socket,
}

/// Ends when the disk of every member holds it and every executor has carried it out.
pub(crate) fn suspend(args: &SuspendArgs) -> anyhow::Result<()> {
    if args.if_member && args.socket.status()?.ring.state == "waiting" {
        println!("This agent has never been a member: nothing is to be suspended.");
        return Ok(());
    }
    args.socket.ask_done(&Request::Suspend {})?;
    println!(
        "The cluster is suspended: nobody is fenced, nothing is recovered, addresses do not expire, watchdogs are off.\n\
         The agents may be stopped now, all of them. What runs is adopted when they are back; the suspension ends when the\n\
         last of them has reported. To end it without stopping them: `palisade resume` on each machine."
    );
    Ok(())
}

/// In an open era for all; where the ring has stopped, for this machine.
pub(crate) fn resume(args: &Args) -> anyhow::Result<()> {
    args.socket.request(&Request::Resume {})
}
