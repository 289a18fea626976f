//! What a model may need that no stage plans yet. A wrong plan is worse than none, so it is refused by name.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use crate::memory::Memory;
use crate::model::{Model, Options, Primitive, Resource, ResourceKind, parse_bool};

/// Features of the model that are not planned yet, in the words of its configuration.
pub(crate) fn missing(model: &Model, memory: &Memory) -> Vec<String> {
    let mut found: BTreeSet<String> = model.inexpressible.iter().cloned().collect();
    let strategy = value(&model.properties, "placement-strategy");
    if strategy.is_some_and(|strategy| strategy != "default") {
        found.insert("placement strategies".into());
    }
    for resource in &model.resources {
        look(model, resource, &mut found);
    }
    for (at, node) in model.nodes.iter().enumerate() {
        if memory.has_checked(at, &node.history) {
            continue;
        }
        for history in &node.history {
            for operation in &history.operations {
                if matches!(operation.operation.as_str(), "migrate_to" | "migrate_from") {
                    found.insert("live migration".into());
                }
            }
            if history.container.is_some() {
                found.insert("containers".into());
            }
            // a remote node without any connection is a node that cannot be reached; with one it is more than that
            let remote = history.agent == "remote"
                && history.provider == "pacemaker"
                && history.class == "ocf";
            // one that is configured as something else now is that
            if remote && !model.resources.iter().any(|resource| resource.id == history.resource) {
                found.insert("remote nodes".into());
            }
        }
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
    let migrates = value(&resource.meta, "allow-migrate")
        .or_else(|| value(&model.resource_defaults, "allow-migrate"));
    if migrates.and_then(parse_bool) == Some(true) {
        found.insert("live migration".into());
    }
    if value(&resource.meta, "container").is_some() {
        found.insert("containers".into());
    }
    if value(&resource.meta, "remote-node").is_some() {
        found.insert("guest nodes".into());
    }
    match &resource.kind {
        ResourceKind::Primitive(primitive) => {
            if is_remote(primitive) {
                found.insert("remote nodes".into());
            }
        }
        ResourceKind::Group(members) => {
            members.iter().for_each(|member| look(model, member, found))
        }
        ResourceKind::Clone(spec) => look(model, &spec.child, found),
        ResourceKind::Bundle(_) => {
            found.insert("bundles".into());
        }
    }
}

fn is_remote(primitive: &Primitive) -> bool {
    primitive.class == "ocf" && primitive.provider == "pacemaker" && primitive.agent == "remote"
}
