//! The plan in words: what happens, in which order, and why.

use std::{collections::BTreeMap, fmt::Write as _};

use policy::{
    Plan,
    model::Role,
    plan::{Placement, Task},
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
    let changed = |id: &&String| plan.current.get(*id) != plan.placements.get(*id);
    let mut ids: Vec<&String> = plan.explanations.keys().collect();
    // what changes first: that is what people ask about
    ids.sort_by_key(|id| (!changed(id), *id));
    if !ids.is_empty() {
        out.push_str("Why:\n");
    }
    for id in ids {
        let explanation = &plan.explanations[id];
        let _ = writeln!(out, "  {id}: {}", explanation.summary);
        for reason in &explanation.because {
            let on = reason.node.as_deref().map(|n| format!(" on {n}")).unwrap_or_default();
            let score = reason.score.map(|s| format!(" ({s:+})")).unwrap_or_default();
            let _ = writeln!(out, "      because of {}{on}{score}", reason.source);
        }
        for other in &explanation.alternatives {
            let score = other.score.map_or_else(|| "no candidate".to_owned(), |s| s.to_string());
            let against: Vec<&str> = other.because.iter().map(|r| r.source.as_str()).collect();
            let against = if against.is_empty() {
                String::new()
            } else {
                format!(": {}", against.join(", "))
            };
            let _ = writeln!(out, "      not {} [{score}]{against}", other.node);
        }
        for remedy in &explanation.remedies {
            let _ = writeln!(out, "      to change it: {remedy}");
        }
    }
    out
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
