//! A plan in the words of the cases: scores, what is done in which order and as part of what, the state afterwards, why.
//! Left out: ordering points (what waits for them waits for what they wait for), monitors and probes.

use std::fmt::Write as _;

use policy::{
    Plan,
    model::Role,
    plan::{Action, FenceAction, Task},
};

pub(crate) fn plan(plan: &Plan) -> String {
    let mut out = String::new();
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    scores(&mut out, plan);
    actions(&mut out, plan);
    out.push_str("then\n");
    for (id, places) in &plan.placements {
        let list: Vec<String> = places
            .iter()
            .filter(|p| p.role.is_active())
            .map(|p| match p.role {
                Role::Started => p.node.clone(),
                role => format!("{} {}", p.node, role.as_str()),
            })
            .collect();
        let at = if list.is_empty() { "stopped".to_owned() } else { list.join(", ") };
        let _ = writeln!(out, "  {id}: {at}");
    }
    out.push_str("why\n");
    for (id, explanation) in &plan.explanations {
        let _ = writeln!(out, "  {id}: {}", explanation.summary);
        for reason in &explanation.because {
            let _ = writeln!(out, "    because {}", reason.source);
        }
        for action in &explanation.actions {
            let (operation, node, why) = (&action.operation, &action.node, &action.why);
            let refused = if action.taken { "" } else { " REFUSED" };
            let _ = writeln!(out, "    {operation} on {node}{refused}: {why}");
        }
        for remedy in &explanation.remedies {
            let _ = writeln!(out, "    to change it: {remedy}");
        }
    }
    for (name, explanation) in &plan.nodes {
        // of a node that is simply used there is nothing to say
        if !explanation.remedies.is_empty() || !explanation.actions.is_empty() {
            let _ = writeln!(out, "  node {name}: {}", explanation.summary);
            for remedy in &explanation.remedies {
                let _ = writeln!(out, "    to change it: {remedy}");
            }
        }
    }
    out
}

/// One line for each computation, nodes beside each other.
fn scores(out: &mut String, plan: &Plan) {
    out.push_str("scores\n");
    let mut lines: Vec<(String, String)> = Vec::new();
    for row in &plan.scores {
        let key = format!("{} {}", format!("{:?}", row.stage).to_lowercase(), row.resource);
        let value = match row.score {
            i32::MIN..=-1_000_000 => "-inf".to_owned(),
            1_000_000.. => "inf".to_owned(),
            score => score.to_string(),
        };
        let cell = format!(" {}={value}", row.node);
        match lines.last_mut() {
            Some((last, cells)) if *last == key && !cells.contains(&format!(" {}=", row.node)) => {
                cells.push_str(&cell);
            }
            _ => lines.push((key, cell)),
        }
    }
    for (key, cells) in lines {
        let _ = writeln!(out, "  {key}:{cells}");
    }
}

fn shown(action: &Action) -> bool {
    !matches!(action.task, Task::Sync(_) | Task::Monitor { .. } | Task::Probe)
}

fn actions(out: &mut String, plan: &Plan) {
    let count = plan.actions.len();
    let mut next = vec![Vec::new(); count];
    for (before, after) in &plan.order {
        next[before.0 as usize].push(after.0 as usize);
    }
    // who comes after whom, through everything that is not shown
    let reach: Vec<Vec<bool>> = (0..count)
        .map(|from| {
            let mut seen = vec![false; count];
            let mut open = next[from].clone();
            while let Some(at) = open.pop() {
                if !std::mem::replace(&mut seen[at], true) {
                    open.extend(&next[at]);
                }
            }
            seen
        })
        .collect();
    let visible: Vec<usize> = (0..count).filter(|at| shown(&plan.actions[*at])).collect();
    if visible.is_empty() {
        out.push_str("nothing to do\n");
        return;
    }
    out.push_str("do\n");
    let number = |at: usize| visible.iter().position(|v| *v == at).map_or(0, |p| p + 1);
    for at in &visible {
        let waits: Vec<usize> =
            visible.iter().copied().filter(|before| reach[*before][*at]).collect();
        let direct: Vec<String> = waits
            .iter()
            .filter(|before| !waits.iter().any(|between| reach[**before][*between]))
            .map(|before| number(*before).to_string())
            .collect();
        let after =
            if direct.is_empty() { String::new() } else { format!(", after {}", direct.join(" ")) };
        let action = &plan.actions[*at];
        let intent = format!("{:?}", action.intent).to_lowercase();
        let implied = if action.implied { ", by the fencing" } else { "" };
        let _ = writeln!(out, "  {} {} ({intent}{implied}){after}", number(*at), words(action));
    }
}

fn words(action: &Action) -> String {
    let resource = action.resource.as_deref().unwrap_or_default();
    let on = action.node.as_deref().map(|n| format!(" on {n}")).unwrap_or_default();
    match &action.task {
        Task::Fence { action, delay_ms } => {
            let how = if *action == FenceAction::Off { "off" } else { "reboot" };
            let delay = if *delay_ms > 0 { format!(" after {delay_ms} ms") } else { String::new() };
            format!("fence {how}{on}{delay}")
        }
        Task::Cancel { operation, interval_ms } => {
            format!("cancel {operation} {interval_ms} ms of {resource}{on}")
        }
        Task::Notify => {
            let of = action.notifies.as_ref();
            let when = of.map_or("", |n| if n.before { "before" } else { "after" });
            let what = of.map_or("", |n| n.operation.as_str());
            format!("notify {resource}{on} {when} {what}")
        }
        task if resource.is_empty() => format!("{}{on}", task.operation()),
        task => format!("{} {resource}{on}", task.operation()),
    }
}
