//! What the engine is known to get wrong, and what is therefore not generated for the time being. A line goes when its
//! fault is repaired; `PALISADE_LAW_OPEN=1` generates everything.

use std::collections::BTreeSet;

use policy::{
    Model,
    model::{Resource, ResourceKind},
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
    // copies of two clones that repel each other change places in every plan, one after the other
    model.constraints.colocations.retain(|c| {
        c.score > 0 || !c.sets.iter().all(|s| s.resources.iter().all(|r| clones.contains(r)))
    });
}

const fn is_clone(resource: &Resource) -> bool {
    matches!(resource.kind, ResourceKind::Clone(_))
}
