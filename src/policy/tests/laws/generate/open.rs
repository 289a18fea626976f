//! What the engine is known to get wrong, and what is therefore not generated for the time being. A line goes when its
//! fault is repaired; `PALISADE_LAW_OPEN=1` generates everything.

use std::collections::BTreeSet;

use policy::{
    Model,
    model::{JoinPhase, Resource, ResourceKind},
};

pub(super) fn leave_out(model: &mut Model) {
    if std::env::var_os("PALISADE_LAW_OPEN").is_some() {
        return;
    }
    // a clone that cannot start everywhere restarts what comes after it, in every plan; as "first" of a mandatory
    // order it does not always hand on that it cannot start at all
    let clones: BTreeSet<String> =
        model.resources.iter().filter(|r| is_clone(r)).map(|r| r.id.clone()).collect();
    model.constraints.orders.retain(|o| {
        o.sets.first().is_none_or(|set| set.resources.iter().all(|id| !clones.contains(id)))
    });
    // without quorum, "freeze" restarts the copies of promotable clones in every plan
    let promotable = model
        .resources
        .iter()
        .any(|r| matches!(&r.kind, ResourceKind::Clone(spec) if spec.promotable));
    for (name, value) in model.properties.sets.iter_mut().flat_map(|set| &mut set.pairs) {
        if promotable && name == "no-quorum-policy" && value == "freeze" {
            "stop".clone_into(value);
        }
    }
    // what is not managed and ends with its fenced node is taken for running by what comes after it
    let unmanaged: BTreeSet<String> = model
        .resources
        .iter()
        .filter(|r| {
            let pairs = r.meta.sets.iter().flat_map(|set| &set.pairs);
            pairs.into_iter().any(|(name, _)| matches!(name.as_str(), "is-managed" | "maintenance"))
        })
        .map(|r| r.id.clone())
        .collect();
    model.constraints.orders.retain(|o| {
        o.sets.first().is_none_or(|set| set.resources.iter().all(|id| !unmanaged.contains(id)))
    });
    // what runs on a node that is still joining does not keep as many others from being started or promoted
    for node in &mut model.nodes {
        if node.state.as_ref().is_some_and(|s| s.online && s.join != JoinPhase::Member) {
            node.history.clear();
        }
    }
    // copies of two clones that repel each other change places in every plan, one after the other
    model.constraints.colocations.retain(|c| {
        c.score > 0 || !c.sets.iter().all(|s| s.resources.iter().all(|r| clones.contains(r)))
    });
    // a second copy is started beside one that failed and is blocked
    model.resources.iter_mut().filter(|r| is_clone(r)).for_each(unblock);
}

const fn is_clone(resource: &Resource) -> bool {
    matches!(resource.kind, ResourceKind::Clone(_))
}

fn unblock(resource: &mut Resource) {
    match &mut resource.kind {
        ResourceKind::Primitive(primitive) => {
            for operation in &mut primitive.operations {
                for (name, value) in operation.meta.sets.iter_mut().flat_map(|s| &mut s.pairs) {
                    if name == "on-fail" && value == "block" {
                        "restart".clone_into(value);
                    }
                }
            }
        }
        ResourceKind::Group(members) => members.iter_mut().for_each(unblock),
        ResourceKind::Clone(spec) => unblock(&mut spec.child),
        ResourceKind::Bundle(_) => {}
    }
}
