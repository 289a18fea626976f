//! The transition as a picture: rounds from left to right, one lane per node, an arrow for each order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use policy::{
    Plan,
    plan::{Action, Task},
};

use super::{label, rounds};

const BOX_WIDTH: usize = 190;
const BOX_HEIGHT: usize = 30;
const GAP_X: usize = 56;
const GAP_Y: usize = 10;
const LANE_NAME_WIDTH: usize = 120;
const MARGIN: usize = 16;
/// Characters that fit into a box.
const LABEL_MAX: usize = 27;

/// Pure ordering points are left out; what waits for one is drawn as waiting for what comes before it.
pub(crate) fn svg(plan: &Plan) -> String {
    let round = compressed_rounds(plan);
    let lanes = lanes(plan);
    // boxes of one lane and one round are stacked
    let mut stacked: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut slot = vec![0; plan.actions.len()];
    for (id, action) in shown(plan) {
        let used = stacked.entry((lane(&lanes, action), round[id])).or_default();
        slot[id] = *used;
        *used += 1;
    }
    let mut tops = vec![MARGIN + 24];
    for at in 0..lanes.len() {
        let most =
            stacked.iter().filter(|((l, _), _)| *l == at).map(|(_, n)| *n).max().unwrap_or(1);
        tops.push(tops[at] + most.max(1) * (BOX_HEIGHT + GAP_Y) + GAP_Y);
    }
    let last = shown(plan).map(|(id, _)| round[id]).max().unwrap_or(0);
    let width = MARGIN * 2 + LANE_NAME_WIDTH + (last + 1) * (BOX_WIDTH + GAP_X);
    let height = tops[lanes.len()] + MARGIN;
    let place = |id: usize, action: &Action| {
        let x = MARGIN + LANE_NAME_WIDTH + round[id] * (BOX_WIDTH + GAP_X);
        let y = tops[lane(&lanes, action)] + GAP_Y + slot[id] * (BOX_HEIGHT + GAP_Y);
        (x, y)
    };

    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#667\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    );
    for at in 0..=last {
        let x = MARGIN + LANE_NAME_WIDTH + at * (BOX_WIDTH + GAP_X);
        let _ =
            writeln!(out, "<text x=\"{x}\" y=\"{}\" fill=\"#99a\">{}</text>", MARGIN + 8, at + 1);
    }
    for (at, name) in lanes.iter().enumerate() {
        let (top, bottom) = (tops[at], tops[at + 1]);
        let fill = if at % 2 == 0 { "#f4f6fa" } else { "#fff" };
        let _ = writeln!(
            out,
            "<rect x=\"{MARGIN}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"/>\
             <text x=\"{}\" y=\"{}\" font-weight=\"bold\">{}</text>",
            width - 2 * MARGIN,
            bottom - top,
            MARGIN + 8,
            top + 28,
            escape(name, 16)
        );
    }
    for (before, after) in visible_edges(plan) {
        let (x1, y1) = place(before, &plan.actions[before]);
        let (x2, y2) = place(after, &plan.actions[after]);
        let (x1, y1, y2) = (x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2);
        let bend = GAP_X / 2;
        let _ = writeln!(
            out,
            "<path d=\"M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#667\" marker-end=\"url(#tip)\"/>",
            x1 + bend,
            x2.saturating_sub(bend)
        );
    }
    for (id, action) in shown(plan) {
        let (x, y) = place(id, action);
        let dash = if action.implied { " stroke-dasharray=\"4 3\"" } else { "" };
        let _ = writeln!(
            out,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"5\" \
             fill=\"{}\" stroke=\"#445\"{dash}/><text x=\"{}\" y=\"{}\">{}</text></g>",
            escape(&label(action), 200),
            colour(&action.task),
            x + 8,
            y + 19,
            escape(&label(action), LABEL_MAX)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn colour(task: &Task) -> &'static str {
    match task {
        Task::Fence { .. } => "#ffc9c4",
        Task::Stop | Task::Demote | Task::Shutdown => "#ffe7c2",
        Task::Start | Task::Promote | Task::Unfence => "#cdeccd",
        Task::MigrateTo { .. } | Task::MigrateFrom { .. } | Task::Reload => "#d3e4ff",
        _ => "#eceef2",
    }
}

fn shown(plan: &Plan) -> impl Iterator<Item = (usize, &Action)> {
    plan.actions.iter().enumerate().filter(|(_, a)| !matches!(a.task, Task::Sync(_)))
}

fn lanes(plan: &Plan) -> Vec<String> {
    let names: BTreeSet<&str> =
        shown(plan).map(|(_, a)| a.node.as_deref().unwrap_or("cluster")).collect();
    names.into_iter().map(str::to_owned).collect()
}

fn lane(lanes: &[String], action: &Action) -> usize {
    let name = action.node.as_deref().unwrap_or("cluster");
    lanes.iter().position(|l| l == name).unwrap_or(0)
}

/// Rounds without gaps where nothing but ordering points lies.
fn compressed_rounds(plan: &Plan) -> Vec<usize> {
    let round = rounds(plan);
    let used: BTreeSet<usize> = shown(plan).map(|(id, _)| round[id]).collect();
    round.iter().map(|r| used.iter().filter(|u| *u < r).count()).collect()
}

/// Orders between shown actions, through ordering points, without those that follow from others.
fn visible_edges(plan: &Plan) -> BTreeSet<(usize, usize)> {
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (before, after) in &plan.order {
        next.entry(before.0 as usize).or_default().insert(after.0 as usize);
    }
    let is_shown =
        |id: usize| plan.actions.get(id).is_some_and(|a| !matches!(a.task, Task::Sync(_)));
    let mut edges: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (id, _) in shown(plan) {
        let mut seen = BTreeSet::new();
        let mut todo: Vec<usize> = next.get(&id).into_iter().flatten().copied().collect();
        while let Some(to) = todo.pop() {
            if !seen.insert(to) {
                continue;
            }
            if is_shown(to) {
                edges.entry(id).or_default().insert(to);
            } else {
                todo.extend(next.get(&to).into_iter().flatten());
            }
        }
    }
    let follows = |from: usize, to: usize| {
        let mut seen = BTreeSet::new();
        let mut todo: Vec<usize> =
            edges.get(&from).into_iter().flatten().copied().filter(|n| *n != to).collect();
        while let Some(at) = todo.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                todo.extend(edges.get(&at).into_iter().flatten());
            }
        }
        false
    };
    let all = edges.iter().flat_map(|(from, tos)| tos.iter().map(move |to| (*from, *to)));
    all.filter(|(from, to)| !follows(*from, *to)).collect()
}

fn escape(text: &str, characters_max: usize) -> String {
    let mut cut: String = text.chars().take(characters_max).collect();
    if cut.len() < text.len() {
        cut.pop();
        cut.push('…');
    }
    cut.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
