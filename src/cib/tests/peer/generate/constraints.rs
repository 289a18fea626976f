//! Locations, colocations, orders, sets, tickets, rules.

use std::fmt::Write as _;

use super::{Draw, NOW};

const SCORES: [&str; 6] = ["INFINITY", "-INFINITY", "100", "-100", "10", "0"];

pub(super) fn section(draw: &mut Draw) -> String {
    let mut text = String::new();
    for _ in 0..draw.random.below(3) {
        text.push_str(&location(draw));
    }
    for _ in 0..draw.random.below(3) {
        text.push_str(&colocation(draw));
    }
    for _ in 0..draw.random.below(4) {
        text.push_str(&order(draw));
    }
    for _ in 0..2 {
        if draw.about("sets", 60) {
            text.push_str(&set(draw));
        }
        if draw.about("tickets", 70) {
            text.push_str(&ticket(draw));
        }
    }
    text
}

fn top(draw: &mut Draw) -> usize {
    let count = draw.tops.len();
    draw.random.below(count)
}

/// A name for a constraint: now and then the tag.
fn name(draw: &mut Draw, at: usize) -> String {
    if draw.about("names", 25) { "pair".to_owned() } else { draw.tops[at].id.clone() }
}

/// Two different ones, in either order.
fn two(draw: &mut Draw) -> (usize, usize) {
    let (a, count) = (top(draw), draw.tops.len());
    (a, (a + 1 + draw.random.below(count - 1)) % count)
}

fn location(draw: &mut Draw) -> String {
    let (id, at) = (draw.id(), top(draw));
    let mut resource = format!("rsc=\"{}\"", name(draw, at));
    if draw.about("names", 15) {
        resource = "rsc-pattern=\"^[pc][0-2]\"".to_owned();
    }
    let mut more = String::new();
    if draw.about("probes", 60) {
        let value = draw.pick(&["always", "never", "exclusive"]);
        let _ = write!(more, " resource-discovery=\"{value}\"");
    }
    if draw.tops[at].promotable && draw.random.percent(30) {
        let role = draw.pick(&["Promoted", "Unpromoted", "Started"]);
        let _ = write!(more, " role=\"{role}\"");
    }
    let score = draw.pick(&SCORES);
    if draw.about("rules", 70) || draw.random.percent(10) {
        let rule = rule(draw, score);
        return format!("<rsc_location id=\"{id}\" {resource}>{rule}</rsc_location>\n");
    }
    let count = draw.nodes.len();
    let node = draw.nodes[draw.random.below(count)].clone();
    format!("<rsc_location id=\"{id}\" {resource} node=\"{node}\" score=\"{score}\"{more}/>\n")
}

fn rule(draw: &mut Draw, score: &str) -> String {
    let id = draw.id();
    let score = match draw.about("rules", 15) {
        true => "score-attribute=\"size\"".to_owned(),
        false => format!("score=\"{score}\""),
    };
    let operation = draw.pick(&["and", "or"]);
    let parts: String = (0..=draw.random.below(2)).map(|_| expression(draw)).collect();
    format!("<rule id=\"{id}\" {score} boolean-op=\"{operation}\">{parts}</rule>")
}

fn expression(draw: &mut Draw) -> String {
    let id = draw.id();
    if draw.about("rules", 30) {
        return date(draw);
    }
    if draw.about("rules", 40) {
        let operation = draw.pick(&["lt", "gt", "lte", "gte", "eq", "ne"]);
        let kind = draw.pick(&[
            "",
            " type=\"number\"",
            " type=\"string\"",
            " type=\"version\"",
            " type=\"integer\"",
        ]);
        let value = draw.pick(&["2", "2.5", "9", "-3"]);
        return format!(
            "<expression id=\"{id}\" attribute=\"size\" operation=\"{operation}\" value=\"{value}\"{kind}/>"
        );
    }
    let attribute = draw.pick(&["zone", "#uname", "none"]);
    match draw.random.below(4) {
        0 => format!("<expression id=\"{id}\" attribute=\"{attribute}\" operation=\"defined\"/>"),
        1 => {
            format!("<expression id=\"{id}\" attribute=\"{attribute}\" operation=\"not_defined\"/>")
        }
        _ => {
            let (operation, value) = (draw.pick(&["eq", "ne"]), draw.pick(&["a", "b", "n1", "n2"]));
            format!(
                "<expression id=\"{id}\" attribute=\"{attribute}\" operation=\"{operation}\" value=\"{value}\"/>"
            )
        }
    }
}

