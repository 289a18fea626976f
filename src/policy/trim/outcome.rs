//! The state before and after the plan.

use alloc::{string::String, vec::Vec};

use crate::{
    model::Role,
    plan::Placement,
    world::{NodeIx, Replica, ResIx, Verb, World},
};

use super::{
    Places,
    graph::{Graph, public_name},
};

fn primitives(world: &World<'_>) -> impl Iterator<Item = ResIx> {
    (0..world.res.len()).map(ResIx::at).filter(|r| world[*r].is_primitive())
}

fn promotable(world: &World<'_>, r: ResIx) -> bool {
    world[world.top_of(r)].promotable
}

/// The role that an active instance shows.
fn shown_role(world: &World<'_>, r: ResIx, role: Role) -> Role {
    match role {
        Role::Promoted => Role::Promoted,
        _ if promotable(world, r) => Role::Unpromoted,
        _ => Role::Started,
    }
}

/// The replica that a container is.
fn replica_of(world: &World<'_>, r: ResIx) -> Option<(ResIx, Replica)> {
    let bundle = world[r].parent.filter(|parent| world[*parent].is_bundle)?;
    let replicas = &world[bundle].replicas;
    Some((bundle, *replicas.iter().find(|replica| replica.container == r)?))
}

fn replica_name(world: &World<'_>, bundle: ResIx, container: ResIx) -> String {
    alloc::format!("{}#{}", world[bundle].id, world[container].number)
}

/// What people call a container, if it is that of a bundle.
pub(super) fn name_of_replica(world: &World<'_>, r: ResIx) -> Option<String> {
    let (bundle, _) = replica_of(world, r)?;
    Some(replica_name(world, bundle, r))
}

/// Everything that can run, by the name that people know it by.
pub(super) struct Names<'w>(Vec<(&'w str, ResIx)>);

impl<'w> Names<'w> {
    pub(super) fn of(world: &'w World<'_>) -> Self {
        let part = |r: ResIx| world[r].bundle.is_some() || world[world.top_of(r)].bundle.is_some();
        let shown = primitives(world).filter(|r| !part(*r));
        let mut names: Vec<_> = shown.map(|r| (public_name(world, r), r)).collect();
        names.sort_unstable();
        Self(names)
    }

    fn collect(
        &self,
        world: &World<'_>,
        places: impl Fn(ResIx, &mut Vec<(NodeIx, Role)>),
    ) -> Places {
        let mut found = Vec::new();
        let of_one = |same: &[(&str, ResIx)]| {
            let mut all = Vec::new();
            for (_, r) in same {
                if let Some((bundle, replica)) = replica_of(world, *r) {
                    places(*r, &mut found);
                    let hosts = core::mem::take(&mut found);
                    if let Some(child) = replica.child {
                        places(child, &mut found);
                    }
                    let inside: Vec<(NodeIx, Role)> = core::mem::take(&mut found);
                    let role = match replica.child {
                        None => Role::Started,
                        Some(child) => inside
                            .first()
                            .map_or(Role::Stopped, |(_, role)| shown_role(world, child, *role)),
                    };
                    let node = |node: NodeIx| String::from(world[node].name());
                    let list = hosts.iter().map(|(host, _)| Placement { node: node(*host), role });
                    return (replica_name(world, bundle, *r), list.collect());
                }
                places(*r, &mut found);
                all.extend(found.drain(..).map(|(node, role)| Placement {
                    node: String::from(world[node].name()),
                    role: shown_role(world, *r, role),
                }));
            }
            all.sort();
            (String::from(same[0].0), all)
        };
        self.0.chunk_by(|(a, _), (b, _)| a == b).map(of_one).collect()
    }
}

fn running(world: &World<'_>, r: ResIx, places: &mut Vec<(NodeIx, Role)>) {
    let res = &world[r];
    places.extend(res.running_on.iter().map(|node| (*node, res.role)));
}

pub(super) fn before(world: &World<'_>, names: &Names<'_>) -> Places {
    names.collect(world, |r, places| running(world, r, places))
}

/// What is there once every action of the plan has succeeded.
pub(super) fn after(world: &World<'_>, graph: &Graph, names: &Names<'_>) -> Places {
    let mut gone = alloc::vec![false; world.nodes.len()];
    for at in &graph.acts {
        if let (Verb::Fence | Verb::Shutdown, Some(node)) = (world[*at].verb, world[*at].node) {
            gone[node.ix()] = true;
        }
    }
    names.collect(world, |r, places| {
        running(world, r, places);
        let acts = &world[r].acts;
        let done = |verb: Verb| {
            acts.iter()
                .filter(|at| graph.position[at.ix()].is_some())
                .map(|at| &world[*at])
                .filter(move |act| act.verb == verb)
                .filter_map(|act| act.node)
        };
        for node in done(Verb::Demote) {
            for place in places.iter_mut().filter(|place| place.0 == node) {
                place.1 = Role::Unpromoted;
            }
        }
        places.retain(|(node, _)| !gone[node.ix()] && done(Verb::Stop).all(|left| left != *node));
        for node in done(Verb::Start) {
            places.retain(|place| place.0 != node);
            places.push((node, Role::Started));
        }
        for node in done(Verb::Promote) {
            for place in places.iter_mut().filter(|place| place.0 == node) {
                place.1 = Role::Promoted;
            }
        }
    })
}
