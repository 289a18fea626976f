//! `palisade timeline`: what the local agent saw lately.

use std::io::Write as _;

use agent::local::{Reply, Request};
use anyhow::bail;

use crate::{
    local::Socket,
    status::{Output, clock_time},
};

/// Options of `palisade timeline`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// At most this many entries, the newest.
    #[arg(long, default_value_t = 100)]
    limit: u16,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    socket: Socket,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let entries = match args.socket.ask(&Request::Timeline { limit: args.limit })? {
        Reply::Timeline(entries) => entries,
        Reply::Refused(reason) => bail!("{reason}"),
        Reply::Done(_) | Reply::Status(_) => {
            bail!("the agent answered something else: agent and command are of different versions")
        }
    };
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => {
            serde_json::to_writer(&mut out, &entries)?;
            writeln!(out)?;
        }
        Output::Text => {
            for entry in entries {
                writeln!(out, "{} {:8} {}", clock_time(entry.at_ms), entry.kind, entry.text)?;
            }
        }
    }
    Ok(())
}
