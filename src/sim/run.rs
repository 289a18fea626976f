//! One run: a phase of faults in which nothing bad may happen, then a phase of peace in which something good must
//! (SAFETY.md#L10).

use std::collections::BTreeMap;

use base::{NodeId, ResourceId};
use cluster::RequestKind;

use crate::{
    checks::Violation,
    dice::Dice,
    fact::Part,
    faults,
    mischief::FAULTS_MIN,
    node::Running,
    params::{self, DATABASE, Options, Params, exclusive, node_id, promoted},
    queue::Time,
    world::{Event, World},
};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing bad happened, and the core serves.
    Good,
    /// Nothing bad happened; the core waits for a person, and says so.
    Blocked(String),
    /// Something bad happened, or nothing good did.
    Bad(Violation),
}

/// What a run was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    /// Equal for equal runs.
    pub hash: u64,
    /// Events of the queue.
    pub events: u64,
    /// Facts that checks looked at.
    pub facts: u64,
    /// Faults that began.
    pub faults: u32,
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u32>,
    /// Virtual time.
    pub virtual_us: Time,
}

/// How long the core may take to serve, in steps of [`STEP_US`].
const PEACE_STEPS_MAX: u32 = 180;
/// Between two looks.
const STEP_US: Time = 500_000;
/// So many looks in a row must be good.
const STABLE_STEPS: u32 = 6;

/// Runs one seed.
pub fn run(seed: u64, options: &Options) -> Report {
    #[cfg(feature = "sabotage")]
    base::faulty::choose(options.faulty);
    let mut dice = Dice::new(seed);
    let params = Params::draw(&mut dice, options);
    let mut planned = faults::draw(&mut dice, &params, options.duration_us);
    planned.extend(faults::suspension(seed, &params, options.duration_us));
    let edits = if dice.chance(500) { dice.range(1, 4) } else { 0 };
    let mut world = World::new(seed, params, dice, options.trace);
    for (number, fault) in planned.iter().enumerate() {
        world.queue.push(fault.begin, Event::FaultBegins(number));
    }
    world.faults = planned;
    world.faults_until = options.duration_us;
    for _ in 0..edits {
        let at = world.dice.range(options.duration_us / 10, options.duration_us);
        world.queue.push(at, Event::Edit);
    }
    world.queue.push(options.duration_us - options.duration_us / 7, Event::TopUp);
    let verdict =
        if world.run_until(options.duration_us) { peace(&mut world) } else { bad(&world) };
    let few = world.faults_begun < FAULTS_MIN && !matches!(verdict, Verdict::Bad(_));
    assert!(!few, "seed {seed} had only {} faults", world.faults_begun);
    Report {
        verdict,
        hash: world.log.trace_hash(),
        events: world.events,
        facts: world.log.facts,
        faults: world.faults_begun,
        kinds: world.kinds,
        virtual_us: world.now,
    }
}

fn bad(world: &World) -> Verdict {
    match &world.log.violation {
        Some(violation) => Verdict::Bad(violation.clone()),
        None => Verdict::Good,
    }
}

/// A majority is connected and healthy; the others are dead for ever.
fn peace(world: &mut World) -> Verdict {
    let nodes = world.params.nodes;
    let mut order: Vec<usize> = (0..nodes).collect();
    for at in (1..nodes).rev() {
        order.swap(at, world.dice.below(at as u64 + 1) as usize);
    }
    let size = world.dice.range(nodes as u64 / 2 + 1, nodes as u64) as usize;
    let mut core = order[..size].to_vec();
    core.sort_unstable();
    world.log.note(|| format!("peace: {core:?} live on"));
    world.make_peace(&core);
    let mut good = 0;
    for step in 0..PEACE_STEPS_MAX {
        if !world.run_until(world.now + STEP_US) {
            return bad(world);
        }
        good = if missing(world, &core).is_none() { good + 1 } else { 0 };
        if good >= STABLE_STEPS {
            return Verdict::Good;
        }
        if step % 10 == 9 {
            help(world, &core);
        }
    }
    for index in &core {
        let slot = world.machines[*index].slots.get(&Part::Ring);
        let ring = slot.and_then(|slot| slot.running.as_ref()?.as_ring());
        if let Some(status) = ring.map(crate::node::RingPart::status) {
            world.log.note(|| format!("{status:#?}"));
        }
    }
    let missing = missing(world, &core).unwrap_or_else(|| "it does not stay so".into());
    match reason(world, &core) {
        Some(reason) if says_so(world, &core) => Verdict::Blocked(reason),
        Some(reason) => {
            let what = format!("{missing}; {reason}, and no condition says so");
            Verdict::Bad(Violation { id: "L11", at: world.now, what })
        }
        None => Verdict::Bad(Violation { id: "L10", at: world.now, what: missing }),
    }
}

