//! Nodes that resources stand for: a remote node is called like its connection, a guest node as the meta attribute
//! `remote-node` of its container says. The connection of a guest node is nowhere written and is made here.

use policy::{
    Model,
    model::{Node, NodeKind, Options, Resource, ResourceKind},
};
use roxmltree::Node as Xml;

use crate::{
    document::{Document, Error},
    resources::Names,
};

/// How often the connection of a guest node is watched.
const WATCH_MS: u64 = 30_000;

/// Adds the nodes, and the connections of guest nodes after all other resources.
pub(crate) fn expand<'a, 'i>(
    doc: &Document<'a, 'i>,
    section: Xml<'a, 'i>,
    names: &mut Names,
    model: &mut Model,
) -> Result<(), Error> {
    let mut connections = Vec::new();
    let mut nodes = Vec::new();
    for resource in model.resources.iter() {
        let members = match &resource.kind {
            ResourceKind::Group(members) => members.as_slice(),
            _ => core::slice::from_ref(resource),
        };
        for member in members {
            if let Some(connection) = guest(member) {
                nodes.push(connection.id.clone());
                connections.push(connection);
            } else if is_connection(member) {
                nodes.push(member.id.clone());
            }
        }
    }
    for connection in connections {
        if !names.resources.insert(connection.id.clone()) {
            let text = format!("remote-node={:?} is the id of a resource too", connection.id);
            return Err(doc.error(section, &text));
        }
        model.resources.push(connection);
    }
    for name in nodes {
        if !model.nodes.iter().any(|node| node.name == name) {
            let id = name.clone();
            model.nodes.push(Node { id, name, kind: NodeKind::Remote, ..Node::default() });
        }
    }
    Ok(())
}

fn is_connection(resource: &Resource) -> bool {
    match &resource.kind {
        ResourceKind::Primitive(primitive) => {
            primitive.class == "ocf"
                && primitive.provider == "pacemaker"
                && primitive.agent == "remote"
        }
        _ => false,
    }
}

fn guest(container: &Resource) -> Option<Resource> {
    if !matches!(container.kind, ResourceKind::Primitive(_)) {
        return None;
    }
    let value = |name: &str| pair(&container.meta, name);
    let mut connection = Resource::primitive(value("remote-node")?, "ocf", "pacemaker", "remote")
        .with_meta("container", &container.id)
        .with_operation("monitor", WATCH_MS, &[("timeout", "30s")]);
    for (from, to) in [("remote-allow-migrate", "allow-migrate"), ("remote-managed", "is-managed")]
    {
        if let Some(value) = pair(&container.meta, from) {
            connection.meta.set(to, value);
        }
    }
    for (from, to) in [("remote-addr", "addr"), ("remote-port", "port")] {
        if let Some(value) = pair(&container.meta, from) {
            connection = connection.with_parameter(to, value);
        }
    }
    if let Some(value) = pair(&container.meta, "remote-connect-timeout") {
        connection = connection.with_operation("start", 0, &[("timeout", value)]);
    }
    Some(connection)
}

fn pair<'o>(options: &'o Options, name: &str) -> Option<&'o str> {
    let mut pairs = options.sets.iter().flat_map(|set| &set.pairs);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
