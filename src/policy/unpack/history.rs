//! Operation history becomes state: where each resource runs, in which role, what failed and what follows from it.

use alloc::{string::String, vec::Vec};

use crate::{
    memory::{Known, Memory},
    model::{INFINITY, OperationRecord, OperationStatus, ResourceHistory, Role},
    world::{NodeIx, ResIx, Source, Verb, World},
};

use super::{
    active::add_running,
    definition::definition_differs,
    failures::fail_count,
    find::{Names, find_resource},
    migration,
    nodes::mark_for_fencing,
    operations::sorted_operations,
    remote,
    resources::{OnFail, add_removed, on_fail},
};

pub(super) const OK: i32 = 0;
const INVALID_PARAM: i32 = 2;
const UNIMPLEMENTED: i32 = 3;
const NO_PRIVILEGE: i32 = 4;
const NOT_INSTALLED: i32 = 5;
const NOT_CONFIGURED: i32 = 6;
const NOT_RUNNING: i32 = 7;
pub(super) const PROMOTED: i32 = 8;
const FAILED_PROMOTED: i32 = 9;
const DEGRADED: i32 = 190;
const DEGRADED_PROMOTED: i32 = 191;

pub(crate) fn read(world: &mut World<'_>, memory: &mut Memory) {
    let mut order: Vec<NodeIx> = world.node_ids().collect();
    order.sort_by_key(|node| world[*node].model.history_order);
    let mut names = Names::default();
    // what reachable nodes say comes first, and may show that more can be reached; of the others only what fencing can
    // settle
    while let Some(at) = order.iter().position(|node| remote::is_readable(world, *node)) {
        let node = order.remove(at);
        remote::enter(world, node);
        read_node(world, node, &mut names, memory);
        remote::adopt_containers(world);
    }
    if world.opts.fencing {
        for node in order {
            remote::enter(world, node);
            read_node(world, node, &mut names, memory);
        }
    }
    remote::settle(world);
    migration::conclude(world);
}

fn read_node(world: &mut World<'_>, node: NodeIx, names: &mut Names, memory: &mut Memory) {
    let model = world[node].model;
    if let Some(known) = memory.take(node.ix(), &model.history) {
        for (at, known) in known.iter().enumerate() {
            match *known {
                Known::Absent(r) => note_absent(world, r, node, &model.history[at]),
                known => {
                    read_resource(world, node, at, &model.history[at], names, known);
                }
            }
        }
        memory.keep(node.ix(), &model.history, known);
        return;
    }
    let mut known = Vec::new();
    for (at, history) in model.history.iter().enumerate() {
        let r = read_resource(world, node, at, history, names, Known::Nothing);
        if !memory.is_idle() {
            let r = r.filter(|r| memory.is_configured(*r));
            known.push(r.map_or(Known::Nothing, |r| learn(world, r, history)));
        }
    }
    // whether a remote node is planned for depends on more than its record
    if model.history.iter().all(|history| history.agent != "remote") {
        memory.keep(node.ix(), &model.history, known);
    }
}

/// What holds of a record whenever it is read.
fn learn(world: &World<'_>, r: ResIx, history: &ResourceHistory) -> Known {
    let named = (world[r].id == history.resource).then_some(r);
    let other_agent = agent_differs(world, r, history);
    let always = history.shutdown_lock.is_none()
        && !other_agent
        && named.is_some()
        && !world[world.top_of(r)].is_anonymous_clone();
    if always && only_found_absent(history) {
        Known::Absent(r)
    } else {
        Known::About { named, other_agent }
    }
}

/// Reads a record that is known to be plain.
fn note_absent<'m>(world: &mut World<'m>, r: ResIx, node: NodeIx, history: &'m ResourceHistory) {
    world[r].other_agent_on.remove(node);
    found_absent(world, r, node, history);
}

