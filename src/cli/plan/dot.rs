//! The transition graph for Graphviz.

use std::fmt::Write as _;

use policy::{Plan, plan::Task};

use super::label;

/// One node per action, one edge per direct order. Implied actions are dashed, ordering points are small.
pub(crate) fn dot(plan: &Plan) -> String {
    let mut out = String::from(
        "digraph transition {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
    );
    for (id, action) in plan.actions.iter().enumerate() {
        let mut text = escape(&label(action));
        if let Some(node) = &action.node {
            let _ = write!(text, "\\n{}", escape(node));
        }
        let style = match action.task {
            Task::Sync(_) => ", shape=ellipse, color=gray50, fontcolor=gray50",
            Task::Fence { .. } => ", color=red3, penwidth=2",
            _ if action.implied => ", style=dashed",
            _ => "",
        };
        let _ = writeln!(out, "  a{id} [label=\"{text}\"{style}];");
    }
    for (before, after) in &plan.order {
        let _ = writeln!(out, "  a{} -> a{};", before.0, after.0);
    }
    out.push_str("}\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}
