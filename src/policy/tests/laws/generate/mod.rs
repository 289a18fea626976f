//! Small clusters with everything that the engine plans: nodes in all states, primitives, groups, clones, promotable
//! clones, constraints, histories, failures.
//!
//! ```text
//!   bytes ─▶ Bytes ─▶ nodes ─▶ resources ─▶ constraints ─▶ histories ─▶ Model
//! ```

mod bytes;
mod constraints;
mod history;
pub(crate) mod remote;
mod resources;

use bytes::Bytes;
use policy::{Model, model::Node};

/// How wild the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// All nodes online and quorate, nothing failed, nothing pending, everything managed; each resource runs where
    /// its history says and at most there.
    Calm,
    /// Anything that may happen to a cluster.
    Wild,
}

/// The seconds since 1970 at which every generated model is planned.
pub(crate) const NOW: i64 = 1_700_000_000;

/// A model that `validate` accepts.
pub(crate) fn model(bytes: &[u8], mood: Mood) -> Model {
    let mut bytes = Bytes::new(bytes);
    let mut model = Model::at(NOW);
    properties(&mut model, &mut bytes, mood);
    nodes(&mut model, &mut bytes, mood);
    resources::add(&mut model, &mut bytes, mood);
    constraints::add(&mut model, &mut bytes, mood);
    history::add(&mut model, &mut bytes, mood);
    model
}

/// As [`model`], with a remote node.
pub(crate) fn model_with_remote(bytes: &[u8], mood: Mood) -> Model {
    let (own, rest) = bytes.split_at(bytes.len().min(24));
    let mut model = model(rest, mood);
    remote::add(&mut model, &mut Bytes::new(own), mood);
    model
}

fn properties(model: &mut Model, bytes: &mut Bytes<'_>, mood: Mood) {
    let stickiness = bytes.pick(&["1", "0", "100", "INFINITY"]);
    // calm clusters stay as they are
    let stickiness = if mood == Mood::Calm && stickiness == "0" { "1" } else { stickiness };
    model.resource_defaults.set("resource-stickiness", stickiness);
    if mood == Mood::Calm {
        model.had_quorum = true;
        return;
    }
    model.quorate = !bytes.chance(40);
    model.had_quorum = bytes.chance(200);
    let policy = bytes.pick(&["stop", "freeze", "ignore", "demote", "suicide"]);
    model.properties.set("no-quorum-policy", policy);
    if bytes.chance(50) {
        let strategy = bytes.pick(&["utilization", "minimal", "balanced"]);
        model.properties.set("placement-strategy", strategy);
    }
    let rare = [
        ("fencing-enabled", "false", 60),
        ("symmetric-cluster", "false", 15),
        ("maintenance-mode", "true", 8),
        ("stop-all-resources", "true", 8),
        ("enable-startup-probes", "false", 15),
        ("start-failure-is-fatal", "false", 80),
        ("startup-fencing", "false", 30),
        ("concurrent-fencing", "false", 60),
        ("fencing-action", "off", 60),
        ("node-health-strategy", "migrate-on-red", 10),
        ("shutdown-lock", "true", 20),
    ];
    for (name, value, of_256) in rare {
        if bytes.chance(of_256) {
            model.properties.set(name, value);
        }
    }
}

fn nodes(model: &mut Model, bytes: &mut Bytes<'_>, mood: Mood) {
    let count = 1 + bytes.below(5);
    for number in 1..=count {
        let name = format!("n{number}");
        let mut node = match bytes.byte() {
            _ if mood == Mood::Calm => Node::online(&name),
            1..=25 => Node::lost(&name),
            26..=40 => Node::offline(&name),
            41..=45 => Node { state: None, ..Node::online(&name) },
            46..=52 => {
                let mut node = Node::online(&name);
                if let Some(state) = &mut node.state {
                    state.join = bytes
                        .pick(&[policy::model::JoinPhase::Pending, policy::model::JoinPhase::Down]);
                }
                node
            }
            _ => Node::online(&name),
        };
        node.attributes.set("zone", bytes.pick(&["east", "west"]));
        if mood == Mood::Wild {
            node.utilization.set("memory", bytes.pick(&["4", "2", "8"]));
            if bytes.chance(16) {
                node.attributes.set("standby", "on");
            }
            if bytes.chance(8) {
                node.attributes.set("maintenance", "true");
            }
            if bytes.chance(8) {
                node.transient.insert("shutdown".to_owned(), NOW.to_string());
            }
            if bytes.chance(8) {
                node.transient.insert("#health-disk".to_owned(), "red".to_owned());
            }
        }
        model.nodes.push(node);
    }
    model.coordinator = Some("n1".to_owned());
}
