//! Makes a CIB that differs small: whatever can go without the difference going goes.

use super::compare::{self, Verdict};

const KEPT: [&str; 8] = [
    "cib",
    "configuration",
    "crm_config",
    "nodes",
    "resources",
    "constraints",
    "status",
    "cluster_property_set",
];

/// What is left when no element can be taken away any more.
pub(crate) fn smallest(text: &str, level: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let before = text.len();
        let mut at = 0;
        while let Some(smaller) = without(&text, at) {
            if differs(&smaller, level) {
                text = smaller;
            } else {
                at += 1;
            }
        }
        if text.len() == before {
            return text;
        }
    }
}

fn differs(text: &str, level: &str) -> bool {
    matches!(compare::judge(text), Verdict::Compared(found) if found.level() == Some(level))
}

/// The text without its `at`th element.
pub(crate) fn without(text: &str, at: usize) -> Option<String> {
    let xml = roxmltree::Document::parse(text).ok()?;
    let element = xml
        .descendants()
        .filter(|n| n.is_element() && !KEPT.contains(&n.tag_name().name()))
        .nth(at)?;
    let range = element.range();
    Some(format!("{}{}", &text[..range.start], text[range.end..].trim_start_matches('\n')))
}
