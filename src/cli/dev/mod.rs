//! `palisade dev`: a whole cluster in a box, for a person without root, containers or Kubernetes.
//!
//! Promises: agents, controller, ring, fencing and API are the product's own; what is played says so (docs/dev.md has the
//! list); state survives a restart; when the box ends, however it ends, no process of it is left. Never: an address outside
//! of loopback.
//!
//! ```text
//!   up ─▶ world (machines, BMCs, network) ◀─ control ◀─ verb: kill, freeze, isolate, ...
//!    ├──▶ api (devapi, kubeconfigs, objects)     page ─▶ agents' sockets
//!    └──▶ controller      each machine: init ─▶ palisade agent ─▶ shims ─▶ web, balance
//! ```

mod api;
mod balance;
mod control;
mod gap;
mod init;
mod objects;
mod page;
mod plan;
mod up;
mod verb;
mod web;
mod world;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use clap::Subcommand;

use self::{
    control::Ask,
    plan::{Folder, NODES_MAX, NODES_MIN},
};

/// Options of `palisade dev`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Machines of a new box: 3 unless said otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(i64::from(NODES_MIN)..=i64::from(NODES_MAX)))]
    nodes: Option<u8>,
    /// How many machines of a new box have a BMC that speaks Redfish, the last ones: 1 unless said otherwise. The others
    /// speak IPMI.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=i64::from(NODES_MAX)))]
    redfish: Option<u8>,
    /// Folder of the box; made if it is missing. In the person's own state folder when left out.
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// A real API server in place of the development one.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// How long a BMC takes to cut the power, in milliseconds. Real ones take 300 to 20000.
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    power_off_ms: u64,
    /// How long a machine boots, in milliseconds, but for the first time.
    #[arg(long, value_name = "MS", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    boot_ms: u64,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// What stands in for HAProxy on a machine; started by its agent.
    #[command(hide = true)]
    Balance(balance::Args),
    /// The machines of a running box.
    Describe,
    /// Every process of a machine stands still; its kernel goes on answering.
    Freeze { node: String },
    /// Plug the cables in again.
    Heal { node: String },
    /// Pull a machine's cables, all but its BMC's.
    Isolate { node: String },
    /// The power of a machine fails.
    Kill { node: String },
    /// The first process of a machine; started by the box.
    #[command(hide = true)]
    Machine(init::Args),
    /// Switch a machine on that is off or dead.
    Start { node: String },
    /// End a running box; its state stays.
    Stop,
    /// A frozen machine goes on.
    Thaw { node: String },
    /// The service of a new box; started by its agents.
    #[command(hide = true)]
    Web(web::Args),
}

/// Of the agents of the box in that folder; empty when it is none.
pub(crate) fn agent_sockets(dir: &Path) -> Vec<PathBuf> {
    let Ok(folder) = Folder::choose(Some(dir)) else { return Vec::new() };
    sockets(&folder).unwrap_or_default()
}

/// Logs of that box: its own and those of its agents, with a name for each.
pub(crate) fn logs(dir: &Path) -> Vec<(String, PathBuf)> {
    let Ok(folder) = Folder::choose(Some(dir)) else { return Vec::new() };
    let Ok(Some(plan)) = folder.load() else { return Vec::new() };
    let agents = plan.nodes.iter().map(|n| (format!("{}.log", n.name), folder.agent_log(&n.name)));
    std::iter::once(("box.log".to_owned(), dir.join("box.log"))).chain(agents).collect()
}

/// Of this person's own box, if it runs.
pub(crate) fn own_agent_sockets() -> Option<Vec<PathBuf>> {
    let folder = Folder::choose(None).ok()?;
    if folder.control().exists() { sockets(&folder) } else { None }
}

fn sockets(folder: &Folder) -> Option<Vec<PathBuf>> {
    let plan = folder.load().ok()??;
    Some(plan.nodes.iter().map(|node| folder.agent_socket(&node.name)).collect())
}

pub(crate) fn run(args: Args) -> Result<()> {
    let folder = || Folder::choose(args.dir.as_deref());
    match args.verb {
        None => {
            let power = bmcsim::Timing {
                off: Duration::from_millis(args.power_off_ms),
                on: Duration::from_millis(500),
            };
            let times = world::Times { power, boot: Duration::from_millis(args.boot_ms) };
            up::run(
                &folder()?,
                &up::Choice {
                    nodes: args.nodes,
                    redfish: args.redfish,
                    kubeconfig: args.kubeconfig,
                    times,
                },
            )
        }
        Some(Verb::Balance(balance)) => balance::run(&balance),
        Some(Verb::Describe) => verb::plain(&folder()?, &Ask::Describe {}),
        Some(Verb::Freeze { node }) => {
            verb::measured(&folder()?, &node, &Ask::Freeze { node: node.clone() })
        }
        Some(Verb::Heal { node }) => verb::plain(&folder()?, &Ask::Heal { node }),
        Some(Verb::Isolate { node }) => {
            verb::measured(&folder()?, &node, &Ask::Isolate { node: node.clone() })
        }
        Some(Verb::Kill { node }) => {
            verb::measured(&folder()?, &node, &Ask::Kill { node: node.clone() })
        }
        Some(Verb::Machine(machine)) => init::run(&folder()?, &machine),
        Some(Verb::Start { node }) => verb::plain(&folder()?, &Ask::Start { node }),
        Some(Verb::Stop) => verb::stop(&folder()?),
        Some(Verb::Thaw { node }) => verb::plain(&folder()?, &Ask::Thaw { node }),
        Some(Verb::Web(web)) => web::run(&web),
    }
}
