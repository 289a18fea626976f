//! A remote node beside the others, with a connection that is up, down, lost or refused, and what may run there.

use policy::{
    Model,
    model::{Node, NodeKind, NodeState, Resource, ResourceHistory, ResourceKind},
};

use super::{Mood, bytes::Bytes};

/// The name of the node and of its connection.
pub(crate) const NAME: &str = "r1";

pub(super) fn add(model: &mut Model, bytes: &mut Bytes<'_>, mood: Mood) {
    let mut connection = Resource::primitive(NAME, "ocf", "pacemaker", "remote").with_operation(
        "monitor",
        10_000,
        &[],
    );
    let calm = mood == Mood::Calm;
    if !calm && bytes.chance(40) {
        connection = connection.with_meta("target-role", "Stopped");
    }
    if !calm && bytes.chance(40) {
        connection = connection.with_parameter("reconnect_interval", "60");
    }
    let home = bytes.below(model.nodes.len());
    for (at, node) in model.nodes.iter_mut().enumerate() {
        let history = ResourceHistory::of(NAME, "ocf", "pacemaker", "remote");
        let history = match bytes.byte() {
            _ if calm && at == home => {
                history.with_done("start", 0, 0).with_done("monitor", 10_000, 0)
            }
            _ if calm || at != home => history.with_done("monitor", 0, 7),
            0..=100 => history.with_done("start", 0, 0).with_done("monitor", 10_000, 0),
            101..=150 => history.with_done("start", 0, 0).with_done("monitor", 10_000, 1),
            151..=180 => history.with_done("start", 0, 1),
            _ => history.with_done("start", 0, 0).with_done("stop", 0, 0),
        };
        node.history.push(history);
    }
    let state = NodeState { remote_fenced: !calm && bytes.chance(60), ..NodeState::default() };
    let mut node = Node { kind: NodeKind::Remote, state: Some(state), ..Node::offline(NAME) };
    node.attributes.set("zone", bytes.pick(&["east", "west"]));
    if !calm && bytes.chance(16) {
        node.transient.insert("shutdown".to_owned(), super::NOW.to_string());
    }
    for resource in model.resources.iter() {
        if !matches!(resource.kind, ResourceKind::Primitive(_)) || resource.id == "fence" {
            continue;
        }
        let history = ResourceHistory::of(&resource.id, "ocf", "heartbeat", "Dummy");
        node.history.push(match bytes.byte() {
            _ if calm => history.with_done("monitor", 0, 7),
            0..=60 => history.with_done("start", 0, 0).with_done("monitor", 10_000, 0),
            61..=90 => history.with_done("start", 0, 0).with_done("monitor", 10_000, 7),
            91..=120 => continue,
            _ => history.with_done("monitor", 0, 7),
        });
    }
    model.nodes.push(node);
    model.resources.push(connection);
}
