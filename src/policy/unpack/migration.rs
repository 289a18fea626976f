//! What history tells of live migrations.
//!
//! A complete one is migrate_to on the source, migrate_from on the target, stop on the source. Invariants: without
//! migrate_from it is partial, and the resource counts as active on both sides; without the stop it is dangling, and
//! only the stop is missing. Whatever happened later on a node says more of that node than the migration does.

use crate::{
    model::{OperationRecord, OperationStatus, ResourceHistory, Role},
    world::{Migration, NodeIx, ResIx, Verb, World},
};

use super::{active::add_running, history::OK};

const NOT_RUNNING: i32 = 7;
const NOT_KNOWN: i32 = 193;

/// The two sides of a recorded step.
struct Sides<'m> {
    resource: &'m str,
    source: &'m str,
    target: &'m str,
}

impl<'m> Sides<'m> {
    /// None where the step does not say between which nodes it was, or not of the node that recorded it.
    fn of(
        world: &World<'_>,
        node: NodeIx,
        history: &'m ResourceHistory,
        op: &'m OperationRecord,
        at_source: bool,
    ) -> Option<Self> {
        let (source, target) = (op.migrate_source.as_deref()?, op.migrate_target.as_deref()?);
        let here = if at_source { source } else { target };
        let fits = here.eq_ignore_ascii_case(world[node].name());
        fits.then_some(Self { resource: &history.resource, source, target })
    }

    fn records<'w>(
        &self,
        world: &World<'w>,
        node: &str,
    ) -> impl Iterator<Item = &'w OperationRecord> + use<'w> {
        let node = world.model.nodes.iter().find(|known| known.name.eq_ignore_ascii_case(node));
        let history =
            node.and_then(|node| node.history.iter().find(|known| known.resource == self.resource));
        history.map(|history| history.operations.as_slice()).unwrap_or_default().iter()
    }

    /// The other half of the migration, on the other side.
    fn half<'w>(&self, world: &World<'w>, name: &str) -> Option<&'w OperationRecord> {
        let node = if name == "migrate_to" { self.source } else { self.target };
        self.records(world, node).find(|op| {
            op.operation == name
                && op.migrate_source.as_deref() == Some(self.source)
                && op.migrate_target.as_deref() == Some(self.target)
        })
    }

    fn succeeded<'w>(&self, world: &World<'w>, name: &str) -> Option<&'w OperationRecord> {
        let done = |op: &&OperationRecord| op.status == OperationStatus::Done && op.exit_code == OK;
        self.half(world, name).filter(done)
    }

    /// Whether nothing at all is recorded on a node: it will be looked for there.
    fn is_unknown(&self, world: &World<'_>, node: &str) -> bool {
        self.records(world, node).all(|op| op.exit_code == NOT_KNOWN)
    }

    /// Whether something was done on a node after a step.
    fn acted_after(
        &self,
        world: &World<'_>,
        node: &str,
        step: &OperationRecord,
        same: bool,
    ) -> bool {
        let acts = |op: &OperationRecord| {
            matches!(op.operation.as_str(), "start" | "stop" | "migrate_to" | "migrate_from")
        };
        self.records(world, node)
            .any(|op| !core::ptr::eq(op, step) && acts(op) && is_newer(op, step, same))
    }

    /// Whether what is known of a node is newer than the migration. Steps on that node are the better measure.
    fn outlived(
        &self,
        world: &World<'_>,
        node: &str,
        to: Option<&OperationRecord>,
        from: Option<&OperationRecord>,
    ) -> bool {
        let own = if node == self.source { to } else { from };
        let Some(step) = own.or(from).or(to) else { return false };
        let same = own.is_some();
        let absent = |op: &OperationRecord| {
            op.operation == "monitor"
                && op.exit_code == NOT_RUNNING
                && op.status == OperationStatus::Done
        };
        self.acted_after(world, node, step, same)
            || self.records(world, node).any(|op| absent(op) && is_newer(op, step, same))
    }

    fn online(&self, world: &World<'_>, node: &str) -> Option<NodeIx> {
        find_node(world, node).filter(|node| world[*node].online)
    }
}

fn find_node(world: &World<'_>, name: &str) -> Option<NodeIx> {
    world.node_ids().find(|node| world[*node].name().eq_ignore_ascii_case(name))
}