/// The resource that the record is about, if it says anything.
fn read_resource<'m>(
    world: &mut World<'m>,
    node: NodeIx,
    at: usize,
    history: &'m ResourceHistory,
    names: &mut Names,
    known: Known,
) -> Option<ResIx> {
    let locked = history.shutdown_lock.filter(|_| world.opts.shutdown_lock);
    if history.operations.is_empty() && locked.is_none() {
        return None;
    }
    let (named, other_agent) = match known {
        Known::About { named, other_agent } => (named, Some(other_agent)),
        Known::Absent(_) | Known::Nothing => (None, None),
    };
    let r = match find_resource(world, node, at, history, names, named) {
        Some(r) => r,
        None if history.operations.is_empty() => return None,
        None => match world.named(&history.resource) {
            Some(r) if world[r].is_primitive() => r,
            _ => {
                let r = add_removed(world, history);
                remote::adopt(world, r, history);
                r
            }
        },
    };
    // of several records that belong to one instance the last read is the one that counts
    if other_agent.unwrap_or_else(|| agent_differs(world, r, history)) {
        world[r].other_agent_on.insert(node);
    } else {
        world[r].other_agent_on.remove(node);
    }
    if let Some(time) = locked {
        lock(world, r, node, time);
    }
    if only_found_absent(history) {
        found_absent(world, r, node, history);
        return Some(r);
    }
    world[r].histories.push((node, history));
    let saved = core::mem::replace(&mut world[r].role, Role::Unknown);
    let mut unpacker = Unpacker { r, node, on_fail: OnFail::Ignore, last_failure: None, history };
    for op in sorted_operations(history).from(0) {
        unpacker.operation(world, op);
    }
    unpacker.settle(world);
    limit_role(world, r);
    if saved > world[r].role {
        world[r].role = saved;
    }
    Some(r)
}

/// Whether all that is recorded is that it was looked for and not found: on most nodes that is so of most resources,
/// and it says very little.
fn only_found_absent(history: &ResourceHistory) -> bool {
    let [op] = history.operations.as_slice() else { return false };
    op.exit_code == NOT_RUNNING
        && op.interval_ms == 0
        && op.status == OperationStatus::Done
        && op.operation == "monitor"
        && !op.id.ends_with("_last_failure_0")
}

/// What all the steps of [`Unpacker`] come to for such a record.
#[inline]
fn found_absent<'m>(world: &mut World<'m>, r: ResIx, node: NodeIx, history: &'m ResourceHistory) {
    let res = &mut world[r];
    res.role = res.role.max(Role::Stopped);
    res.next_role = Role::Unknown;
    res.absent_on.insert(node);
    // the last record is the one that counts, so it must be kept where it comes after another
    if res.histories.last().is_some_and(|(last, _)| *last == node) {
        res.histories.push((node, history));
    }
    know(world, r, node);
    forget_number(world, r);
    limit_role(world, r);
}

fn limit_role(world: &mut World<'_>, r: ResIx) {
    if let Some(role) = target_role(world, r)
        && (world[r].next_role == Role::Unknown || role < world[r].next_role)
    {
        world.set_next_role(r, role);
    }
}

/// The resource's state on the node is known, and with it that of what contains it.
fn know(world: &mut World<'_>, r: ResIx, node: NodeIx) {
    let mut at = Some(r);
    while let Some(part) = at {
        world[part].known_on.insert(node);
        if world[part].unique {
            break;
        }
        at = world[part].parent;
    }
}

/// Numbered names of stopped instances say nothing.
fn forget_number(world: &mut World<'_>, r: ResIx) {
    if world[r].history_name.as_ref().is_some_and(|name: &String| name.contains(':')) {
        world[r].history_name = None;
    }
}

fn lock(world: &mut World<'_>, r: ResIx, node: NodeIx, time: i64) {
    let limit = i64::try_from(world.opts.shutdown_lock_limit_ms / 1000).unwrap_or(i64::MAX);
    if limit > 0 && world.model.now > time.saturating_add(limit) {
        return;
    }
    world[r].locked_to = Some(node);
    world[r].lock_time = time;
}

