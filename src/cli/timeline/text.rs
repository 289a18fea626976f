//! A failure as text: one bar a phase, below each other in time.

use std::fmt;

use super::incident::Incident;
use crate::status::clock_time;

/// Columns of the bars.
const WIDTH: u64 = 40;

/// Prints the whole.
pub(super) struct Text<'a>(pub(super) &'a Incident);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Incident { seen_by, status, phases, entries } = self.0;
        let total = self.0.total_ms();
        writeln!(
            f,
            "{} was heard last at {} (incident {}, as {seen_by} saw it); {total} ms to the end of its failure\n",
            status.node,
            clock_time(status.at_ms),
            status.incident
        )?;
        for phase in phases {
            let column = |ms: u64| (ms * WIDTH).checked_div(total).unwrap_or(0);
            let begin = column(phase.begin_ms);
            let length = column(phase.begin_ms + phase.ms).saturating_sub(begin).max(1);
            let bar: String = (0..begin).map(|_| ' ').chain((0..length).map(|_| '█')).collect();
            let width = usize::try_from(WIDTH + 1).unwrap_or(0);
            writeln!(f, "  {:9}{:6} ms  {bar:width$} {}", phase.name, phase.ms, phase.what)?;
        }
        writeln!(f)?;
        for (at, entry) in entries {
            writeln!(f, "  {at:+7} ms  {:8} {}", entry.kind, entry.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_from_top_left_to_bottom_right() {
        let expected = "\
n1 was heard last at 22:13:20.000Z (incident 2.2a, as n2 saw it); 917 ms to the end of its failure

  detect      400 ms  █████████████████                         no token came: it was given up
  agree       130 ms                   ██████                   those who are left formed a ring and opened an era
  plan          5 ms                         █                  the coordinator decided what to do
  fence        12 ms                         █                  its BMC was told to cut the power
  verify      310 ms                         ██████████████     the power was read until it was off, and that is durable
  recover      60 ms                                       ███  what it ran runs elsewhere

     +402 ms  ring     the token was lost
     +540 ms  era      2.2a open <with & without>
";
        assert_eq!(Text(&super::super::incident::specimen()).to_string(), expected);
    }
}
