//! Failure counts: how often a resource failed on a node, and whether that still counts.

use alloc::string::String;

use crate::{
    model::parse_score,
    world::{NodeIx, ResIx, World, add_scores},
};

use super::resources::{OnFail, on_fail};

/// Failures of a resource on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FailCount {
    /// Whether or not they have expired.
    pub(crate) total: i32,
    /// Those that have not expired.
    pub(crate) effective: i32,
}

/// The name under which failures are counted: without instance number unless instances have identity.
pub(crate) fn failure_name(world: &World<'_>, r: ResIx) -> String {
    let res = &world[r];
    let name = res.history_name.as_deref().unwrap_or(&res.id);
    if res.unique { name.into() } else { strip_instance(name).into() }
}

/// `db` of `db:3`.
pub(crate) fn strip_instance(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((base, number))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            base
        }
        _ => name,
    }
}

/// Counts failures from node attributes.
pub(crate) fn fail_count(world: &World<'_>, r: ResIx, node: NodeIx) -> FailCount {
    let attrs = &world[node].attrs;
    let mut total = 0;
    let mut last = 0_i64;
    let mut blocking = false;
    let mut name: Option<String> = None;
    for (key, value) in attrs.range("fail-count-"..) {
        let Some(rest) = key.strip_prefix("fail-count-") else { break };
        let name = name.get_or_insert_with(|| failure_name(world, r));
        let Some(operation) = matching(rest, name, world[r].unique) else { continue };
        total = add_scores(total, parse_score(value).unwrap_or(0));
        blocking |= blocks(world, r, operation);
    }
    if total == 0 {
        return FailCount::default();
    }
    if world[r].forgiven_on.contains(&node) {
        return FailCount { total, effective: 0 };
    }
    let name = name.unwrap_or_default();
    for (key, value) in attrs.range("last-failure-"..) {
        let Some(rest) = key.strip_prefix("last-failure-") else { break };
        if matching(rest, &name, world[r].unique).is_some() {
            last = last.max(value.parse().unwrap_or(0));
        }
    }
    let timeout = world[r].failure_timeout;
    // what blocks the resource waits for a person, however long it takes
    let expired =
        timeout > 0 && last > 0 && !blocking && world.model.now > last.saturating_add(timeout);
    FailCount { total, effective: if expired { 0 } else { total } }
}

/// The operation part (`monitor_10000`) if the attribute is about this resource; empty in the old form.
fn matching<'a>(rest: &'a str, name: &str, unique: bool) -> Option<&'a str> {
    let (about, operation) = rest.split_once('#').unwrap_or((rest, ""));
    let about = if unique { about } else { strip_instance(about) };
    (about == name).then_some(operation)
}

fn blocks(world: &World<'_>, r: ResIx, operation: &str) -> bool {
    let Some((name, interval)) = operation.rsplit_once('_') else { return false };
    let interval = interval.parse().unwrap_or(0);
    super::resources::find_operation(world, r, name, interval).is_some()
        && on_fail(world, r, name, interval).0 == OnFail::Block
}

/// Whether any failure of anything is counted on a node.
pub(crate) fn any_failures(world: &World<'_>, node: NodeIx) -> bool {
    let mut counts = world[node].attrs.range("fail-count-"..);
    counts.next().is_some_and(|(name, _)| name.starts_with("fail-count-"))
}

/// Whether the resource has failed so often on a node that it must leave; then who must leave.
pub(crate) fn threshold_reached(world: &World<'_>, r: ResIx, node: NodeIx) -> Option<ResIx> {
    let res = &world[r];
    if res.migration_threshold == 0 || res.failure_ignored {
        return None;
    }
    // what fails inside of a container counts for that too
    let failures = |r: ResIx| fail_count(world, r, node).effective;
    let inside = res.fillers.iter().map(|filler| failures(*filler));
    let count = inside.fold(failures(r), add_scores);
    if count <= 0 || count < res.migration_threshold {
        return None;
    }
    Some(if res.unique { r } else { world.top_of(r) })
}