fn date(draw: &mut Draw) -> String {
    let id = draw.id();
    // the dates below stand around 2023-11-14 22:13:20 UTC, a Tuesday
    const { assert!(NOW == 1_700_000_000) };
    match draw.random.below(4) {
        0 => {
            let start = draw.pick(&[
                "2023-11-14 00:00:00Z",
                "2023-11-15 00:00:00Z",
                "2023-318",
                "2023-W46-1",
            ]);
            format!("<date_expression id=\"{id}\" operation=\"gt\" start=\"{start}\"/>")
        }
        1 => {
            let end = draw.pick(&["2023-11-14 22:13:21Z", "2023-11-14 22:13:20Z", "2024-01-01"]);
            format!("<date_expression id=\"{id}\" operation=\"lt\" end=\"{end}\"/>")
        }
        2 => {
            let duration =
                draw.pick(&["months=\"1\"", "hours=\"22\"", "days=\"14\"", "weeks=\"2\""]);
            format!(
                "<date_expression id=\"{id}\" operation=\"in_range\" start=\"2023-11-01 00:00:00Z\">\
                 <duration id=\"{id}-d\" {duration}/></date_expression>"
            )
        }
        _ => {
            let spec = draw.pick(&[
                "hours=\"22\"",
                "hours=\"9-17\"",
                "weekdays=\"2\"",
                "monthdays=\"1-13\"",
                "months=\"11\" years=\"2023\"",
                "weeks=\"46\"",
                "yeardays=\"300-\"",
            ]);
            format!(
                "<date_expression id=\"{id}\" operation=\"date_spec\"><date_spec id=\"{id}-d\" {spec}/></date_expression>"
            )
        }
    }
}

/// A rule for options, which know types of resources and dates only.
pub(super) fn option_rule(draw: &mut Draw) -> String {
    let id = draw.id();
    let part = if draw.random.percent(50) {
        let agent = draw.pick(&["Dummy", "Stateful"]);
        format!(
            "<rsc_expression id=\"{id}-r\" class=\"ocf\" provider=\"pacemaker\" type=\"{agent}\"/>"
        )
    } else {
        date(draw)
    };
    format!("<rule id=\"{id}\" score=\"INFINITY\" boolean-op=\"and\">{part}</rule>\n")
}

fn colocation(draw: &mut Draw) -> String {
    let (id, (a, b)) = (draw.id(), two(draw));
    let (rsc, with) = (name(draw, a), name(draw, b));
    let mut more = String::new();
    for (at, attribute) in [(a, "rsc-role"), (b, "with-rsc-role")] {
        let often = draw.about("roles", 50) || draw.random.percent(15);
        if draw.tops[at].promotable && often {
            let role = draw.pick(&["Promoted", "Unpromoted", "Started"]);
            let _ = write!(more, " {attribute}=\"{role}\"");
        }
    }
    if draw.about("sets", 25) {
        let value = draw.pick(&["true", "false"]);
        let _ = write!(more, " influence=\"{value}\"");
    }
    if draw.about("sets", 15) {
        more.push_str(" node-attribute=\"zone\"");
    }
    let score = draw.pick(&SCORES);
    format!(
        "<rsc_colocation id=\"{id}\" rsc=\"{rsc}\" with-rsc=\"{with}\" score=\"{score}\"{more}/>\n"
    )
}

