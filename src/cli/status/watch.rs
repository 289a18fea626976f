//! `palisade status --watch`: the cluster on one screen, drawn anew as it changes.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::Result;

use super::{
    clock_time,
    fold::fold,
    reach::Source,
    view::{Machine, Tone, View},
    write_incident,
};

/// Between two looks: a failover is over in less than a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Four lists each: an API server has other things to do.
const LOOK_AT_API_EVERY: Duration = Duration::from_secs(2);
/// Longest line; a terminal that is narrower cuts it, see [`CUT`].
const COLUMNS_MAX: usize = 160;

/// A line that is too long is cut by the terminal and not wrapped; while a screen is drawn only.
const CUT: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";
const CLEAR: &str = "\x1b[2J";

/// Until the person ends it. Where the output is no terminal: one screen below the other, when something changed.
pub(super) fn run(source: &Source<'_>) -> Result<()> {
    let every = if source.asks_api() { LOOK_AT_API_EVERY } else { LOOK_EVERY };
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    if terminal {
        write!(out, "{CLEAR}")?;
    }
    let mut shown = String::new();
    loop {
        let screen = match source.look() {
            Ok(view) if terminal => fold(&screen(&view, true)),
            Ok(view) => screen(&view, false),
            Err(error) => format!("nobody answers: {error:#}\n"),
        };
        if terminal {
            write!(out, "{}", over_the_old(&screen))?;
        } else if without_time(&screen) != without_time(&shown) {
            writeln!(out, "{screen}")?;
        }
        out.flush()?;
        shown = screen;
        std::thread::sleep(every);
    }
}

/// Each line at its own place over the old one: nothing flickers, and what is longer than the terminal meets in its last
/// row. It never scrolls, so the verdict at the top stays.
fn over_the_old(screen: &str) -> String {
    let mut out = String::from(CUT);
    for (row, line) in (1..).zip(screen.lines()) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\x1b[{row};1H{line}{REST_OF_LINE}");
    }
    out + REST_OF_SCREEN + WRAP
}

/// The first line has the time in it.
fn without_time(screen: &str) -> &str {
    screen.split_once('\n').map_or("", |(_, rest)| rest)
}

/// Never the only bearer of a meaning: the word stands there too.
fn paint(text: &str, tone: Tone, terminal: bool) -> String {
    if !terminal {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Good => 32,
        Tone::Bad => 31,
        Tone::Between => 33,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

fn screen(view: &View, terminal: bool) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = draw(&mut text, view, terminal);
    text
}

fn draw(out: &mut String, view: &View, terminal: bool) -> std::fmt::Result {
    let at = clock_time(view.at_ms);
    writeln!(out, "{}   {at}   as {} sees it", view.cluster, view.seen_by)?;
    match &view.trouble {
        Some(why) => writeln!(out, "{}", paint(why, Tone::Bad, terminal))?,
        None => {
            let well = paint("quorate, era open", Tone::Good, terminal);
            writeln!(out, "{well}, coordinated by {}", view.coordinator)?;
        }
    }
    writeln!(out, "ring {} {}: {}", view.ring, view.ring_state, view.members.join(" "))?;

    writeln!(out, "\n{:14} {:10} runs", "machine", "state")?;
    for machine in &view.machines {
        draw_machine(out, machine, terminal)?;
    }
    let nowhere = view.nowhere();
    if !nowhere.is_empty() {
        let line = format!("nowhere: {}", nowhere.join(" "));
        writeln!(out, "{}", paint(&line, Tone::Bad, terminal))?;
    }
    for resource in &view.resources {
        if let Some(reason) = &resource.reason {
            writeln!(out, "  {}: {reason}", resource.id)?;
        }
    }

    for line in &view.owes {
        writeln!(out, "{}", paint(line, Tone::Between, terminal))?;
    }
    for line in &view.fencing {
        writeln!(out, "{line}")?;
    }
    if let Some(incident) = &view.incident {
        writeln!(out, "\nlast failure (`palisade timeline` has its steps):")?;
        let mut line = String::new();
        write_incident(&mut line, incident)?;
        // The time of all before its parts: a line of 80 columns holds no more.
        match line
            .trim_end()
            .split_once(": ")
            .and_then(|(who, parts)| Some((who, parts.rsplit_once("; ")?)))
        {
            Some((who, (parts, total))) => writeln!(out, "{who}: {total}\n    {parts}")?,
            None => write!(out, "{line}")?,
        }
    }
    writeln!(out, "\nlately:")?;
    for entry in &view.lately {
        let line = format!("  {} {:8} {}", clock_time(entry.at_ms), entry.kind, entry.text);
        writeln!(out, "{}", line.chars().take(COLUMNS_MAX).collect::<String>())?;
    }
    Ok(())
}

fn draw_machine(out: &mut String, machine: &Machine, terminal: bool) -> std::fmt::Result {
    // Padded before it is painted: the codes have no width.
    let state = paint(&format!("{:10}", machine.state), machine.tone, terminal);
    let mut runs = machine.runs.join(" ");
    if let Some(reason) = &machine.reason {
        write!(runs, "{}[{reason}]", if runs.is_empty() { "" } else { "  " })?;
    }
    writeln!(out, "{:14} {state} {runs}", machine.name)
}

#[cfg(test)]
mod tests {
    use agent::local::TimelineEntry;

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
  22:13:20.000Z ctl-1 incident 2.2a: 540 ms
    detect 500 agree 40

lately:
  22:13:20.100Z era      2.2a open
";
        let view = View::new(&super::super::specimen(), vec![entry()]);
        assert_eq!(screen(&view, false), expected);
    }

    #[test]
    fn a_screen_that_is_longer_than_the_terminal_neither_wraps_nor_scrolls() {
        let drawn = over_the_old("title\nlast");
        assert_eq!(drawn, "\x1b[?7l\x1b[1;1Htitle\x1b[K\x1b[2;1Hlast\x1b[K\x1b[J\x1b[?7h");
        assert!(!drawn.contains('\n'), "a line feed in the last row scrolls");
    }

    #[test]
    fn what_runs_nowhere_and_a_lost_quorum_are_said_in_words_too() {
        let mut status = super::super::specimen();
        status.quorate = false;
        status.resources[0].instances[0].role = "Stopped".into();
        let view = View::new(&status, Vec::new());
        let text = screen(&view, true);
        assert!(text.contains("no quorum") && text.contains("nowhere: vip-public"), "{text}");
        assert!(text.contains("\x1b[31m"), "in red");
        assert!(!screen(&view, false).contains('\x1b'), "no codes outside of a terminal");
    }
}
