//! `palisade controller`: runs the controller until it is told to end.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::log::LogFormat;
use anyhow::{Context, Result};
use controller::lease::Times;
use tokio::signal::unix::{SignalKind, signal};

/// Options of the verb.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How to reach the API; without it the pod's service account.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The namespace that is looked after.
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: String,
    /// Who holds the Lease: unique per replica. The host name and a random part when left out.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Address of /metrics, /healthz and /readyz, for example 127.0.0.1:9464. Not served when left out.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// How long the Lease holds after a renewal, in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=300))]
    lease_seconds: u64,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Runs it.
pub(crate) fn run(args: Args) -> Result<()> {
    crate::log::start(args.log_format)?;
    let duration = Duration::from_secs(args.lease_seconds);
    let options = controller::Args {
        kubeconfig: args.kubeconfig,
        namespace: args.namespace,
        identity: args.identity.unwrap_or_else(fresh_identity),
        listen: args.listen,
        lease: Times { duration, renew: duration / 4 },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot make a runtime")?;
    runtime.block_on(async {
        let mut end = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        tokio::select! {
            ended = controller::run(options) => ended.map_err(Into::into),
            // what it holds is one Lease, which runs out by itself
            _ = end.recv() => Ok(()),
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

fn fresh_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), uuid::Uuid::new_v4().simple())
}
