//! The status section: what is known of nodes, tickets and history.

use std::collections::{BTreeMap, BTreeSet};

use policy::{
    Model,
    model::{
        JoinPhase, NodeState, OperationRecord, OperationStatus, ParameterDigests, ResourceHistory,
        Ticket,
    },
};
use roxmltree::Node;

use crate::{
    document::{Document, Error, boolean, child, elements, number},
    rules::options,
};

pub(crate) fn read<'a, 'i>(
    doc: &Document<'a, 'i>,
    section: Node<'a, 'i>,
    model: &mut Model,
) -> Result<(), Error> {
    let by_id: BTreeMap<String, usize> =
        model.nodes.iter().enumerate().map(|(index, node)| (node.id.clone(), index)).collect();
    let by_name: BTreeMap<String, usize> =
        model.nodes.iter().enumerate().map(|(index, node)| (node.name.clone(), index)).collect();
    // connections that are no longer configured lead to nodes that are not either
    let connected: BTreeSet<&str> = section
        .descendants()
        .filter(|part| part.has_tag_name("lrm_resource"))
        .filter(|part| {
            part.attribute("type") == Some("remote")
                && part.attribute("provider") == Some("pacemaker")
        })
        .filter_map(|part| part.attribute("id"))
        .collect();
    let mut seen = 0;
    for part in elements(section) {
        match part.tag_name().name() {
            "node_state" => {
                let index = part
                    .attribute("id")
                    .and_then(|id| by_id.get(id))
                    .or_else(|| part.attribute("uname").and_then(|name| by_name.get(name)));
                let index = match index {
                    Some(index) => *index,
                    // remote nodes may have state without being declared
                    None if boolean(part.attribute("remote_node")) == Some(true)
                        || part.attribute("uname").is_some_and(|name| connected.contains(name)) =>
                    {
                        let name = part.attribute("uname").or_else(|| part.attribute("id"));
                        let name = name.unwrap_or_default().to_owned();
                        model.nodes.push(policy::model::Node {
                            id: name.clone(),
                            name,
                            kind: policy::model::NodeKind::Remote,
                            ..policy::model::Node::default()
                        });
                        model.nodes.len() - 1
                    }
                    // state of a node that nobody configured says nothing
                    None => continue,
                };
                read_node(doc, part, &mut model.nodes[index])?;
                model.nodes[index].history_order = seen;
                seen += 1;
            }
            "tickets" => {
                for ticket in elements(part) {
                    model.tickets.push(read_ticket(doc, ticket)?);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_ticket<'a, 'i>(doc: &Document<'a, 'i>, node: Node<'a, 'i>) -> Result<Ticket, Error> {
    Ok(Ticket {
        id: doc.required(node, "id")?.to_owned(),
        granted: boolean(node.attribute("granted")).unwrap_or(false),
        standby: boolean(node.attribute("standby")).unwrap_or(false),
    })
}

fn read_node<'a, 'i>(
    doc: &Document<'a, 'i>,
    part: Node<'a, 'i>,
    node: &mut policy::model::Node,
) -> Result<(), Error> {
    let since = |name: &str| number(part.attribute(name)).filter(|seconds| *seconds > 1);
    let member = match part.attribute("in_ccm") {
        Some(text) => boolean(Some(text)).unwrap_or_else(|| since("in_ccm").is_some()),
        None => false,
    };
    let online = match part.attribute("crmd") {
        Some("online") => true,
        Some(_) => since("crmd").is_some(),
        None => false,
    };
    let phase = |name: &str| match part.attribute(name) {
        Some("member") => JoinPhase::Member,
        Some("pending") => JoinPhase::Pending,
        Some("banned") => JoinPhase::Banned,
        _ => JoinPhase::Down,
    };
    node.state = Some(NodeState {
        member,
        member_since: since("in_ccm"),
        online,
        online_since: since("crmd"),
        join: phase("join"),
        expected: phase("expected"),
        remote_maintenance: boolean(part.attribute("node_in_maintenance")).unwrap_or(false)
            || number(part.attribute("node_in_maintenance")).is_some_and(|since| since > 0),
        remote_fenced: boolean(part.attribute("node_fenced")).unwrap_or(false)
            || number(part.attribute("node_fenced")).is_some_and(|since| since > 0),
    });
    for section in elements(part) {
        match section.tag_name().name() {
            "transient_attributes" => {
                for set in options(doc, section, "instance_attributes")?.sets {
                    for (name, value) in set.pairs {
                        node.transient.entry(name).or_insert(value);
                    }
                }
            }
            "lrm" => {
                let Some(list) = child(section, "lrm_resources") else { continue };
                for resource in elements(list) {
                    node.history.push(read_history(doc, resource)?);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_history<'a, 'i>(
    doc: &Document<'a, 'i>,
    node: Node<'a, 'i>,
) -> Result<ResourceHistory, Error> {
    let owned = |name: &str| node.attribute(name).unwrap_or_default().to_owned();
    let mut history = ResourceHistory {
        resource: doc.required(node, "id")?.to_owned(),
        class: owned("class"),
        provider: owned("provider"),
        agent: owned("type"),
        container: node.attribute("container").map(str::to_owned),
        shutdown_lock: number(node.attribute("shutdown-lock")),
        operations: Vec::new(),
    };
    for record in elements(node).filter(|node| node.tag_name().name() == "lrm_rsc_op") {
        history.operations.push(read_record(doc, record)?);
    }
    Ok(history)
}

fn read_record<'a, 'i>(
    doc: &Document<'a, 'i>,
    node: Node<'a, 'i>,
) -> Result<OperationRecord, Error> {
    let owned = |name: &str| node.attribute(name).unwrap_or_default().to_owned();
    let words = |name: &str| -> Vec<String> {
        node.attribute(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let integer = |name: &str| -> Result<Option<i64>, Error> {
        match node.attribute(name) {
            None => Ok(None),
            Some(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| doc.error(node, &format!("{name} must be a whole number"))),
        }
    };
    let status = match integer("op-status")?.unwrap_or(0) {
        -1 => OperationStatus::Pending,
        0 => OperationStatus::Done,
        1 => OperationStatus::Cancelled,
        2 => OperationStatus::TimedOut,
        3 => OperationStatus::NotSupported,
        4 => OperationStatus::Error,
        5 => OperationStatus::ErrorHard,
        6 => OperationStatus::ErrorFatal,
        7 => OperationStatus::NotInstalled,
        8 => OperationStatus::NotConnected,
        _ => OperationStatus::Invalid,
    };
    // transition-key: action ":" transition ":" expected code ":" uuid
    let key: Vec<&str> =
        node.attribute("transition-key").unwrap_or_default().splitn(4, ':').collect();
    Ok(OperationRecord {
        id: owned("id"),
        operation: doc.required(node, "operation")?.to_owned(),
        interval_ms: integer("interval")?.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
        call_id: integer("call-id")?.unwrap_or(0),
        status,
        exit_code: integer("rc-code")?.and_then(|rc| i32::try_from(rc).ok()).unwrap_or(0),
        expected_code: key.get(2).and_then(|text| text.parse().ok()),
        last_run: number(node.attribute("last-run")),
        last_change: number(node.attribute("last-rc-change")),
        migrate_source: node.attribute("migrate_source").map(str::to_owned),
        migrate_target: node.attribute("migrate_target").map(str::to_owned),
        digests: ParameterDigests {
            all: owned("op-digest"),
            restart: owned("op-restart-digest"),
            restart_names: words("op-force-restart"),
            restart_unlisted: node.attribute("op-force-restart").is_none(),
            nonprivate: owned("op-secure-digest"),
            private_names: words("op-secure-params"),
        },
        transition: key.get(1).and_then(|text| text.parse().ok()),
        feature_set: owned("crm_feature_set"),
    })
}
