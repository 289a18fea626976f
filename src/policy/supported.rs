//! What a model may need that no stage plans yet. A wrong plan is worse than none, so it is refused by name.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use crate::model::{Model, Options, Resource, ResourceKind};

/// Features of the model that are not planned yet, in the words of its configuration.
pub(crate) fn missing(model: &Model) -> Vec<String> {
    let mut found: BTreeSet<String> = model.inexpressible.iter().cloned().collect();
    let strategy = value(&model.properties, "placement-strategy");
    let is_bundle = |resource: &Resource| matches!(resource.kind, ResourceKind::Bundle(_));
    // what a replica takes of its host is not known yet
    if strategy.is_some_and(|name| name != "default") && model.resources.iter().any(is_bundle) {
        found.insert("placement strategies with bundles".into());
    }
    for resource in &model.resources {
        look(model, resource, &mut found);
    }
    found.into_iter().collect()
}

fn value<'m>(options: &'m Options, name: &str) -> Option<&'m str> {
    options
        .sets
        .iter()
        .flat_map(|set| &set.pairs)
        .find(|(key, _)| key == name)
        .map(|(_, v)| v.as_str())
}

fn look(model: &Model, resource: &Resource, found: &mut BTreeSet<String>) {
    // the door that knows guest nodes makes their connections
    if value(&resource.meta, "remote-node").is_some_and(|name| !is_configured(model, name)) {
        found.insert("guest nodes".into());
    }
    match &resource.kind {
        ResourceKind::Primitive(_) => {}
        ResourceKind::Group(members) => {
            members.iter().for_each(|member| look(model, member, found))
        }
        ResourceKind::Clone(spec) => look(model, &spec.child, found),
        ResourceKind::Bundle(bundle) => {
            // the door that knows bundles says what they stand for
            if bundle.parts.is_empty() {
                found.insert("bundles".into());
            }
        }
    }
}

fn is_configured(model: &Model, id: &str) -> bool {
    let is = |resource: &Resource| resource.id == id;
    model.resources.iter().any(|resource| match &resource.kind {
        ResourceKind::Primitive(_) => is(resource),
        ResourceKind::Bundle(bundle) => {
            is(resource) || bundle.parts.iter().any(|part| is(&part.container))
        }
        ResourceKind::Group(members) => members.iter().any(is),
        ResourceKind::Clone(spec) => match &spec.child.kind {
            ResourceKind::Group(members) => members.iter().any(is),
            _ => is(&spec.child),
        },
    })
}
