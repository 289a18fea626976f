//! The plan in words: what happens, in which order, and why.

use std::{collections::BTreeMap, fmt::Write as _};

use policy::{
    Plan,
    model::{INFINITY, Role},
    plan::{Explanation, Placement, Reason, Task},
};

use super::{label, rounds};

/// Sections as operators know them from `crm_simulate`: now, to do, then, why.
pub(crate) fn text(plan: &Plan) -> String {
    let mut out = String::new();
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    state(&mut out, "Now", &plan.current);
    actions(&mut out, plan);
    for node in &plan.fenced {
        let _ = writeln!(out, "  {node} is fenced");
    }
    state(&mut out, "Then", &plan.placements);
    let troubled: Vec<&Explanation> = plan.nodes.values().filter(|e| is_news(e)).collect();
    // what stays as it is needs no words; they are there for whoever asks (`--explain`)
    let changed = |id: &String| {
        plan.current.get(id) != plan.placements.get(id)
            || !plan.explanations[id].actions.is_empty()
            || plan.explanations[id].node.is_none()
    };
    let news: Vec<&Explanation> =
        plan.explanations.iter().filter(|(id, _)| changed(id)).map(|(_, e)| e).collect();
    if troubled.is_empty() && news.is_empty() {
        return out;
    }
    out.push_str("Why:\n");
    for explanation in troubled.into_iter().chain(news) {
        explain(&mut out, explanation, false);
    }
    out
}

/// Whether there is more to say of a node than that it is used.
fn is_news(node: &Explanation) -> bool {
    !node.actions.is_empty() || !node.remedies.is_empty()
}

/// The explanations of what was asked for, with every node's score; `Err` names what there is.
pub(crate) fn explained(plan: &Plan, names: &[String]) -> Result<String, String> {
    let mut out = String::new();
    for name in names {
        let found = about(plan, name);
        if found.is_empty() {
            let resources = plan.explanations.keys().map(String::as_str);
            let known: Vec<&str> = resources.chain(plan.nodes.keys().map(String::as_str)).collect();
            return Err(format!(
                "--explain {name:?}: no resource or node is called that; there are {}",
                known.join(", ")
            ));
        }
        for explanation in found {
            explain(&mut out, explanation, true);
        }
    }
    Ok(out)
}

/// What is known under a name: a resource, all instances of a clone, a node.
pub(crate) fn about<'p>(plan: &'p Plan, name: &str) -> Vec<&'p Explanation> {
    let instance = |id: &str| id.split_once(':').is_some_and(|(base, _)| base == name);
    let resources = plan.explanations.iter().filter(|(id, _)| *id == name || instance(id));
    resources.map(|(_, e)| e).chain(plan.nodes.get(name)).collect()
}

/// One explanation: the outcome, a table of nodes as `crm_simulate -s` has it with what made the scores, the actions,
/// what would change it. In short form only the nodes of which there is something to say.
fn explain(out: &mut String, explanation: &Explanation, in_full: bool) {
    let _ = writeln!(out, "  {}", explanation.summary);
    let mut rows: Vec<(String, String, String)> = Vec::new();
    if let Some(node) = &explanation.node {
        rows.push((format!("* {node}"), score(explanation.score), sources(&explanation.because)));
    } else if explanation.alternatives.is_empty() {
        for reason in &explanation.because {
            let _ = writeln!(out, "      {}", source(reason));
        }
    }
    for other in &explanation.alternatives {
        if in_full || !other.because.is_empty() {
            rows.push((format!("  {}", other.node), score(other.score), sources(&other.because)));
        }
    }
    let width = rows.iter().map(|(node, _, _)| node.chars().count()).max().unwrap_or(0);
    for (node, score, why) in rows {
        let _ = writeln!(out, "{}", format!("    {node:width$}  {score:>9}  {why}").trim_end());
    }
    for action in &explanation.actions {
        let refused = if action.taken { "" } else { " is REFUSED" };
        let (operation, node, why) = (&action.operation, &action.node, &action.why);
        let _ = writeln!(out, "      {operation} on {node}{refused}: {why}");
    }
    for remedy in &explanation.remedies {
        let _ = writeln!(out, "      to change it: {remedy}");
    }
}

fn score(score: Option<i32>) -> String {
    match score {
        None => "never".to_owned(),
        Some(INFINITY..) => "INFINITY".to_owned(),
        Some(..=MINUS_INFINITY) => "-INFINITY".to_owned(),
        Some(score) => score.to_string(),
    }
}

const MINUS_INFINITY: i32 = -INFINITY;

fn sources(reasons: &[Reason]) -> String {
    let mut all: Vec<String> = reasons.iter().map(source).collect();
    all.dedup();
    all.join("; ")
}

fn source(reason: &Reason) -> String {
    match reason.score {
        Some(INFINITY..) => format!("{} (+INFINITY)", reason.source),
        Some(..=MINUS_INFINITY) => format!("{} (-INFINITY)", reason.source),
        Some(score) => format!("{} ({score:+})", reason.source),
        None => reason.source.clone(),
    }
}

fn state(out: &mut String, title: &str, placements: &BTreeMap<String, Vec<Placement>>) {
    let _ = writeln!(out, "{title}:");
    let width = placements.keys().map(String::len).max().unwrap_or(0);
    for (id, list) in placements {
        let active: Vec<String> = list
            .iter()
            .filter(|p| p.role.is_active())
            .map(|p| match p.role {
                Role::Started => p.node.clone(),
                role => format!("{} ({})", p.node, role.as_str()),
            })
            .collect();
        let at = if active.is_empty() { "stopped".to_owned() } else { active.join(", ") };
        let _ = writeln!(out, "  {id:width$}  {at}");
    }
}

fn actions(out: &mut String, plan: &Plan) {
    let round = rounds(plan);
    let mut by_round: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (id, action) in plan.actions.iter().enumerate() {
        if matches!(action.task, Task::Sync(_)) {
            continue;
        }
        let on = action.node.as_deref().map(|n| format!(" on {n}")).unwrap_or_default();
        let implied = if action.implied { " (by the fencing)" } else { "" };
        by_round.entry(round[id]).or_default().push(format!("{}{on}{implied}", label(action)));
    }
    if by_round.is_empty() {
        out.push_str("Nothing to do.\n");
        return;
    }
    out.push_str("To do:\n");
    for (number, (_, lines)) in by_round.iter().enumerate() {
        for (at, line) in lines.iter().enumerate() {
            let number = if at == 0 { format!("{}.", number + 1) } else { String::new() };
            let _ = writeln!(out, "  {number:>3} {line}");
        }
    }
}