/// Whether history speaks of another agent than the configuration does.
fn agent_differs(world: &World<'_>, r: ResIx, history: &ResourceHistory) -> bool {
    let Some(primitive) = world[r].primitive else { return false };
    let differs = |now: &str, then: &str| !then.is_empty() && now != then;
    differs(&primitive.class, &history.class)
        || differs(&primitive.provider, &history.provider)
        || differs(&primitive.agent, &history.agent)
}

/// The role that the person allows at most, where that limits anything.
pub(crate) fn target_role(world: &World<'_>, r: ResIx) -> Option<Role> {
    let role = world[r].target_role?;
    match role {
        Role::Stopped => Some(role),
        Role::Unpromoted if world[world.top_of(r)].promotable => Some(role),
        _ => None,
    }
}

struct Unpacker<'m> {
    r: ResIx,
    node: NodeIx,
    on_fail: OnFail,
    last_failure: Option<&'m OperationRecord>,
    history: &'m ResourceHistory,
}

impl<'m> Unpacker<'m> {
    fn set_active(&self, world: &mut World<'_>) {
        let promotable = world[world.top_of(self.r)].promotable;
        world[self.r].role = if promotable { Role::Unpromoted } else { Role::Started };
    }

    fn operation(&mut self, world: &mut World<'_>, op: &'m OperationRecord) {
        if matches!(op.status, OperationStatus::Cancelled | OperationStatus::Invalid)
            || op.operation == "notify"
        {
            return;
        }
        if op.status == OperationStatus::Pending {
            return self.pending(world, op);
        }
        let expired = self.expired(world, op);
        if !expired
            && op.id.ends_with("_last_failure_0")
            && matches!(op.operation.as_str(), "start" | "monitor")
            && !world[self.r].forgiven_on.contains(&self.node)
            && definition_differs(world, self.r, self.node, op)
        {
            world[self.r].forgiven_on.push(self.node);
        }
        let (status, code) = self.remap(world, op, expired);
        let wanted = op.expected_code.unwrap_or(code);
        if expired && code != wanted && status != OperationStatus::Done {
            return;
        }
        if status == OperationStatus::Done {
            return self.succeeded(world, op, code);
        }
        let (policy, role) = on_fail(world, self.r, &op.operation, op.interval_ms);
        if policy == OnFail::Ignore
            || (policy == OnFail::RestartContainer && op.operation == "stop")
        {
            self.succeeded(world, op, wanted);
            world[self.r].failure_ignored = true;
            if policy == OnFail::RestartContainer {
                self.on_fail = self.on_fail.max(policy);
            }
            return;
        }
        self.failed(world, op, code, policy, role);
        // what fails in one instance fails in all
        let top = if world[self.r].unique { self.r } else { world.top_of(self.r) };
        if status == OperationStatus::ErrorHard {
            world.add_location(top, Some(self.node), -INFINITY, Source::HardError);
        } else if status == OperationStatus::ErrorFatal {
            world.add_location(top, None, -INFINITY, Source::FatalError);
        }
    }

    fn pending(&self, world: &mut World<'_>, op: &OperationRecord) {
        match op.operation.as_str() {
            "start" => {
                world[self.r].start_pending = true;
                self.set_active(world);
            }
            "promote" => world[self.r].role = Role::Promoted,
            "migrate_to" if world[self.node].unclean => {
                migration::stop_at_target(world, self.r, op);
            }
            _ => {}
        }
        if op.operation != "stop" && world[self.r].pending_on.is_none() {
            world[self.r].pending_on = Some(self.node);
        }
    }

    /// Whether a failure is so old that it no longer counts.
    fn expired(&self, world: &World<'_>, op: &OperationRecord) -> bool {
        let timeout = world[self.r].failure_timeout;
        let Some(changed) = op.last_change.filter(|_| timeout > 0) else { return false };
        if world.model.now < changed.saturating_add(timeout) {
            return false;
        }
        if remote::awaits_fencing(world, self.r, op) {
            return false;
        }
        let count = fail_count(world, self.r, self.node);
        if count.total > 0 && count.effective > 0 {
            return false;
        }
        let probe = op.operation == "monitor" && op.interval_ms == 0;
        let tells =
            matches!(op.exit_code, OK | NOT_RUNNING | PROMOTED | DEGRADED | DEGRADED_PROMOTED);
        !(probe && tells)
    }

