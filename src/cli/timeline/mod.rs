//! `palisade timeline`: the last failure step by step, as text or as a picture, and what else the agent saw lately.

mod incident;
mod svg;
mod text;

use std::io::Write as _;

use agent::{
    local::{Reply, Request, TimelineEntry},
    status::IncidentStatus,
};
use anyhow::{Result, bail};
use clap::ValueEnum;

pub(crate) use self::{
    incident::Incident,
    svg::{Escaped, NarrowSvg, Svg},
};
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
            Some(incident) => write!(out, "{}", Svg(&incident))?,
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
    ask(&args.socket, limit)
}

fn ask(socket: &Socket, limit: u16) -> Result<Vec<TimelineEntry>> {
    match socket.ask(&Request::Timeline { limit })? {
        Reply::Timeline(entries) => Ok(entries),
        Reply::Refused(reason) => bail!("{reason}"),
        Reply::Done(_) | Reply::Status(_) => {
            bail!("the agent answered something else: agent and command are of different versions")
        }
    }
}

impl Incident {
    /// With what the agent said meanwhile.
    pub(crate) fn ask(socket: &Socket, seen_by: &str, incident: IncidentStatus) -> Result<Self> {
        Ok(Self::new(seen_by, incident, &ask(socket, ENTRIES_MAX)?))
    }
}

fn last(args: &Args) -> Result<Option<Incident>> {
    let status = args.socket.status()?;
    let last = status.incidents.last().cloned();
    last.map(|incident| Incident::ask(&args.socket, &status.node, incident)).transpose()
}
