//! Tickets: what depends on one that this site does not hold may not run, or not be promoted.

use crate::{
    model::{INFINITY, LossPolicy, Role, TicketConstraint},
    world::{ResIx, Source, World},
};

use super::{constraints::find, nodes::mark_for_fencing};

pub(crate) fn read(world: &mut World<'_>) {
    let model = world.model;
    for constraint in &model.constraints.tickets {
        let ticket = model.tickets.iter().find(|ticket| ticket.id == constraint.ticket);
        let granted = ticket.is_some_and(|ticket| ticket.granted);
        let standby = ticket.is_some_and(|ticket| ticket.standby);
        for name in &constraint.resources {
            let Some(r) = find(world, name, &constraint.id) else { continue };
            if !granted || standby {
                world[r].ticket_missing = true;
                withhold(world, r, constraint, granted);
            }
        }
    }
}

fn withhold(world: &mut World<'_>, r: ResIx, constraint: &TicketConstraint, granted: bool) {
    if world.child_count(r) > 0 {
        for at in 0..world.child_count(r) {
            let child = world.child(r, at);
            withhold(world, child, constraint, granted);
        }
        return;
    }
    let loss = match constraint.loss {
        // where nobody can be fenced, what lost its ticket is stopped
        LossPolicy::Fence if !world.opts.fencing => LossPolicy::Stop,
        loss => loss,
    };
    let promoted_only = constraint.role == Some(Role::Promoted);
    let active = !world[r].running_on.is_empty();
    if granted || !active {
        if !promoted_only || loss == LossPolicy::Stop {
            world.add_location(r, None, -INFINITY, Source::Ticket);
        }
        return;
    }
    match loss {
        LossPolicy::Stop => world.add_location(r, None, -INFINITY, Source::Ticket),
        // promotion is withheld where promotions are ranked
        LossPolicy::Demote if promoted_only => {}
        LossPolicy::Demote => world.add_location(r, None, -INFINITY, Source::Ticket),
        LossPolicy::Fence => {
            if !concerns(world, r, constraint.role) {
                return;
            }
            world.add_location(r, None, -INFINITY, Source::Ticket);
            for at in 0..world[r].running_on.len() {
                let node = world[r].running_on[at];
                mark_for_fencing(world, node, "a ticket was lost");
            }
        }
        LossPolicy::Freeze => {
            if concerns(world, r, constraint.role) {
                world[r].managed = false;
                world[r].blocked = true;
            }
        }
    }
}

/// Whether the resource is in the role that the ticket is for.
fn concerns(world: &World<'_>, r: ResIx, role: Option<Role>) -> bool {
    match role {
        None | Some(Role::Started | Role::Unknown) => true,
        Some(Role::Unpromoted) => world[r].role >= Role::Started,
        Some(role) => world[r].role == role,
    }
}
