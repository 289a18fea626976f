//! Logs: to standard error, for people or as JSON lines. `PALISADE_LOG` chooses levels: `info,totem=debug`.
//!
//! The Kubernetes client's own lines are left out unless somebody asks for them (`info,kube_client=warn`): it says each
//! failed request of each watch, and an API that is away is one line of ours, when it goes and when it is back.

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
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
    let levels = targets(&levels)?;
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

/// Starts the log of a process whose standard error is for people: at the end of a file.
pub(crate) fn start_in(path: &std::path::Path) -> anyhow::Result<()> {
    let levels = std::env::var("PALISADE_LOG").unwrap_or_else(|_| "info".into());
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let to_file = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(file);
    tracing_subscriber::registry().with(targets(&levels)?).with(to_file).init();
    Ok(())
}

/// What of the Kubernetes client is silent unless it is named.
const CHATTY: [&str; 2] = ["kube_client", "kube_runtime"];

fn targets(levels: &str) -> anyhow::Result<Targets> {
    let mut targets: Targets = levels
        .parse()
        .with_context(|| format!("PALISADE_LOG {levels:?} must read like info,totem=debug"))?;
    for chatty in CHATTY.into_iter().filter(|c| !levels.contains(c)) {
        targets = targets.with_target(chatty, LevelFilter::OFF);
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level_of(levels: &str, wanted: &str) -> Option<LevelFilter> {
        let targets = targets(levels).expect("it parses");
        targets.iter().find(|(target, _)| *target == wanted).map(|(_, level)| level)
    }

    #[test]
    fn the_clients_own_lines_come_only_when_they_are_asked_for() {
        assert_eq!(level_of("info", "kube_client"), Some(LevelFilter::OFF));
        assert_eq!(level_of("debug,totem=trace", "kube_runtime"), Some(LevelFilter::OFF));
        assert_eq!(level_of("info,kube_client=warn", "kube_client"), Some(LevelFilter::WARN));
    }

    #[test]
    fn nonsense_says_how_it_must_read() {
        let said = targets("info,totem=loud").expect_err("it is refused").to_string();
        assert!(said.contains("info,totem=debug"), "{said}");
    }
}
