//! What can be said of a file without parsing it: how deep, how many, and inside of which element a place is.

use roxmltree::TextPos;

use crate::document::{DEPTH_MAX, ELEMENTS_MAX, Error};

/// Characters of a name or id in an error.
const NAME_MAX: usize = 80;

/// The tags up to some place. Text inside of CDATA can only make it count too much of what no CIB contains.
struct Outline {
    /// Where the tags begin that are open.
    open: Vec<usize>,
    /// Elements, comments and texts so far.
    nodes: u32,
}

impl Outline {
    /// Walks up to `end`, or up to the first place where a limit is passed; gives that place.
    fn walk(text: &str, end: usize) -> (Self, usize) {
        let mut outline = Self { open: Vec::new(), nodes: 0 };
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < end && outline.is_within() {
            let next = bytes.get(at + 1).copied();
            match (bytes[at], next) {
                (b'<', Some(b'/')) => {
                    outline.open.pop();
                }
                (b'<', Some(b'!' | b'?') | None) => {
                    outline.nodes += 1;
                    if bytes[at..].starts_with(b"<!--") {
                        let close = text.get(at + 4..).and_then(|rest| rest.find("-->"));
                        at = close.map_or(end, |offset| at + 4 + offset);
                    }
                }
                (b'<', Some(_)) => {
                    outline.nodes += 1;
                    let close = tag_end(&bytes[..end], at);
                    if bytes.get(close) != Some(&b'>') || bytes[close - 1] != b'/' {
                        outline.open.push(at);
                    }
                    // of what comes after the tag its end tells
                    at = close - 1;
                }
                (b'>', Some(next)) if next != b'<' => outline.nodes += 1,
                _ => {}
            }
            at += 1;
        }
        (outline, at.min(end))
    }

    fn is_within(&self) -> bool {
        self.open.len() <= DEPTH_MAX && self.nodes <= ELEMENTS_MAX
    }
}

/// Where a tag ends, values in quotes left out, or the next one begins, or the text ends.
fn tag_end(bytes: &[u8], tag: usize) -> usize {
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate().skip(tag + 1) {
        match (quote, *byte) {
            (None, b'>' | b'<') => return at,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    bytes.len()
}

/// Refuses what nests too deep or has too many parts, so that no parser meets it.
pub(crate) fn check(text: &str) -> Result<(), Error> {
    let (outline, at) = Outline::walk(text, text.len());
    if outline.is_within() {
        return Ok(());
    }
    let message = if outline.open.len() > DEPTH_MAX {
        format!("elements nest deeper than {DEPTH_MAX}; this is no CIB")
    } else {
        format!("more than {ELEMENTS_MAX} elements and texts up to here; this is no CIB")
    };
    Err(error(text, at, message))
}

/// An error at a place, with the innermost element that is open there.
pub(crate) fn error(text: &str, at: usize, message: String) -> Error {
    let before = text.get(..at).unwrap_or(text);
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    let (outline, _) = Outline::walk(text, before.len());
    let element = outline.open.last().map_or_else(|| "cib".to_owned(), |tag| name(text, *tag));
    Error { line: small(line), column: small(column), element, message }
}

/// The place in bytes of a line and column.
pub(crate) fn offset(text: &str, at: TextPos) -> usize {
    let rows = usize::try_from(at.row).unwrap_or(usize::MAX).saturating_sub(1);
    let mut starts = core::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1));
    let Some(start) = starts.nth(rows) else { return text.len() };
    let columns = usize::try_from(at.col).unwrap_or(usize::MAX).saturating_sub(1);
    let rest = text.get(start..).unwrap_or_default();
    rest.char_indices().nth(columns).map_or(text.len(), |(column, _)| start + column)
}

/// What an opening tag is called, with its id where that can be read.
fn name(text: &str, tag: usize) -> String {
    let tag = text.get(tag + 1..).unwrap_or_default();
    let tag = tag.split(['>', '<']).next().unwrap_or_default();
    let short = |text: &str| text.chars().take(NAME_MAX).collect::<String>();
    let is_name = |c: char| c.is_alphanumeric() || "_-.:".contains(c);
    let end = tag.find(|c| !is_name(c)).unwrap_or(tag.len());
    let (name, rest) = tag.split_at(end);
    let id = rest.split_once(" id=\"").and_then(|(_, rest)| rest.split_once('"'));
    match id {
        Some((id, _)) => format!("{} id={:?}", short(name), short(id)),
        None => short(name),
    }
}