/// What is not yet as it must be.
fn missing(world: &World, core: &[usize]) -> Option<String> {
    let mut eras = Vec::new();
    for index in core {
        let machine = &world.machines[*index];
        let ring = machine.slots.get(&Part::Ring).and_then(|slot| slot.running.as_ref()?.as_ring());
        let Some(ring) = ring else { return Some(format!("no ring part on {}", machine.node)) };
        let Some(era) = ring.era() else { return Some(format!("no era on {}", machine.node)) };
        eras.push(era);
    }
    if eras.windows(2).any(|pair| pair[0] != pair[1]) {
        return Some(format!("several eras: {eras:?}"));
    }
    let newest = &world.api.newest().objects;
    for index in core {
        let slot = world.machines[*index].slots.get(&Part::Ring);
        let ring = slot.and_then(|slot| slot.running.as_ref()?.as_ring());
        let accepted = ring.and_then(|ring| ring.status().revision);
        let accepted = accepted.map(|revision| revision.objects).unwrap_or_default();
        let behind = newest.iter().find(|object| {
            !accepted.iter().any(|(_, uid, of)| *uid == object.uid && *of == object.generation)
        });
        if let Some(object) = behind {
            let node = world.machines[*index].node;
            return Some(format!(
                "{node} has not accepted generation {} of {}",
                object.generation, object.name
            ));
        }
    }
    // What has an object, and what was deleted after the state had accepted it (`Retain`). A state that began from nothing
    // after the deletion, because every disk was lost or the first era opened later, has never heard of it.
    let shown = world.api.newest();
    let exists = |resource: &ResourceId| shown.primitives().any(|(_, m)| m.id == *resource);
    let accepted = &world.log.truth.accepted.1;
    for resource in exclusive().into_iter().filter(|r| exists(r) || accepted.contains(r)) {
        let holders = world.log.truth.holders.get(&resource);
        if holders.is_none_or(|holders| holders.len() != 1) {
            return Some(format!("{resource} runs nowhere"));
        }
    }
    let database = DATABASE.parse().ok().filter(exists)?;
    not_promoted(world, core, &database)
}

/// In peace the database of every member of the core runs, and the one that wants it most is promoted.
fn not_promoted(world: &World, core: &[usize], database: &ResourceId) -> Option<String> {
    if let Some(index) = core.iter().find(|i| !world.machines[**i].kernel.is_there(database)) {
        return Some(format!("{database} does not run on {}", world.machines[*index].node));
    }
    let wish = |index: &&usize| {
        params::wish(world.machines[**index].node, world.now, world.params.moods_until)
    };
    let best = core.iter().max_by_key(wish).map(|index| world.machines[*index].node)?;
    let holders = world.log.truth.holders.get(&promoted(database));
    let only = holders.is_some_and(|holders| holders.len() == 1 && holders.contains(&best));
    (!only).then(|| format!("{database} wants to be promoted on {best}, and is on {holders:?}"))
}

/// What a person does who reads the conditions: confirms what is off, clears failures.
fn help(world: &mut World, core: &[usize]) {
    let at = core[0];
    for index in 0..world.params.nodes {
        if !core.contains(&index) {
            let node = node_id(index);
            world.log.fact(crate::fact::Fact::Confirmed { node });
            let who = "tester".into();
            world.request(at, RequestKind::ConfirmOff { node, incident: None, who });
        } else if !world.machines[index].powered {
            world.power_on(index);
        }
    }
    // of a clone, too: a copy whose stop failed holds up whatever waits for the fencing of its node
    let shown = world.api.newest();
    let mut resources: Vec<ResourceId> = shown.primitives().map(|(_, m)| m.id.clone()).collect();
    resources.extend(exclusive());
    resources.sort_unstable();
    resources.dedup();
    for resource in resources {
        cleanup(world, at, resource);
    }
    for index in core {
        world.request(at, RequestKind::Online(node_id(*index)));
    }
    // those that the dead will not end any more
    if statuses(world, core).iter().any(|status| status.suspended) {
        for index in core {
            world.request(*index, RequestKind::Resume);
        }
    }
}

fn cleanup(world: &mut World, at: usize, resource: ResourceId) {
    world.request(at, RequestKind::Cleanup { resource, node: None::<NodeId> });
}

/// What the members of the core say of themselves.
fn statuses(world: &World, core: &[usize]) -> Vec<cluster::Status> {
    let ring = |index: &usize| {
        let slot = world.machines[*index].slots.get(&Part::Ring)?;
        Some(slot.running.as_ref().and_then(Running::as_ring)?.status())
    };
    core.iter().filter_map(ring).collect()
}

/// SAFETY.md#L11: whoever waits for lost disks says so.
fn says_so(world: &World, core: &[usize]) -> bool {
    let kinds = ["StateLost", "WaitingForAll"];
    statuses(world, core)
        .iter()
        .flat_map(|status| &status.conditions)
        .any(|condition| kinds.contains(&condition.kind.as_str()))
}

/// Why the core waits for a person: too few of its disks are whole, as CLUSTER.md section 3.2 wants it to block. That
/// somebody says `StateLost` is no reason where enough are whole, or all are there: an era has to open then.
fn reason(world: &World, core: &[usize]) -> Option<String> {
    let statuses = statuses(world, core);
    // Its own word, unless another one holds a newer promise of it than it shows.
    let lost = |node: NodeId| {
        statuses.iter().any(|s| s.nodes.iter().any(|of| of.node == node && of.wiped))
    };
    let whole = statuses
        .iter()
        .filter(|status| status.state_era.is_some() && status.me.is_some_and(|me| !lost(me)));
    let whole = whole.count();
    let nodes = world.params.nodes;
    (core.len() < nodes && whole <= nodes / 2)
        .then(|| format!("{whole} of {nodes} disks are whole and here"))
}
