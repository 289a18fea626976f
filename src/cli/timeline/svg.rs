//! A failure as a picture: the same bars, without scripts and without anything from elsewhere.

use std::fmt;

use super::incident::Incident;
use crate::status::clock_time;

/// How wide it is drawn. A picture is scaled as a whole, its words too: one for a wide sheet has words of 5 pixels on a
/// telephone.
#[derive(Clone, Copy, Debug)]
struct Form {
    width: u64,
    /// Names and times stand left of the bars.
    left: u64,
    bars: u64,
    row: u64,
    /// Words stand below their bar, not right of it; the line below the title is two.
    narrow: bool,
    /// Characters of a name that there is room for.
    name: usize,
}

const WIDE: Form = Form { width: 960, left: 150, bars: 420, row: 28, narrow: false, name: 60 };
const NARROW: Form = Form { width: 380, left: 130, bars: 234, row: 46, narrow: true, name: 14 };
const TOP: u64 = 64;

/// Prints the whole file.
pub(crate) struct Svg<'a>(pub(crate) &'a Incident);

/// The same for a narrow page: words below the bars.
pub(crate) struct NarrowSvg<'a>(pub(crate) &'a Incident);

impl fmt::Display for Svg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        draw(f, self.0, WIDE)
    }
}

impl fmt::Display for NarrowSvg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        draw(f, self.0, NARROW)
    }
}

fn draw(f: &mut fmt::Formatter<'_>, incident: &Incident, form: Form) -> fmt::Result {
    let Incident { seen_by, status, phases, .. } = incident;
    let Form { width, left, bars, row: high, narrow, name } = form;
    let total = incident.total_ms();
    let top = if narrow { TOP + 18 } else { TOP };
    let height = top + high * phases.len() as u64 + 16;
    writeln!(
        f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{}\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">",
        if narrow { "narrow" } else { "wide" }
    )?;
    writeln!(f, "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
    let title = format!("{}: {total} ms from the last token to the end", short(&status.node, name));
    let size = if narrow { 15 } else { 17 };
    words(f, 16, 28, "fill=\"#111111\"", &format!(" font-size=\"{size}\""), &title)?;
    let when = format!("{}, incident {}", clock_time(status.at_ms), status.incident);
    let who = format!("as {} saw it", short(seen_by, name));
    if narrow {
        words(f, 16, 48, "fill=\"#555555\"", "", &when)?;
        words(f, 16, 66, "fill=\"#555555\"", "", &who)?;
    } else {
        words(f, 16, 48, "fill=\"#555555\"", "", &format!("{when}, {who}"))?;
    }
    for (row, phase) in (0_u64..).zip(phases) {
        let scale = |ms: u64| (ms * bars).checked_div(total).unwrap_or(0);
        let y = top + high * row;
        let begin = scale(phase.begin_ms);
        let length = scale(phase.begin_ms + phase.ms).saturating_sub(begin).max(2);
        let base = y + 18;
        words(f, 16, base, "fill=\"#111111\"", "", phase.name)?;
        let ms = format!("{} ms", phase.ms);
        words(f, left - 12, base, "fill=\"#111111\"", " text-anchor=\"end\"", &ms)?;
        writeln!(
            f,
            "<rect x=\"{}\" y=\"{}\" width=\"{length}\" height=\"18\" rx=\"2\" fill=\"{}\"/>",
            left + begin,
            y + 5,
            colour(phase.name)
        )?;
        let (x, base) = if narrow { (16, base + 19) } else { (left + bars + 12, base) };
        words(f, x, base, "fill=\"#555555\"", "", phase.what)?;
    }
    writeln!(f, "</svg>")
}

fn words(
    f: &mut fmt::Formatter<'_>,
    x: u64,
    y: u64,
    fill: &str,
    more: &str,
    text: &str,
) -> fmt::Result {
    writeln!(f, "<text x=\"{x}\" y=\"{y}\"{more} {fill}>{}</text>", Escaped(text))
}

/// A name that is longer than there is room for: its beginning and its end, which tell it from its like.
fn short(name: &str, room: usize) -> String {
    let length = name.chars().count();
    if length <= room {
        return name.to_owned();
    }
    let head = room.saturating_sub(1) / 2;
    let tail = room.saturating_sub(1) - head;
    let begin: String = name.chars().take(head).collect();
    let end: String = name.chars().skip(length - tail).collect();
    format!("{begin}\u{2026}{end}")
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
        assert_eq!(bars[0].0, WIDE.left);
        assert!(bars.windows(2).all(|two| two[1].0 + 2 >= two[0].0 + two[0].1), "{bars:?}");
        assert!(bars.iter().all(|(x, width)| x + width <= WIDE.left + WIDE.bars + 2), "{bars:?}");
    }

    #[test]
    fn on_a_narrow_page_words_stand_below_and_long_names_keep_both_ends() {
        let mut incident = super::super::incident::specimen();
        incident.status.node = "controller-with-a-very-long-name-in-rack-17".into();
        incident.seen_by = "controller-with-a-very-long-name-in-rack-18".into();
        let svg = NarrowSvg(&incident).to_string();
        assert!(
            svg.contains("viewBox=\"0 0 380 ") && svg.contains("contro\u{2026}rack-17:"),
            "{svg}"
        );
        assert!(svg.contains("as contro\u{2026}rack-18 saw it"), "{svg}");
        assert_eq!(svg.matches("<text x=\"16\"").count(), 3 + 2 * incident.phases.len(), "{svg}");
        assert_eq!(short("n\u{e4}me", 4), "n\u{e4}me");
    }
}