    /// What the recorded result means, given what was expected.
    fn remap(
        &mut self,
        world: &mut World<'_>,
        op: &OperationRecord,
        expired: bool,
    ) -> (OperationStatus, i32) {
        use OperationStatus::{Done, Error, ErrorFatal, ErrorHard, NotSupported};
        let probe = op.operation == "monitor" && op.interval_ms == 0;
        let mut status = op.status;
        let code = match op.exit_code {
            DEGRADED => OK,
            DEGRADED_PROMOTED => PROMOTED,
            code => code,
        };
        match op.expected_code {
            Some(expected) if expected == code => status = Done,
            Some(_) if status == Done => status = Error,
            _ => {}
        }
        match code {
            OK if probe && status == Error => status = Done,
            NOT_RUNNING if probe || op.expected_code == Some(code) || !world[self.r].managed => {
                status = Done;
                world[self.r].role = Role::Stopped;
                self.on_fail = OnFail::Ignore;
                world[self.r].next_role = Role::Unknown;
            }
            PROMOTED => {
                if probe && op.expected_code != Some(code) {
                    status = Done;
                }
                if !expired || op.expected_code == Some(code) {
                    world[self.r].role = Role::Promoted;
                }
            }
            FAILED_PROMOTED => {
                if !expired {
                    world[self.r].role = Role::Promoted;
                }
                status = Error;
            }
            NOT_CONFIGURED => status = ErrorFatal,
            UNIMPLEMENTED => status = if op.interval_ms > 0 { NotSupported } else { ErrorHard },
            INVALID_PARAM | NO_PRIVILEGE | NOT_INSTALLED => {
                let stuck = op.operation == "stop" && !super::nodes::can_fence(world, self.node);
                status = if stuck { ErrorFatal } else { ErrorHard };
            }
            OK | NOT_RUNNING => {}
            _ if status == Done => status = Error,
            _ => {}
        }
        (status, code)
    }

    fn succeeded(&mut self, world: &mut World<'_>, op: &OperationRecord, code: i32) {
        let mut clears = true;
        let probe = op.operation == "monitor" && op.interval_ms == 0;
        match op.operation.as_str() {
            _ if code == NOT_INSTALLED || (probe && op.exit_code == NOT_INSTALLED) => {
                world[self.r].role = Role::Stopped;
                clears = false;
            }
            _ if code == NOT_RUNNING => {}
            "monitor" => {
                clears = self.last_failure.is_some_and(|failure| {
                    failure.operation == op.operation && failure.interval_ms == op.interval_ms
                });
                if world[self.r].role < Role::Started {
                    self.set_active(world);
                }
            }
            "start" | "migrate_from" => self.set_role(world, Role::Started),
            "stop" => self.set_role(world, Role::Stopped),
            "promote" => self.set_role(world, Role::Promoted),
            "demote" => {
                clears = self.on_fail == OnFail::Demote;
                self.set_role(world, Role::Unpromoted);
            }
            "migrate_to" => {
                clears = false;
                migration::left_source(world, self.r, self.node, self.history, op);
            }
            _ => {
                if world[self.r].role < Role::Started {
                    self.set_active(world);
                }
                clears = false;
            }
        }
        if clears
            && matches!(
                self.on_fail,
                OnFail::Block
                    | OnFail::Ignore
                    | OnFail::Demote
                    | OnFail::Restart
                    | OnFail::RestartContainer
            )
        {
            self.on_fail = OnFail::Ignore;
            world[self.r].next_role = Role::Unknown;
        }
    }

