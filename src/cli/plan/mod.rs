//! A plan as people see it: text, a graph in DOT, a picture in SVG. Functions of the plan alone, so golden tests hold
//! them to the byte.

mod dot;
mod svg;
mod text;

pub(crate) use dot::dot;
pub(crate) use svg::svg;
pub(crate) use text::{about, explained, text};

use policy::{
    Plan,
    plan::{Action, FenceAction, Task},
};

/// What is shown of an action: `stop db` and where.
pub(crate) fn label(action: &Action) -> String {
    let resource = action.resource.as_deref().unwrap_or_default();
    match &action.task {
        Task::Fence { action: FenceAction::Off, .. } => "fence (off)".to_owned(),
        Task::Fence { .. } => "fence (reboot)".to_owned(),
        Task::Unfence => "unfence".to_owned(),
        Task::Shutdown => "shut down".to_owned(),
        Task::Probe => format!("probe {resource}"),
        Task::Monitor { interval_ms } => format!("monitor {resource} every {interval_ms} ms"),
        Task::Cancel { operation, interval_ms } => {
            format!("cancel {operation} {resource} every {interval_ms} ms")
        }
        Task::MigrateTo { target } => format!("migrate {resource} to {target}"),
        Task::MigrateFrom { source } => format!("migrate {resource} from {source}"),
        Task::Sync(name) => name.clone(),
        Task::ClearFailures => format!("forget failures of {resource}"),
        Task::Notify => match &action.notifies {
            Some(of) if of.before => format!("tell {resource}: {} to come", of.operation),
            Some(of) => format!("tell {resource}: {} done", of.operation),
            None => format!("tell {resource}"),
        },
        task => format!("{} {resource}", task.operation()),
    }
}

/// Round in which each action can begin: one more than the latest that it waits for. Actions that lie in a circle
/// (which no sound plan has) share the round after all others.
pub(crate) fn rounds(plan: &Plan) -> Vec<usize> {
    let count = plan.actions.len();
    let mut round = vec![0; count];
    for turn in 0..=count {
        let mut moved = false;
        for (before, after) in &plan.order {
            let (b, a) = (before.0 as usize, after.0 as usize);
            if b < count && a < count && round[a] <= round[b] && round[b] < turn + 1 {
                round[a] = round[b] + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    round
}

#[cfg(test)]
mod tests;
