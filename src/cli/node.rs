//! `palisade node`: what a person does with a member, by the local agent, also when the API is away.

use agent::local::{NodeVerb, Request};
use base::{NodeName, RingId};
use clap::Subcommand;

use crate::local::{Socket, who};

/// Options of `palisade node`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Subcommand)]
enum Action {
    /// Say, once, that you have seen this machine powered off: its resources start elsewhere then.
    ConfirmOff {
        /// The machine.
        name: NodeName,
        /// The incident that `palisade status` shows; the only open one when it is missing.
        #[arg(long, value_name = "REP.SEQ")]
        incident: Option<RingId>,
    },
    /// Power the machine off (and on, as the cluster says).
    Fence {
        /// The machine.
        name: NodeName,
    },
    /// Leave this member: its resources move, it says good-bye, its agent ends. For the local machine only.
    Leave,
    /// Touch nothing on it any more.
    Maintenance {
        /// The machine.
        name: NodeName,
    },
    /// End standby and maintenance.
    Online {
        /// The machine.
        name: NodeName,
    },
    /// Run nothing on it.
    Standby {
        /// The machine.
        name: NodeName,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let (action, name, incident) = match args.action {
        Action::Leave => return args.socket.request(&Request::Leave {}),
        Action::ConfirmOff { name, incident } => (NodeVerb::ConfirmOff, name, incident),
        Action::Fence { name } => (NodeVerb::Fence, name, None),
        Action::Maintenance { name } => (NodeVerb::Maintenance, name, None),
        Action::Online { name } => (NodeVerb::Online, name, None),
        Action::Standby { name } => (NodeVerb::Standby, name, None),
    };
    args.socket.request(&Request::Node { action, name, incident, who: who() })
}
