//! Nodes as they are, what ran where, what failed, what is under way, tickets.

use std::fmt::Write as _;

use super::{Draw, NOW};

/// Digest of no parameters at all.
const NO_PARAMETERS: &str = "f2317cad3d54cec5d7d7aa7d0bf35cf8";
/// Digest of a recurring operation's, which has a timeout, 20 s.
const ONLY_A_TIMEOUT: &str = "4811cef7f7f94e3a35a70be7916cb2fd";

/// How a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Online,
    Offline,
    Lost,
    Joining,
    Unseen,
}

pub(super) fn states(draw: &mut Draw) -> Vec<State> {
    let mut states = Vec::new();
    for at in 0..draw.nodes.len() {
        let state =
            if draw.about("nodes", 40) || draw.about("fencing", 30) || draw.about("locks", 40) {
                *draw.random.pick(&[State::Offline, State::Lost, State::Joining, State::Unseen])
            } else {
                State::Online
            };
        // somebody coordinates
        let state = if at == 0 { State::Online } else { state };
        if state != State::Unseen {
            draw.up.push(at);
        }
        states.push(state);
    }
    states
}

pub(super) fn section(draw: &mut Draw, states: &[State]) -> String {
    let mut text = tickets(draw);
    for (at, state) in states.iter().enumerate() {
        if *state == State::Unseen {
            continue;
        }
        let (member, crmd, join, expected) = match state {
            State::Offline => ("false", "offline", "down", "down"),
            State::Lost => ("false", "offline", "down", "member"),
            State::Joining => ("true", "online", "down", "member"),
            State::Online | State::Unseen => ("true", "online", "member", "member"),
        };
        let name = draw.nodes[at].clone();
        let attributes = attributes(draw, at, *state);
        let mut history = String::new();
        let known = *state != State::Offline || draw.random.percent(30);
        for which in 0..draw.primitives.len() {
            if known {
                history.push_str(&resource(draw, which, at));
            }
        }
        if known && draw.about("orphans", 60) {
            history.push_str(&orphan(draw));
        }
        let _ = writeln!(
            text,
            "<node_state id=\"{0}\" uname=\"{name}\" in_ccm=\"{member}\" crmd=\"{crmd}\" join=\"{join}\" expected=\"{expected}\">\n\
             {attributes}<lrm id=\"{0}\">\n<lrm_resources>\n{history}</lrm_resources>\n</lrm>\n</node_state>",
            at + 1
        );
    }
    text
}

fn tickets(draw: &mut Draw) -> String {
    let mut text = String::new();
    for ticket in ["t1", "t2"] {
        if draw.about("tickets", 80) {
            let (granted, standby) =
                (draw.pick(&["true", "false"]), draw.pick(&["true", "false", "false"]));
            let _ = writeln!(
                text,
                "<ticket_state id=\"{ticket}\" granted=\"{granted}\" standby=\"{standby}\" last-granted=\"{NOW}\"/>"
            );
        }
    }
    if text.is_empty() { text } else { format!("<tickets>\n{text}</tickets>\n") }
}

fn attributes(draw: &mut Draw, at: usize, state: State) -> String {
    let mut inside = String::new();
    for which in 0..draw.primitives.len() {
        let id = draw.primitives[which].id.clone();
        if draw.primitives[which].promotable && state == State::Online && draw.random.percent(60) {
            let value = draw.pick(&["10", "5", "100", "-1", "1"]);
            draw.option(&mut inside, &format!("master-{id}"), value);
        }
        if draw.about("failures", 20) {
            let value = draw.pick(&["1", "3", "INFINITY"]);
            let operation = draw.pick(&["monitor_10000", "start_0", "stop_0"]);
            draw.option(&mut inside, &format!("fail-count-{id}#{operation}"), value);
            let when = NOW - i64::try_from(draw.random.below(200)).unwrap_or(0);
            draw.option(&mut inside, &format!("last-failure-{id}#{operation}"), &when.to_string());
        }
    }
    if draw.about("nodes", 15) || draw.about("locks", 30) {
        draw.option(&mut inside, "shutdown", &(NOW - 30).to_string());
    }
    if draw.about("nodes", 10) {
        draw.option(&mut inside, "standby", "on");
    }
    let set = draw.set("instance_attributes", &inside);
    if set.is_empty() {
        set
    } else {
        format!("<transient_attributes id=\"{}\">\n{set}</transient_attributes>\n", at + 1)
    }
}

