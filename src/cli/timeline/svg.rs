//! A failure as a picture: the same bars, without scripts and without anything from elsewhere.

use std::fmt;

use super::incident::Incident;
use crate::status::clock_time;

const WIDTH: u64 = 960;
/// Names and times stand left of the bars, words right of them.
const LEFT: u64 = 150;
const BARS: u64 = 420;
const ROW: u64 = 28;
const TOP: u64 = 64;

/// Prints the whole file.
pub(crate) struct Svg<'a>(pub(crate) &'a Incident);

impl fmt::Display for Svg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Incident { seen_by, status, phases, .. } = self.0;
        let total = self.0.total_ms();
        let height = TOP + ROW * phases.len() as u64 + 16;
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">"
        )?;
        writeln!(f, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
        let title = format!("{}: {total} ms from the last token to the end", status.node);
        writeln!(
            f,
            "<text x=\"16\" y=\"28\" font-size=\"17\" fill=\"#111111\">{}</text>",
            Escaped(&title)
        )?;
        let below = format!(
            "{}, incident {}, as {seen_by} saw it",
            clock_time(status.at_ms),
            status.incident
        );
        writeln!(f, "<text x=\"16\" y=\"48\" fill=\"#555555\">{}</text>", Escaped(&below))?;
        for (row, phase) in (0_u64..).zip(phases) {
            let scale = |ms: u64| (ms * BARS).checked_div(total).unwrap_or(0);
            let y = TOP + ROW * row;
            let begin = scale(phase.begin_ms);
            let length = scale(phase.begin_ms + phase.ms).saturating_sub(begin).max(2);
            let base = y + 18;
            writeln!(f, "<text x=\"16\" y=\"{base}\" fill=\"#111111\">{}</text>", phase.name)?;
            writeln!(
                f,
                "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\" fill=\"#111111\">{} ms</text>",
                LEFT - 12,
                phase.ms
            )?;
            writeln!(
                f,
                "<rect x=\"{}\" y=\"{}\" width=\"{length}\" height=\"{}\" rx=\"2\" fill=\"{}\"/>",
                LEFT + begin,
                y + 5,
                ROW - 10,
                colour(phase.name)
            )?;
            writeln!(
                f,
                "<text x=\"{}\" y=\"{base}\" fill=\"#555555\">{}</text>",
                LEFT + BARS + 12,
                Escaped(phase.what)
            )?;
        }
        writeln!(f, "</svg>")
    }
}

/// Before the power-off, the power-off, after it: three colours that differ in brightness too.
fn colour(phase: &str) -> &'static str {
    match phase {
        "detect" | "agree" | "plan" => "#1f4e79",
        "fence" | "verify" => "#c0392b",
        _ => "#4caf50",
    }
}

/// Text in XML and HTML.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_inside_follow_each_other_and_text_is_escaped() {
        let mut incident = super::super::incident::specimen();
        incident.status.node = "<n&1>".into();
        let svg = Svg(&incident).to_string();
        assert!(svg.contains("&lt;n&amp;1&gt;: 917 ms") && !svg.contains("<n&1>"), "{svg}");
        let bars: Vec<(u64, u64)> = svg
            .lines()
            .filter(|line| line.contains("rx="))
            .map(|line| {
                let number = |name: &str| {
                    let rest = line.split_once(&format!(" {name}=\"")).expect("there").1;
                    rest.split('"').next().expect("there").parse().expect("a number")
                };
                (number("x"), number("width"))
            })
            .collect();
        assert_eq!(bars.len(), 6);
        assert_eq!(bars[0].0, LEFT);
        assert!(bars.windows(2).all(|two| two[1].0 + 2 >= two[0].0 + two[0].1), "{bars:?}");
        assert!(bars.iter().all(|(x, width)| x + width <= LEFT + BARS + 2), "{bars:?}");
    }
}