fn order(draw: &mut Draw) -> String {
    let (id, (a, b)) = (draw.id(), two(draw));
    let (first, then) = (name(draw, a), name(draw, b));
    let mut more = String::new();
    for (at, attribute) in [(a, "first-action"), (b, "then-action")] {
        if draw.about("roles", 50) || draw.random.percent(15) {
            let actions: &[&str] = match draw.tops[at].promotable {
                true => &["start", "stop", "promote", "demote"],
                false => &["start", "stop"],
            };
            let action = draw.pick(actions);
            let _ = write!(more, " {attribute}=\"{action}\"");
        }
    }
    if draw.random.percent(25) {
        more.push_str(" symmetrical=\"false\"");
    }
    if draw.tops[a].clone && draw.about("copies", 20) {
        more.push_str(" require-all=\"false\"");
    }
    let kind = draw.pick(&["Mandatory", "Mandatory", "Optional", "Serialize"]);
    if kind == "Serialize" {
        more = more.replace(" symmetrical=\"false\"", "");
    }
    format!("<rsc_order id=\"{id}\" first=\"{first}\" then=\"{then}\" kind=\"{kind}\"{more}/>\n")
}

fn set(draw: &mut Draw) -> String {
    let id = draw.id();
    let kind = draw.random.below(3);
    let mut sets = String::new();
    let mut at = 0;
    while at < draw.tops.len() {
        let size = 1 + draw.random.below(3);
        let members: Vec<usize> = (at..(at + size).min(draw.tops.len())).collect();
        at += size;
        let mut more = String::new();
        if draw.random.percent(40) && kind != 2 {
            let value = draw.pick(&["true", "false"]);
            let _ = write!(more, " sequential=\"{value}\"");
        }
        if kind == 1 && draw.random.percent(40) {
            let value = draw.pick(&["true", "false"]);
            let _ = write!(more, " require-all=\"{value}\"");
        }
        let promotable = members.iter().all(|at| draw.tops[*at].promotable);
        if promotable && draw.random.percent(50) {
            more.push_str(match kind {
                1 => " action=\"promote\"",
                _ => " role=\"Promoted\"",
            });
        }
        let references: String = members
            .iter()
            .map(|at| format!("<resource_ref id=\"{}\"/>", draw.tops[*at].id))
            .collect();
        let number = draw.id();
        let _ = writeln!(sets, "<resource_set id=\"{number}\"{more}>{references}</resource_set>");
    }
    match kind {
        0 => {
            let score = draw.pick(&SCORES);
            format!("<rsc_colocation id=\"{id}\" score=\"{score}\">\n{sets}</rsc_colocation>\n")
        }
        1 => {
            let kind = draw.pick(&["Mandatory", "Optional", "Serialize"]);
            let symmetrical = draw.pick(&["", " symmetrical=\"false\""]);
            let symmetrical = if kind == "Serialize" { "" } else { symmetrical };
            format!("<rsc_order id=\"{id}\" kind=\"{kind}\"{symmetrical}>\n{sets}</rsc_order>\n")
        }
        _ => {
            let (score, node) = (draw.pick(&SCORES), draw.nodes[0].clone());
            format!(
                "<rsc_location id=\"{id}\" node=\"{node}\" score=\"{score}\">\n{sets}</rsc_location>\n"
            )
        }
    }
}

fn ticket(draw: &mut Draw) -> String {
    let (id, at) = (draw.id(), top(draw));
    let mut more = String::new();
    if draw.tops[at].promotable && draw.random.percent(50) {
        more.push_str(" rsc-role=\"Promoted\"");
    }
    let policy = draw.pick(&["stop", "demote", "freeze", "fence"]);
    let policy = if more.is_empty() && policy == "demote" { "stop" } else { policy };
    let (ticket, rsc) = (draw.pick(&["t1", "t2"]), draw.tops[at].id.clone());
    format!(
        "<rsc_ticket id=\"{id}\" rsc=\"{rsc}\" ticket=\"{ticket}\" loss-policy=\"{policy}\"{more}/>\n"
    )
}
