//! Lines for a terminal: none is longer than every terminal is wide, and what goes on does so further in.

/// Every terminal has so many columns; one with more shows the same.
pub(super) const COLUMNS: usize = 80;
/// Of what goes on, behind its line's own indentation.
const FURTHER: usize = 4;

/// Each line that is too long goes on in the next one, from a space on. A word that is longer than a line stays whole: a
/// name or a command is to be copied.
pub(super) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let whole = line.trim_end_matches('\n');
        if width(whole) <= COLUMNS {
            out.push_str(line);
            continue;
        }
        let indent = whole.len() - whole.trim_start_matches(' ').len();
        let further = " ".repeat((indent + FURTHER).min(COLUMNS / 2));
        // Columns of a table stay columns: what stands before the first word is kept as it is.
        let mut room = COLUMNS;
        let mut first = true;
        for word in words(whole) {
            let gap = word.len() - word.trim_start_matches(' ').len();
            let needs = width(word);
            if first || needs <= room {
                out.push_str(word);
                room = room.saturating_sub(needs);
            } else {
                out.push('\n');
                out.push_str(&further);
                out.push_str(&word[gap..]);
                room = COLUMNS.saturating_sub(further.len() + needs - gap);
            }
            first = false;
        }
        out.push_str(&line[whole.len()..]);
    }
    out
}

/// Words, each with the spaces before it.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut begin, mut in_word) = (0, false);
    for (at, c) in line.char_indices() {
        if c == ' ' && in_word {
            words.push(&line[begin..at]);
            begin = at;
        }
        in_word = c != ' ';
    }
    words.push(&line[begin..]);
    words
}

/// Columns: a colour has none.
fn width(text: &str) -> usize {
    let (mut columns, mut code) = (0, false);
    for c in text.chars() {
        match c {
            '\x1b' => code = true,
            'm' if code => code = false,
            _ => columns += usize::from(!code),
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_a_terminal_and_nothing_is_lost() {
        let long = format!(
            "short\n  ctl-1          incident 2.2a: {}\n\x1b[33m{}\x1b[0m\n",
            "its BMC does not answer: power it off by hand, then `palisade node confirm-off ctl-1`",
            "a warning in a colour ".repeat(8)
        );
        let folded = fold(&long);
        assert!(folded.lines().all(|line| width(line) <= COLUMNS), "{folded}");
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&folded), squeezed(&long));
        assert!(folded.starts_with("short\n  ctl-1          incident 2.2a: its BMC"), "{folded}");
        assert!(folded.contains("\n      "), "what goes on stands further in: {folded}");
    }

    #[test]
    fn a_line_that_fits_and_a_word_that_never_does_stay_as_they_are() {
        let exact = format!("{}\n", "x".repeat(COLUMNS));
        assert_eq!(fold(&exact), exact);
        let word = "y".repeat(COLUMNS + 5);
        assert_eq!(fold(&format!("a {word} b\n")), format!("a\n    {word}\n    b\n"));
        assert_eq!(fold("no line feed"), "no line feed");
    }
}
