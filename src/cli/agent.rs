//! `palisade agent`: one member of a cluster, and the three processes that it is made of.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use agent::{
    config::{Config, Options},
    process::{self, AfterLeave, Exit, Role},
    supervise::Part,
};
use anyhow::Context as _;
use base::NodeName;
use clap::ValueEnum;

use crate::log::{self, LogFormat};

/// Options of `palisade agent`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// This machine's name in spec.members of the HACluster.
    #[arg(long, value_name = "NAME")]
    node_name: NodeName,
    /// How the API is reached; the in-cluster account when it is missing.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the HACluster.
    #[arg(long, value_name = "NS")]
    namespace: String,
    /// Name of the HACluster.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// What this member remembers: kept over restarts and power cuts, never copied, never shared.
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// What differs from machine to machine, as TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Which parts run here. In containers each runs alone; each needs folders of the run directory of --config (docs/agent.md).
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = PARTS, value_name = "PART,...")]
    parts: Vec<Watched>,
    /// Where executor or fencer, alone in its container, says by /healthz that its loop turns.
    #[arg(long, value_name = "ADDRESS:PORT")]
    health_listen: Option<std::net::SocketAddr>,
    /// What follows `palisade node leave`: the agent ends with 0, or stays, alive and not ready, until it is told to end.
    /// `stay` is for containers, which a kubelet would start again whatever they end with.
    #[arg(long, value_enum, default_value_t = Leave::End)]
    after_leave: Leave,
    /// Makes the way for parts of the version before on this machine, and ends; given by the chart.
    #[arg(long, hide = true)]
    link_old_paths: bool,
    /// Which part this process is; given by the agent to itself.
    #[arg(long, hide = true, requires = "parent")]
    part: Option<PartName>,
    /// The agent that started this part.
    #[arg(long, hide = true)]
    parent: Option<u32>,
}

/// All of them: the agent as a unit of the machine.
const PARTS: [Watched; 3] = [Watched::Ring, Watched::Executor, Watched::Fencer];

#[derive(Clone, Copy, ValueEnum)]
enum Watched {
    /// Membership, decisions, the API
    Ring,
    /// Resources
    Executor,
    /// Power and watchdog
    Fencer,
}

impl From<Watched> for Part {
    fn from(part: Watched) -> Self {
        match part {
            Watched::Ring => Self::Ring,
            Watched::Executor => Self::Executor,
            Watched::Fencer => Self::Fencer,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Leave {
    End,
    Stay,
}

#[derive(Clone, Copy, ValueEnum)]
enum PartName {
    Executor,
    Fencer,
    Ring,
    Secrets,
    Disk,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    log::start(args.log_format)?;
    let config = match &args.config {
        Some(path) => Config::load(path).context("the configuration cannot be used")?,
        None => Config::default(),
    };
    let options = Options {
        node_name: args.node_name,
        kubeconfig: args.kubeconfig,
        namespace: args.namespace,
        cluster: args.cluster,
        state_dir: args.state_dir,
        config,
        health_listen: args.health_listen,
    };
    let role = match (args.part, args.parent) {
        (Some(part), Some(parent)) => match part {
            PartName::Executor => Role::Part { part: Part::Executor, parent },
            PartName::Fencer => Role::Part { part: Part::Fencer, parent },
            PartName::Ring => Role::Part { part: Part::Ring, parent },
            PartName::Secrets => Role::Secrets { parent },
            PartName::Disk => Role::Disk { parent },
        },
        _ if args.link_old_paths => Role::LinkOldPaths,
        _ => Role::Supervisor {
            parts: args.parts.into_iter().map(Part::from).collect(),
            arguments: std::env::args_os().skip(1).collect::<Vec<OsString>>(),
            after_leave: match args.after_leave {
                Leave::End => AfterLeave::End,
                Leave::Stay => AfterLeave::Stay,
            },
        },
    };
    let part = match &role {
        Role::Part { part, .. } => part.name(),
        Role::Secrets { .. } => "secrets",
        Role::Disk { .. } => "disk",
        Role::Supervisor { .. } | Role::LinkOldPaths => "supervisor",
    };
    let _here = tracing::info_span!("agent", node = %options.node_name, part).entered();
    match process::main(options, role) {
        Ok(Exit::Done) => Ok(ExitCode::SUCCESS),
        Ok(Exit::Code(code)) => Ok(ExitCode::from(code)),
        Err(error) => {
            // In the form of the log, which is what a machine's journal holds.
            tracing::error!(%error, "the agent ends");
            Ok(ExitCode::from(1))
        }
    }
}
