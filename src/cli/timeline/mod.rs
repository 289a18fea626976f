//! `palisade timeline`: the last failure step by step, as text or as a picture, and what else the agent saw lately.

mod incident;
mod svg;
mod text;

use std::io::Write as _;

use agent::local::{Reply, Request, TimelineEntry};
use anyhow::{Result, bail};
use clap::ValueEnum;

use self::incident::Incident;
use crate::{local::Socket, status::clock_time};

/// Options of `palisade timeline`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// At most this many entries, the newest.
    #[arg(long, default_value_t = 100)]
    limit: u16,
    /// Form of the output; json has the entries alone.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// All entries, in place of the last failure.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For programs; fields are added, never renamed.
    Json,
    /// A picture of the last failure.
    Svg,
    /// For people.
    Text,
}

/// Entries that are asked for when a failure is looked for among them.
const ENTRIES_MAX: u16 = 1000;

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => {
            serde_json::to_writer(&mut out, &entries(args, args.limit)?)?;
            writeln!(out)?;
        }
        Output::Text if args.all => list(&mut out, &entries(args, args.limit)?)?,
        Output::Text => match last(args)? {
            Some(incident) => write!(out, "{}", text::Text(&incident))?,
            None => {
                writeln!(
                    out,
                    "No failure of a member was seen since this agent started. Lately:\n"
                )?;
                list(&mut out, &entries(args, args.limit)?)?;
            }
        },
        Output::Svg => match last(args)? {
            Some(incident) => write!(out, "{}", svg::Svg(&incident))?,
            None => {
                bail!("no failure of a member was seen since this agent started: nothing to draw")
            }
        },
    }
    Ok(out.flush()?)
}

fn list(out: &mut impl std::io::Write, entries: &[TimelineEntry]) -> std::io::Result<()> {
    for entry in entries {
        writeln!(out, "{} {:8} {}", clock_time(entry.at_ms), entry.kind, entry.text)?;
    }
    Ok(())
}

fn entries(args: &Args, limit: u16) -> Result<Vec<TimelineEntry>> {
    match args.socket.ask(&Request::Timeline { limit })? {
        Reply::Timeline(entries) => Ok(entries),
        Reply::Refused(reason) => bail!("{reason}"),
        Reply::Done(_) | Reply::Status(_) => {
            bail!("the agent answered something else: agent and command are of different versions")
        }
    }
}

fn last(args: &Args) -> Result<Option<Incident>> {
    let status = args.socket.status()?;
    let Some(incident) = status.incidents.last().cloned() else { return Ok(None) };
    Ok(Some(Incident::new(&status.node, incident, &entries(args, ENTRIES_MAX)?)))
}
