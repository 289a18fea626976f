//! Cases of the suite with a few random changes: what real CIBs look like, and no case that anybody has seen.

use std::{env, fs, path::PathBuf};

use super::{random::Random, shrink};

fn folder() -> Option<PathBuf> {
    let folder = env::var_os("PALISADE_SCHEDULER_SUITE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/scheduler-suite")),
        PathBuf::from,
    );
    Some(folder.join("xml")).filter(|xml| xml.is_dir())
}

fn files() -> Option<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()?).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    Some(files)
}

/// How many cases there are; `None` without the suite.
pub(crate) fn cases() -> Option<usize> {
    files().map(|files| files.len())
}

/// Whether a case has nodes that are reached by a connection.
fn is_remote(text: &str) -> bool {
    ["type=\"remote\"", "name=\"remote-node\"", "<bundle "].iter().any(|part| text.contains(part))
}

/// A case and one to three changes; one about remote nodes, guests or bundles if only those are wanted.
pub(crate) fn cib(seed: u64, only_remote: bool) -> Option<String> {
    let mut random = Random::new(seed);
    let files = files()?;
    let mut text = fs::read_to_string(random.pick(&files)).ok()?;
    while only_remote && !is_remote(&text) {
        text = fs::read_to_string(random.pick(&files)).ok()?;
    }
    for _ in 0..=random.below(3) {
        text = changed(&text, &mut random).unwrap_or(text);
    }
    Some(text)
}

/// Attributes that are given another value of their kind.
const OTHERS: [(&str, &[&str]); 14] = [
    ("score", &["INFINITY", "-INFINITY", "100", "-100", "0", "10"]),
    ("kind", &["Mandatory", "Optional", "Serialize"]),
    ("symmetrical", &["true", "false"]),
    ("sequential", &["true", "false"]),
    ("require-all", &["true", "false"]),
    ("crmd", &["online", "offline"]),
    ("join", &["member", "down", "pending"]),
    ("in_ccm", &["true", "false"]),
    ("have-quorum", &["true", "false"]),
    ("rc-code", &["0", "1", "7", "8"]),
    ("op-status", &["0", "4", "2"]),
    ("influence", &["true", "false"]),
    ("granted", &["true", "false"]),
    ("loss-policy", &["stop", "demote", "freeze", "fence"]),
];

/// Options by their name.
const OPTIONS: [(&str, &[&str]); 20] = [
    ("no-quorum-policy", &["stop", "freeze", "ignore", "demote"]),
    ("resource-stickiness", &["0", "1", "100", "INFINITY"]),
    ("target-role", &["Started", "Stopped", "Unpromoted", "Promoted"]),
    ("interleave", &["true", "false"]),
    ("ordered", &["true", "false"]),
    ("notify", &["true", "false"]),
    ("clone-max", &["1", "2", "3"]),
    ("clone-node-max", &["1", "2"]),
    ("clone-min", &["1", "2"]),
    ("promoted-max", &["0", "1", "2"]),
    ("is-managed", &["true", "false"]),
    ("migration-threshold", &["1", "3", "INFINITY"]),
    ("symmetric-cluster", &["true", "false"]),
    ("globally-unique", &["true", "false"]),
    ("standby", &["on", "off"]),
    ("maintenance", &["true", "false"]),
    ("priority", &["0", "10", "-1"]),
    ("multiple-active", &["stop_start", "stop_only", "block", "stop_unexpected"]),
    ("fencing-enabled", &["true", "false"]),
    ("start-failure-is-fatal", &["true", "false"]),
];

fn changed(text: &str, random: &mut Random) -> Option<String> {
    if random.percent(25) {
        let count = text.matches('<').count();
        return shrink::without(text, random.below(count / 2));
    }
    let xml = roxmltree::Document::parse(text).ok()?;
    let mut places: Vec<(std::ops::Range<usize>, &[&str])> = Vec::new();
    for element in xml.descendants().filter(roxmltree::Node::is_element) {
        if element.has_tag_name("nvpair") {
            let name = element.attribute("name").unwrap_or_default();
            let values = OPTIONS.iter().find(|(option, _)| *option == name).map(|(_, v)| *v);
            let value = element.attribute_node("value");
            if let (Some(values), Some(value)) = (values, value) {
                places.push((value.range_value(), values));
            }
            continue;
        }
        for attribute in element.attributes() {
            if let Some((_, values)) = OTHERS.iter().find(|(name, _)| *name == attribute.name()) {
                places.push((attribute.range_value(), values));
            }
        }
    }
    let (range, values) = random.pick(&places).clone();
    let value = random.pick(values);
    Some(format!("{}{value}{}", &text[..range.start], &text[range.end..]))
}
