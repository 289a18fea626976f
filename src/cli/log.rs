//! Logs: to standard error, for people or as JSON lines. `PALISADE_LOG` chooses levels: `info,totem=debug`.

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One object a line.
    Json,
    /// For people.
    Text,
}

/// Starts the log of this process.
pub(crate) fn start(format: LogFormat) -> anyhow::Result<()> {
    let levels = std::env::var("PALISADE_LOG").unwrap_or_else(|_| "info".into());
    let levels: Targets = levels
        .parse()
        .with_context(|| format!("PALISADE_LOG {levels:?} must read like info,totem=debug"))?;
    let registry = tracing_subscriber::registry().with(levels);
    match format {
        LogFormat::Json => registry
            .with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr))
            .init(),
        LogFormat::Text => registry
            .with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr))
            .init(),
    }
    Ok(())
}