    fn set_role(&self, world: &mut World<'_>, role: Role) {
        world[self.r].role = role;
    }

    fn failed(
        &mut self,
        world: &mut World<'_>,
        op: &'m OperationRecord,
        code: i32,
        policy: OnFail,
        role: Option<Role>,
    ) {
        let probe = op.operation == "monitor" && op.interval_ms == 0;
        self.last_failure = Some(op);
        self.on_fail = self.on_fail.max(policy);
        match op.operation.as_str() {
            "stop" => world.add_location(self.r, Some(self.node), -INFINITY, Source::FailedStop),
            "promote" => world[self.r].role = Role::Promoted,
            "migrate_to" => {
                migration::failed_at_source(world, self.r, self.node, self.history, op);
            }
            "migrate_from" => {
                migration::failed_at_target(world, self.r, self.node, self.history, op);
            }
            "demote" => {
                if policy == OnFail::Block {
                    world[self.r].role = Role::Promoted;
                    world.set_next_role(self.r, Role::Stopped);
                } else if code == NOT_RUNNING {
                    world[self.r].role = Role::Stopped;
                } else {
                    // still promoted would be demoted again and again; the restart settles it
                    world[self.r].role = Role::Unpromoted;
                }
            }
            _ => {}
        }
        if probe && code == NOT_INSTALLED {
            world[self.r].role = Role::Stopped;
        } else if world[self.r].role < Role::Started {
            self.set_active(world);
        }
        if let Some(role) = role {
            if world[self.r].next_role < role {
                world.set_next_role(self.r, role);
            }
            if role == Role::Stopped {
                world.set_next_role(self.r, role);
                world.add_location(self.r, None, -INFINITY, Source::FailedForGood);
            }
        }
    }

    /// What all operations together mean.
    fn settle(&mut self, world: &mut World<'_>) {
        let (r, node) = (self.r, self.node);
        if world[r].role != Role::Unknown {
            know(world, r, node);
        }
        let active = world[r].role > Role::Stopped;
        if active
            && !world[node].online
            && !world[node].maintenance
            && world[r].managed
            && (world.opts.fencing || world.is_guest(node))
        {
            remote::lose(world, r, node);
            mark_for_fencing(world, node, "a resource is thought to be active there");
        }
        let saved = self.on_fail;
        if world[node].unclean {
            // fencing settles it, and then it may start again
            self.on_fail = OnFail::Ignore;
        }
        match self.on_fail {
            OnFail::Ignore | OnFail::Restart | OnFail::Demote => {}
            OnFail::RestartContainer => {
                world[r].failed = true;
                world[r].stop_if_failed = true;
                if let Some(container) = world[r].container.filter(|_| world[r].bundle.is_some()) {
                    // it may be elsewhere, which is known in the end
                    world.stops_due.push(container);
                } else if let Some(container) = world[r].container {
                    world.act(container, Verb::Stop, Some(node), false);
                }
            }
            OnFail::ResetRemote => remote::reset(world, r),
            OnFail::Fence => mark_for_fencing(world, node, "a resource failed there"),
            OnFail::Standby => world[node].standby = true,
            OnFail::Block => {
                world[r].managed = false;
                world[r].blocked = true;
            }
            OnFail::Ban => world.add_location(r, Some(node), -INFINITY, Source::OnFailBan),
            OnFail::Stop => world.set_next_role(r, Role::Stopped),
        }
        if let Some(connects) = world[r].connects
            && (world[r].failed || (active && self.on_fail >= OnFail::Restart))
            && world[connects].unclean
        {
            // a connection that failed leaves nothing to hope for
            world[connects].unseen = false;
        }
        if active {
            add_running(world, r, node);
            match (self.on_fail, saved) {
                (OnFail::Ignore, _) => {}
                (OnFail::Demote | OnFail::Block, _) => world[r].failed = true,
                _ => {
                    world[r].failed = true;
                    world[r].stop_if_failed = true;
                }
            }
        } else {
            forget_number(world, r);
        }
    }
}
