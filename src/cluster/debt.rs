//! The state with which an era opens: who is in, and who owes (CLUSTER.md section 3.4).
//!
//! Invariants: a function of the winning state and the hellos. Every voter outside owes, unless evidence stands in the
//! winning state and no member holds a later promise that names it. The previous configuration is never the measure, nor
//! what the state says that the voter held.

use alloc::{collections::BTreeMap, vec::Vec};

use base::{Configuration, NodeId};
use fencing::Incident;

use crate::{
    faulty::{Rule, broken},
    merge::Merged,
    state::{Debt, FencingRecord, OPERATIONS_KEPT, PowerOn, Present, State, fnv},
    wire::{Hello, Seen},
};

/// The state with which the era of `configuration` opens, from the winning one (or from nothing, at the first start).
pub(crate) fn base_state(
    winning: Option<&State>,
    configuration: &Configuration,
    hellos: &BTreeMap<NodeId, Hello>,
    merged: &Merged,
    coordinator: NodeId,
) -> State {
    let ring = configuration.ring;
    let empty = State::empty(ring, coordinator, &merged.voters);
    let was = winning.unwrap_or(&empty);
    let mut base = was.clone();
    base.coordinator = coordinator;
    for node in was.voters.keys().filter(|n| !configuration.contains(**n)) {
        let debt = debt_outside(was, winning.is_some(), *node, configuration, hellos);
        if let Some(voter) = base.voters.get_mut(node) {
            if debt != voter.debt {
                base.evidence.remove(node);
            }
            voter.debt = debt;
            if let Some(gone) = was.members.get(node) {
                voter.detached = gone.detached;
            }
        }
        if let Debt::Owed { incident, .. } = debt {
            open_record(&mut base, Incident { node: *node, ring: incident });
        }
    }
    base.members.clear();
    base.void_half_a_suspension(was.voters.keys().all(|n| configuration.contains(*n)));
    for (node, hello) in hellos {
        base.members.insert(*node, present(hello));
        close_on_return(&mut base, *node);
        if let Some(voter) = base.voters.get_mut(node) {
            voter.debt = Debt::Present;
            voter.watchdog = hello.watchdog.filter(|_| !base.suspended);
            voter.uuid = hello.uuid.or(voter.uuid);
            voter.detached = None;
        }
        base.let_in(*node);
        base.evidence.remove(node);
    }
    forget_what_was_in_flight(&mut base);
    move_to_era(&mut base, was, configuration);
    base
}

fn debt_outside(
    was: &State,
    has_state: bool,
    node: NodeId,
    configuration: &Configuration,
    hellos: &BTreeMap<NodeId, Hello>,
) -> Debt {
    let ring = configuration.ring;
    let Some(voter) = was.voters.get(&node) else { return Debt::Paid };
    let newest: Option<Seen> = hellos
        .values()
        .flat_map(|h| h.seen.iter().filter(|s| s.node == node).copied())
        .max_by_key(|s| s.ring);
    let debt = match (voter.debt, was.members.get(&node)) {
        (Debt::Present, Some(m)) if m.left => Debt::Paid,
        (Debt::Present, Some(_)) if sabotage_previous(node, hellos) => Debt::Paid,
        (Debt::Present, Some(_)) if sabotage_clean_stop(was, node) => Debt::Paid,
        (Debt::Present, m) => Debt::Owed {
            incident: ring,
            incarnation: m.map(|m| m.incarnation),
            boot: m.map(|m| m.boot),
        },
        (debt, _) => debt,
    };
    match newest {
        // A later promise names it: it may have been in an era that this state has not seen.
        Some(seen)
            if (!has_state || seen.ring > was.position.era)
                && !broken(Rule::DebtPreviousConfiguration) =>
        {
            Debt::Owed {
                incident: ring,
                incarnation: Some(seen.incarnation),
                boot: Some(seen.boot),
            }
        }
        _ => debt,
    }
}

/// Faulty rule: only members of the previous configuration owe.
fn sabotage_previous(node: NodeId, hellos: &BTreeMap<NodeId, Hello>) -> bool {
    broken(Rule::DebtPreviousConfiguration) && !hellos.values().any(|h| h.previous.contains(&node))
}

/// Faulty rule: who stopped everything holds nothing.
fn sabotage_clean_stop(was: &State, node: NodeId) -> bool {
    broken(Rule::CleanStopEvidence)
        && was.members.get(&node).is_some_and(|m| m.reported)
        && !was
            .instances
            .iter()
            .any(|((_, n), i)| *n == node && i.role.is_none_or(base::Role::is_active))
        && !was.pending.values().any(|p| p.node == node)
}

fn present(hello: &Hello) -> Present {
    Present {
        incarnation: hello.incarnation,
        boot: hello.boot,
        uuid: hello.uuid,
        // Faulty rule: what was known before stands in for the report.
        reported: broken(Rule::NoReports),
        left: false,
        leaving: false,
        detached: None,
    }
}

/// A target that is in a new configuration: its eviction is void, its incidents are over by its report.
fn close_on_return(base: &mut State, node: NodeId) {
    for (incident, record) in &mut base.operations {
        if incident.node == node && !record.closed {
            record.closed = true;
            record.power_on = match record.power_on {
                PowerOn::NotWanted => PowerOn::NotWanted,
                _ => PowerOn::Ended,
            };
            if record.evidence.is_none() {
                record.evidence = Some("Returned".into());
            }
        }
    }
}

pub(crate) fn open_record(state: &mut State, incident: Incident) {
    let opened_at = state.clock;
    state
        .operations
        .entry(incident)
        .or_insert_with(|| FencingRecord { opened_at, ..FencingRecord::default() });
    let closed: Vec<Incident> = state
        .operations
        .iter()
        .filter(|(i, r)| i.node == incident.node && r.closed)
        .map(|(i, _)| *i)
        .collect();
    // The map is ordered by (node, ring), so the oldest come first.
    for old in closed.iter().take(closed.len().saturating_sub(OPERATIONS_KEPT)) {
        state.operations.remove(old);
        state.commanded.forget(*old);
    }
}

/// Nothing in flight survives a configuration: executors void older orders, intents are void, reports belong to
/// their era (sections 2, 3.5 and 6).
fn forget_what_was_in_flight(base: &mut State) {
    base.intents.clear();
    for pending in base.evidence.values_mut() {
        pending.held.clear();
    }
    for record in base.operations.values_mut() {
        if let PowerOn::Ordered(_) = record.power_on {
            record.power_on = PowerOn::Wanted;
        }
    }
    if let Some(change) = &mut base.change {
        change.held.clear();
    }
    let reported_stays = broken(Rule::NoReports);
    if !reported_stays {
        base.instances.clear();
        base.known.clear();
    } else {
        let members = base.members.clone();
        base.instances.retain(|(_, node), _| members.contains_key(node));
    }
    base.scores.forget_all();
    base.pending.clear();
    base.next_order = 0;
    base.decided = None;
}

fn move_to_era(base: &mut State, was: &State, configuration: &Configuration) {
    let ring = configuration.ring;
    let mut hash = fnv(was.position.hash, &ring.seq.to_le_bytes());
    hash = fnv(hash, &ring.rep.as_u16().to_le_bytes());
    for member in &configuration.members {
        hash = fnv(hash, &member.node.as_u16().to_le_bytes());
        hash = fnv(hash, &member.incarnation.random.to_le_bytes());
    }
    base.position = crate::state::Position { era: ring, index: 0, hash };
}
