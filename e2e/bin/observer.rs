//! The observer as a program of its own: it shares no process with what it watches.

use anyhow::Result;
use clap::Parser;
use e2e::observer::{Watch, run};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;

/// Watches a lab from outside and writes what it sees, until it is ended.
#[derive(Parser)]
struct Cli {
    /// The lab's folder.
    #[arg(long)]
    lab: PathBuf,
    /// Where the events go.
    #[arg(long)]
    out: PathBuf,
    /// An address of which there may be one holder.
    #[arg(long = "address")]
    addresses: Vec<Ipv4Addr>,
    /// Asked over HTTP every 10 ms.
    #[arg(long)]
    http: Option<SocketAddrV4>,
    /// LABEL=END: a process of which there may be one, by the end of one of its first arguments.
    #[arg(long = "process", value_parser = label)]
    processes: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(l, e)| !l.is_empty() && !e.is_empty());
    parts.map(|(l, e)| (l.to_owned(), e.to_owned())).ok_or_else(|| "write LABEL=END".to_owned())
}

fn main() -> ExitCode {
    let Cli { lab, out, addresses, http, processes } = Cli::parse();
    match run(&Watch { lab, out, addresses, http, processes }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("observer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
