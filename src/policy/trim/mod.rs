//! Stage 6: what remains of the actions is the plan.

mod explain;
mod graph;
mod outcome;

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    Detail,
    plan::{Placement, Plan, ScoreRow},
    world::World,
};

pub(crate) fn run(world: &World<'_>, detail: Detail) -> Plan {
    let graph = graph::build(world);
    let (actions, order) = graph::render(world, &graph);
    let names = outcome::Names::of(world);
    let placements = outcome::after(world, &graph, &names);
    let current = outcome::before(world, &names);
    let fenced = graph::nodes_with(world, &graph, crate::world::Verb::Fence);
    let unfenced = graph::nodes_with(world, &graph, crate::world::Verb::Unfence);
    let wanted = if detail == Detail::Reasons { world.scores.as_slice() } else { &[] };
    let scores = wanted
        .iter()
        .map(|note| ScoreRow {
            stage: note.stage,
            resource: world[note.resource].id.clone(),
            node: String::from(world[note.node].name()),
            score: note.score,
        })
        .collect();
    let (explanations, nodes) = match detail {
        Detail::Reasons => (explain::run(world, &graph), explain::nodes(world, &graph)),
        Detail::Decision => (BTreeMap::new(), BTreeMap::new()),
    };
    Plan {
        placements,
        current,
        scores,
        actions,
        order,
        fenced,
        unfenced,
        explanations,
        nodes,
        warnings: world.warnings.clone(),
    }
}

type Places = BTreeMap<String, Vec<Placement>>;