/// Numbers count on one node only; between nodes there are only their clocks.
fn is_newer(op: &OperationRecord, than: &OperationRecord, same_node: bool) -> bool {
    let changed = |op: &OperationRecord| op.last_change.unwrap_or(-1);
    match (op.call_id < 0, than.call_id < 0) {
        (true, true) => false,
        (false, false) if same_node && op.call_id != than.call_id => op.call_id > than.call_id,
        (false, false) => changed(than) >= 0 && changed(op) > changed(than),
        (pending, _) => match (op.transition, than.transition) {
            (Some(a), Some(b)) if a != b => a > b,
            _ => pending,
        },
    }
}

/// A migration that has not ended and whose source is lost: whatever arrived is stopped.
pub(super) fn stop_at_target(world: &mut World<'_>, r: ResIx, op: &OperationRecord) {
    if let Some(target) = op.migrate_target.as_deref().and_then(|name| find_node(world, name)) {
        world.act(r, Verb::Stop, Some(target), false);
    }
}

/// migrate_to succeeded.
pub(super) fn left_source(
    world: &mut World<'_>,
    r: ResIx,
    node: NodeIx,
    history: &ResourceHistory,
    op: &OperationRecord,
) {
    let Some(sides) = Sides::of(world, node, history, op, true) else { return };
    let acted = sides.acted_after(world, sides.source, op, true);
    let from = sides.half(world, "migrate_from");
    if acted && from.is_some() {
        return;
    }
    let outlived = sides.outlived(world, sides.target, Some(op), from);
    if acted && outlived {
        return;
    }
    let status = from.map_or(OperationStatus::Pending, |from| from.status);
    if from.is_some_and(|from| from.exit_code == OK) && status == OperationStatus::Done {
        world[r].role = Role::Stopped;
        world[r].dangling_on.push(node);
        return;
    }
    world[r].role = Role::Started;
    let online = sides.online(world, sides.target);
    let arrived = online.filter(|_| !outlived);
    if status != OperationStatus::Pending {
        match arrived {
            Some(target) => add_running(world, r, target),
            None => lose(world, r),
        }
        return;
    }
    // cleaned up there: it will be looked for, and then it is known
    if online.is_some() && sides.is_unknown(world, sides.target) {
        return;
    }
    match arrived {
        Some(target) => {
            add_running(world, r, target);
            if let Some(source) = sides.online(world, sides.source) {
                world[r].partial = Some(Migration { source, target });
            }
        }
        None if !acted => lose(world, r),
        None => {}
    }
}

/// It is nowhere for sure: recovered, and not by migration.
fn lose(world: &mut World<'_>, r: ResIx) {
    world[r].failed = true;
    world[r].stop_if_failed = true;
    world[r].allow_migrate = false;
}

/// migrate_to failed: it may be on either side.
pub(super) fn failed_at_source(
    world: &mut World<'_>,
    r: ResIx,
    node: NodeIx,
    history: &ResourceHistory,
    op: &OperationRecord,
) {
    let Some(sides) = Sides::of(world, node, history, op, true) else { return };
    world[r].role = Role::Started;
    let from = sides.succeeded(world, "migrate_from");
    if !sides.is_unknown(world, sides.target)
        && !sides.outlived(world, sides.target, Some(op), from)
    {
        if let Some(target) = sides.online(world, sides.target) {
            add_running(world, r, target);
        }
    } else if !sides.acted_after(world, sides.source, op, true) {
        world[r].dangling_on.push(node);
    }
}

/// migrate_from failed: it may be on either side.
pub(super) fn failed_at_target(
    world: &mut World<'_>,
    r: ResIx,
    node: NodeIx,
    history: &ResourceHistory,
    op: &OperationRecord,
) {
    let Some(sides) = Sides::of(world, node, history, op, false) else { return };
    world[r].role = Role::Started;
    let to = sides.succeeded(world, "migrate_to");
    if !sides.is_unknown(world, sides.source)
        && !sides.outlived(world, sides.source, to, Some(op))
        && let Some(source) = sides.online(world, sides.source)
    {
        add_running(world, r, source);
    }
}

/// Once all histories are read: of what is under way the source is where it runs, in whatever order they were read;
/// what it may have brought to its target runs there, whatever its source has recorded since.
pub(super) fn conclude(world: &mut World<'_>) {
    for res in &mut world.res {
        let Some(way) = res.partial else { continue };
        res.role = res.role.max(Role::Started);
        if let Some(at) = res.running_on.iter().position(|node| *node == way.source) {
            res.running_on[..=at].rotate_right(1);
        }
    }
}