fn resource(draw: &mut Draw, which: usize, at: usize) -> String {
    let drawn = &draw.primitives[which];
    let (cloned, promotable, copies) = (drawn.cloned, drawn.promotable, drawn.copies);
    let (class, mut id) = (drawn.class, drawn.id.clone());
    if let Some(copies) = copies {
        id = format!("{id}:{}", draw.random.below(copies));
    }
    // one that is not a clone runs on one node, the same for all members of a group more often than not
    let home = draw.up[id.len() % draw.up.len()];
    let here = match (draw.about("multiple", 50), cloned) {
        (true, _) => true,
        (_, true) => draw.random.percent(60),
        (_, false) => at == home && draw.random.percent(75),
    };
    let mut ops = Vec::new();
    let mut call = 0;
    let mut op = |name: &str, interval: u32, wanted: u8, code: u8, status: i8, age: i64| {
        call += 1;
        let when = NOW - age;
        let call = if status == -1 { -1 } else { call };
        let last = match (code != wanted && status > 0, interval) {
            (true, _) => "last_failure_0".to_owned(),
            (false, 0) => "last_0".to_owned(),
            (false, _) => format!("{name}_{interval}"),
        };
        // of what does not recur the last is kept
        ops.retain(|(id, _): &(String, String)| last != "last_0" || *id != last);
        let mut text = String::new();
        let uuid = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
        let _ = writeln!(
            text,
            "<lrm_rsc_op id=\"{id}_{last}\" operation_key=\"{id}_{name}_{interval}\" operation=\"{name}\" \
             crm_feature_set=\"3.16.1\" transition-key=\"1:1:{wanted}:{uuid}\" \
             transition-magic=\"{status}:{code};1:1:{wanted}:{uuid}\" call-id=\"{call}\" rc-code=\"{code}\" \
             op-status=\"{status}\" interval=\"{interval}\" last-rc-change=\"{when}\" op-digest=\"{}\"/>",
            if interval == 0 { NO_PARAMETERS } else { ONLY_A_TIMEOUT }
        );
        ops.push((last, text));
    };
    if !here && draw.random.percent(25) {
        return String::new();
    }
    if here {
        op("start", 0, 0, 0, 0, 500);
        let promoted = promotable && draw.random.percent(35);
        if promoted {
            op("promote", 0, 0, 0, 0, 400);
        }
        let (watch, fine) = if promoted { (11000, 8) } else { (10000, 0) };
        if draw.random.percent(80) && class != "stonith" {
            op("monitor", watch, fine, fine, 0, 300);
        }
        if draw.about("operations", 25) {
            op("monitor", 15000, 0, 0, 0, 300);
        }
        if draw.about("failures", 40) || draw.random.percent(4) {
            match draw.random.below(7) {
                0 => op("stop", 0, 0, 1, 4, 50),
                1 => op("monitor", watch, fine, 7, 4, 50),
                2 => op("monitor", watch, fine, 1, 4, 90),
                3 => op("start", 0, 0, *draw.random.pick(&[1, 5, 6, 2]), 4, 90),
                4 if promotable => op("monitor", watch, fine, if promoted { 0 } else { 8 }, 4, 20),
                5 if promotable => op("monitor", watch, fine, 9, 4, 20),
                6 if promoted => op("demote", 0, 0, 1, 4, 20),
                5 => op("stop", 0, 0, 1, 2, 50),
                _ => op("monitor", watch, fine, 1, 2, 20),
            }
        }
        if draw.about("pending", 40) {
            match draw.random.below(4) {
                0 => op("stop", 0, 0, 193, -1, 5),
                1 => op("start", 0, 0, 193, -1, 5),
                2 if promotable => op("promote", 0, 0, 193, -1, 5),
                2 | 3 if promotable => op("demote", 0, 0, 193, -1, 5),
                _ => op("monitor", 12000, 0, 193, -1, 5),
            }
        }
    } else {
        match draw.random.below(10) {
            0..=6 => op("monitor", 0, 7, 7, 0, 600),
            7 | 8 => op("stop", 0, 0, 0, 0, 600),
            _ if draw.about("failures", 50) => {
                op("monitor", 0, 7, *draw.random.pick(&[1, 5, 6]), 4, 90);
            }
            _ if draw.about("pending", 60) => op("monitor", 0, 7, 193, -1, 5),
            _ => op("monitor", 0, 7, 7, 0, 600),
        }
    }
    // on its way to the next node, which may have taken it over
    let next =
        draw.up[(draw.up.iter().position(|up| *up == home).unwrap_or(0) + 1) % draw.up.len()];
    if !cloned && next != home && (here || at == next) && draw.about("migration", 50) {
        let name = if here { "migrate_to" } else { "migrate_from" };
        match draw.random.below(5) {
            0..=2 => op(name, 0, 0, 0, 0, if here { 40 } else { 30 }),
            3 => op(name, 0, 0, 1, 4, if here { 40 } else { 30 }),
            _ => op(name, 0, 0, 193, -1, if here { 40 } else { 30 }),
        }
        let (source, target) = (&draw.nodes[home], &draw.nodes[next]);
        let sides = format!(" migrate_source=\"{source}\" migrate_target=\"{target}\"/>");
        if let Some((_, text)) = ops.last_mut() {
            *text = text.replace("/>", &sides);
        }
    }
    let agent = match (class, promotable) {
        ("stonith", _) => "type=\"fence_xvm\" class=\"stonith\"",
        (_, true) => "type=\"Stateful\" class=\"ocf\" provider=\"pacemaker\"",
        (_, false) => "type=\"Dummy\" class=\"ocf\" provider=\"pacemaker\"",
    };
    let ops: String = ops.into_iter().map(|(_, text)| text).collect();
    format!("<lrm_resource id=\"{id}\" {agent}>\n{ops}</lrm_resource>\n")
}

/// The history of something that is not configured any more.
fn orphan(draw: &mut Draw) -> String {
    let (id, code) = (draw.pick(&["o1", "o2", "q9:0", "q9:1"]), draw.pick(&["0", "0", "7"]));
    let name = if code == "0" { "start" } else { "monitor" };
    format!(
        "<lrm_resource id=\"{id}\" type=\"Dummy\" class=\"ocf\" provider=\"pacemaker\">\
         <lrm_rsc_op id=\"{id}_last_0\" operation_key=\"{id}_{name}_0\" operation=\"{name}\" crm_feature_set=\"3.16.1\" \
         transition-key=\"1:1:0:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa\" \
         transition-magic=\"0:{code};1:1:0:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa\" call-id=\"1\" \
         rc-code=\"{code}\" op-status=\"0\" interval=\"0\" last-rc-change=\"{}\" exec-time=\"0\" queue-time=\"0\"/></lrm_resource>\n",
        NOW - 900
    )
}
