//! `palisade status --watch`: the cluster on one screen, drawn anew as it changes.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use agent::{
    local::{Reply, Request, TimelineEntry},
    status::{NodeStatus, Status},
};
use anyhow::Result;

use super::{clock_time, trouble, write_incident};
use crate::local::Socket;

/// Between two looks: a failover is over in less than a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What happened last, at the bottom.
const ENTRIES_SHOWN: u16 = 12;
/// Longest line; a terminal that is narrower cuts by itself.
const COLUMNS_MAX: usize = 160;

/// Home, then each line over the old one: nothing flickers.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";
const CLEAR: &str = "\x1b[2J";

/// Until the person ends it. Where the output is no terminal: one screen below the other, when something changed.
pub(super) fn run(socket: &Socket) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    if terminal {
        write!(out, "{CLEAR}")?;
    }
    let mut shown = String::new();
    loop {
        let screen = match look(socket) {
            Ok((status, entries)) => screen(&status, &entries, terminal),
            Err(error) => format!("no agent answers: {error:#}\n"),
        };
        if terminal {
            write!(out, "{HOME}")?;
            for line in screen.lines() {
                writeln!(out, "{line}{REST_OF_LINE}")?;
            }
            write!(out, "{REST_OF_SCREEN}")?;
        } else if without_time(&screen) != without_time(&shown) {
            writeln!(out, "{screen}")?;
        }
        out.flush()?;
        shown = screen;
        std::thread::sleep(LOOK_EVERY);
    }
}

fn look(socket: &Socket) -> Result<(Status, Vec<TimelineEntry>)> {
    let status = socket.status()?;
    let entries = match socket.ask(&Request::Timeline { limit: ENTRIES_SHOWN })? {
        Reply::Timeline(entries) => entries,
        _ => Vec::new(),
    };
    Ok((status, entries))
}

/// The first line has the time in it.
fn without_time(screen: &str) -> &str {
    screen.split_once('\n').map_or("", |(_, rest)| rest)
}

#[derive(Clone, Copy)]
enum Colour {
    Green,
    Red,
    Yellow,
}

/// Never the only bearer of a meaning: the word stands there too.
fn paint(text: &str, colour: Colour, terminal: bool) -> String {
    if !terminal {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Green => 32,
        Colour::Red => 31,
        Colour::Yellow => 33,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

fn screen(status: &Status, entries: &[TimelineEntry], terminal: bool) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = draw(&mut text, status, entries, terminal);
    text
}

fn draw(
    out: &mut String,
    status: &Status,
    entries: &[TimelineEntry],
    terminal: bool,
) -> std::fmt::Result {
    writeln!(
        out,
        "{}   {}   as {} sees it",
        status.cluster,
        clock_time(status.at_ms),
        status.node
    )?;
    match trouble(status) {
        Some(why) => writeln!(out, "{}", paint(&why, Colour::Red, terminal))?,
        None => {
            let by = status.coordinator.as_deref().unwrap_or("nobody");
            let well = paint("quorate, era open", Colour::Green, terminal);
            writeln!(out, "{well}, coordinated by {by}")?;
        }
    }
    let ring = status.ring.id.as_deref().unwrap_or("none");
    writeln!(out, "ring {ring} {}: {}", status.ring.state, status.ring.members.join(" "))?;

    writeln!(out, "\n{:14} {:10} runs", "machine", "state")?;
    for node in &status.nodes {
        draw_node(out, status, node, terminal)?;
    }
    let nowhere: Vec<&str> = status
        .resources
        .iter()
        .filter(|r| r.instances.iter().all(|i| i.role == "Stopped"))
        .map(|r| r.id.as_str())
        .collect();
    if !nowhere.is_empty() {
        writeln!(
            out,
            "{}",
            paint(&format!("nowhere: {}", nowhere.join(" ")), Colour::Red, terminal)
        )?;
    }
    for resource in &status.resources {
        if let Some(reason) = &resource.reason {
            writeln!(out, "  {}: {reason}", resource.id)?;
        }
    }

    for debt in &status.debts {
        let line = format!("{} owes evidence: {}", debt.node, debt.reason);
        writeln!(out, "{}", paint(&line, Colour::Yellow, terminal))?;
    }
    for operation in status.operations.iter().filter(|operation| operation.evidence.is_none()) {
        let by = operation.executor.as_deref().unwrap_or("nobody yet");
        writeln!(out, "fencing {}: {} (by {by})", operation.node, operation.state)?;
    }
    if let Some(incident) = status.incidents.last() {
        writeln!(out, "\nlast failure (`palisade timeline` has its steps):")?;
        write_incident(out, incident)?;
    }
    writeln!(out, "\nlately:")?;
    for entry in entries {
        let line = format!("  {} {:8} {}", clock_time(entry.at_ms), entry.kind, entry.text);
        writeln!(out, "{}", line.chars().take(COLUMNS_MAX).collect::<String>())?;
    }
    Ok(())
}

fn draw_node(
    out: &mut String,
    status: &Status,
    node: &NodeStatus,
    terminal: bool,
) -> std::fmt::Result {
    let colour = match node.state.as_str() {
        "online" => Colour::Green,
        "unclean" | "evicted" | "offline" => Colour::Red,
        _ => Colour::Yellow,
    };
    // Padded before it is painted: the codes have no width.
    let state = paint(&format!("{:10}", node.state), colour, terminal);
    let runs: Vec<String> = status
        .resources
        .iter()
        .flat_map(|resource| {
            resource.instances.iter().filter(|i| i.node == node.name && i.role != "Stopped").map(
                |instance| match (instance.role.as_str(), instance.stop_failed) {
                    (_, true) => format!("{} (a stop failed)", resource.id),
                    ("Started", false) => resource.id.clone(),
                    (role, false) => format!("{} ({role})", resource.id),
                },
            )
        })
        .collect();
    let mut runs = runs.join(" ");
    if let Some(reason) = &node.reason {
        write!(runs, "{}[{reason}]", if runs.is_empty() { "" } else { "  " })?;
    }
    writeln!(out, "{:14} {state} {runs}", node.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> TimelineEntry {
        TimelineEntry {
            at_ms: 1_700_000_000_100,
            boot_us: 0,
            kind: "era".into(),
            text: "2.2a open".into(),
        }
    }

    #[test]
    fn a_person_sees_who_runs_what_and_what_is_the_matter() {
        let expected = "\
openstack/main   22:13:20.123Z   as ctl-2 sees it
quorate, era open, coordinated by ctl-2
ring 2.2a operational: ctl-2 ctl-3

machine        state      runs
ctl-1          unclean    [owes evidence for incident 2.2a]
ctl-2          online     vip-public
ctl-1 owes evidence: its BMC does not answer: power it off by hand, then `palisade node confirm-off ctl-1`

last failure (`palisade timeline` has its steps):
  22:13:20.000Z ctl-1 incident 2.2a: detect 500 agree 40; 540 ms

lately:
  22:13:20.100Z era      2.2a open
";
        assert_eq!(screen(&super::super::specimen(), &[entry()], false), expected);
    }

    #[test]
    fn what_runs_nowhere_and_a_lost_quorum_are_said_in_words_too() {
        let mut status = super::super::specimen();
        status.quorate = false;
        status.resources[0].instances[0].role = "Stopped".into();
        let text = screen(&status, &[], true);
        assert!(text.contains("no quorum") && text.contains("nowhere: vip-public"), "{text}");
        assert!(text.contains("\x1b[31m"), "in red");
        assert!(!screen(&status, &[], false).contains('\x1b'), "no codes outside of a terminal");
    }
}
