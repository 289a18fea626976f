//! The status as the coordinator has mirrored it into the API: the same form as an agent's own, with what objects hold.
//!
//! It is as old as the last change that a coordinator could write. What objects do not hold is left empty: the parts of
//! failovers, incarnations of a ring.

use agent::status::{
    ConditionStatus, DebtStatus, EraStatus, InstanceStatus, NodeStatus, OperationStatus,
    ResourceStatus, RingStatus, Status,
};
use api::STOP_FAILED;
use serde_json::Value;

/// Whose word a status is that came from objects.
const TELLER: &str = "the API";

/// All objects of a namespace that are needed.
pub(super) struct Objects<'a> {
    pub(super) cluster: &'a Value,
    pub(super) nodes: &'a [Value],
    pub(super) placements: &'a [Value],
    pub(super) operations: &'a [Value],
    pub(super) devices: &'a [Value],
}

pub(super) fn status(objects: &Objects<'_>, at_ms: u64) -> Status {
    let cluster = objects.cluster;
    let name = text(&cluster["metadata"]["name"]);
    let of = |all: &'_ [Value]| -> Vec<Value> {
        all.iter().filter(|o| o["spec"]["clusterRef"]["name"] == name.as_str()).cloned().collect()
    };
    let (nodes, placements) = (of(objects.nodes), of(objects.placements));
    let said = said(&nodes, &of(objects.devices));
    let operations: Vec<OperationStatus> = of(objects.operations).iter().map(operation).collect();
    let nodes: Vec<NodeStatus> = nodes.iter().map(node).collect();
    let told = &cluster["status"];
    let quorate = condition(cluster, "Quorate").is_some_and(|c| c["status"] == "True");
    let members = ["online", "standby", "maintenance", "pending"];
    let members = nodes.iter().filter(|n| members.contains(&n.state.as_str()));
    let era = told["era"].as_str().filter(|_| quorate);
    let debts = told["owing"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let waits = |resource: &&ResourceStatus| {
        resource.instances.iter().all(|i| i.role == "Stopped") && resource.reason.is_some()
    };
    let resources: Vec<ResourceStatus> = placements.iter().flat_map(resource).collect();
    Status {
        version: String::new(),
        cluster: format!("{}/{name}", text(&cluster["metadata"]["namespace"])),
        node: TELLER.into(),
        at_ms,
        ring: RingStatus {
            state: if quorate { "operational".into() } else { "unknown".into() },
            id: era.map(str::to_owned),
            members: members.map(|n| n.name.clone()).collect(),
            ..RingStatus::default()
        },
        quorate,
        era: era.map(|id| EraStatus {
            id: id.to_owned(),
            sequence: told["observedEra"].as_u64().unwrap_or_default(),
            open: true,
            waiting_for: None,
            unreported: nodes
                .iter()
                .filter(|n| n.state == "pending")
                .map(|n| n.name.clone())
                .collect(),
        }),
        coordinator: told["coordinator"].as_str().map(str::to_owned),
        debts: debts
            .map(|node| {
                let open = operations.iter().rev().find(|o| o.node == node && o.evidence.is_none());
                let said = nodes.iter().find(|n| n.name == node).and_then(|n| n.reason.clone());
                DebtStatus {
                    node: node.to_owned(),
                    incident: open.map_or_else(|| "unknown".into(), |o| o.incident.clone()),
                    reason: said.unwrap_or_else(|| "waiting for evidence".into()),
                    blocks: resources.iter().filter(waits).map(|r| r.id.clone()).collect(),
                }
            })
            .collect(),
        operations: operations.into_iter().filter(|o| o.evidence.is_none()).collect(),
        conditions: conditions(cluster).into_iter().chain(said).collect(),
        nodes,
        resources,
        ..Status::default()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

fn message(object: &Value, kind: &str) -> Option<String> {
    condition(object, kind)?["message"].as_str().filter(|m| !m.is_empty()).map(str::to_owned)
}

/// In the words of an agent's own status.
fn node(object: &Value) -> NodeStatus {
    let told = &object["status"];
    let state = match told["state"].as_str() {
        Some("Owing") => "unclean".to_owned(),
        Some("Fencing") => "evicted".to_owned(),
        Some(other) => other.to_lowercase(),
        None => "unknown".to_owned(),
    };
    NodeStatus {
        name: text(&object["metadata"]["name"]),
        id: told["nodeId"].as_u64().and_then(|id| u16::try_from(id).ok()).unwrap_or_default(),
        state,
        reason: message(object, "Ready"),
        incarnation: told["incarnation"].as_str().map(str::to_owned),
    }
}

/// Primitives of a placement: itself, or the members of its group.
fn resource(object: &Value) -> Vec<ResourceStatus> {
    let (spec, told) = (&object["spec"], &object["status"]);
    let own = text(&object["metadata"]["name"]);
    let cloned = &spec["clone"];
    let single = [&spec["resource"], &cloned["resource"]].into_iter().find(|r| r.is_object());
    let group = [&spec["group"], &cloned["group"]].into_iter().find(|g| g.is_object());
    let members: Vec<(String, &Value)> = match (single, group) {
        (Some(resource), _) => vec![(own, resource)],
        (None, Some(group)) => {
            let members = group["members"].as_array().map_or([].as_slice(), Vec::as_slice);
            members.iter().map(|m| (text(&m["name"]), &m["resource"])).collect()
        }
        (None, None) => vec![(own, &Value::Null)],
    };
    let instances = told["instances"].as_array().map_or([].as_slice(), Vec::as_slice);
    let retained = object["metadata"]["deletionTimestamp"].is_string();
    members
        .into_iter()
        .map(|(id, resource)| {
            let of = |i: &&Value| {
                let rest = i["resource"].as_str().and_then(|r| r.strip_prefix(id.as_str()));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            };
            let kind = match resource {
                r if r["address"].is_object() => "Address",
                r if r["process"].is_object() => "Process",
                _ => "",
            };
            ResourceStatus {
                instances: instances.iter().filter(of).map(instance).collect(),
                id,
                kind: kind.into(),
                reason: told["reason"].as_str().filter(|r| !r.is_empty()).map(str::to_owned),
                retained,
            }
        })
        .collect()
}

fn instance(told: &Value) -> InstanceStatus {
    let failures = told["failures"].as_u64().unwrap_or_default();
    let last = told["lastFailure"].as_str();
    InstanceStatus {
        node: text(&told["node"]),
        role: told["role"].as_str().unwrap_or("Unknown").to_owned(),
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        stop_failed: last.is_some_and(|why| why.starts_with(STOP_FAILED)),
        failed: None,
        reason: last.map(str::to_owned),
    }
}

fn operation(object: &Value) -> OperationStatus {
    let (spec, told) = (&object["spec"], &object["status"]);
    let phase = told["phase"].as_str().unwrap_or("Waiting").to_lowercase();
    OperationStatus {
        node: text(&spec["node"]),
        incident: text(&spec["incident"]),
        state: match told["lastFailure"].as_str() {
            Some(why) => format!("{phase}: {why}"),
            None => phase,
        },
        executor: told["executor"].as_str().map(str::to_owned),
        attempts: told["attempts"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
        evidence: told["evidence"]["kind"].as_str().map(str::to_owned),
    }
}

/// Those that are bad news.
fn conditions(cluster: &Value) -> Vec<ConditionStatus> {
    let bad = [
        ("Accepted", "False"),
        ("FencingReady", "False"),
        ("Degraded", "True"),
        ("Stalled", "True"),
    ];
    let found = bad.into_iter().filter_map(|(kind, when)| {
        let found = condition(cluster, kind).filter(|c| c["status"] == when)?;
        Some(ConditionStatus {
            kind: kind.into(),
            reason: text(&found["reason"]),
            message: text(&found["message"]),
        })
    });
    found.collect()
}

/// What members say of themselves, under their names, and devices that cannot be used from everywhere, under theirs.
fn said(nodes: &[Value], devices: &[Value]) -> Vec<ConditionStatus> {
    let each =
        |object: &Value| object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let members = nodes.iter().flat_map(|node| {
        let name = text(&node["metadata"]["name"]);
        let said = each(node).into_iter().filter(|c| c["status"] == "True" && c["type"] != "Ready");
        said.map(move |c| ConditionStatus {
            kind: text(&c["type"]),
            reason: name.clone(),
            message: text(&c["message"]),
        })
    });
    let devices = devices.iter().filter_map(|device| {
        let ready = condition(device, "Ready")?;
        let message = message(device, "Ready")?;
        let reason = text(&device["metadata"]["name"]);
        Some(ConditionStatus { kind: text(&ready["reason"]), reason, message })
    });
    members.chain(devices).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lost() -> Status {
        let spec = json!({"clusterRef": {"name": "main"}});
        let said = |kind: &str, status: &str, message: &str| json!([{"type": kind, "status": status, "reason": "R", "message": message}]);
        let cluster = json!({"metadata": {"name": "main", "namespace": "openstack"}, "status": {
            "era": "2.2a", "observedEra": 42, "coordinator": "n2", "owing": ["n1"], "conditions": [
                {"type": "Quorate", "status": "True"}, {"type": "Degraded", "status": "True", "reason": "Fencing", "message": "n1 is away"}]}});
        let node = |name: &str, state: &str| {
            json!({"metadata": {"name": name}, "spec": spec,
            "status": {"nodeId": 1, "state": state, "conditions": said("Ready", "True", "")}})
        };
        let mut owing = node("n1", "Owing");
        owing["status"]["conditions"] = said("Ready", "False", "its BMC does not answer");
        let other = json!({"metadata": {"name": "x1"}, "spec": {"clusterRef": {"name": "other"}}});
        let web = json!({"metadata": {"name": "web"}, "spec": {"clusterRef": {"name": "main"}, "resource": {"process": {}}},
            "status": {"reason": "waits for n1", "instances": [{"resource": "web", "node": "n2", "role": "Stopped", "failures": 2,
                "lastFailure": "start failed: port 80 is in use"}]}});
        let fenced = json!({"metadata": {"name": "n1-2.2a"}, "spec": {"clusterRef": {"name": "main"}, "node": "n1", "incident": "2.2a"},
            "status": {"phase": "Running", "attempts": 3, "executor": "n3", "lastFailure": "no answer"}});
        let mut watched = node("n2", "Online");
        watched["status"]["conditions"].as_array_mut().expect("a list").push(json!(
            {"type": "WatchdogNotArmed", "status": "True", "message": "look at it"}));
        let nodes = [owing, watched, other];
        let mut device = json!({"metadata": {"name": "bmc-n1"}, "spec": spec});
        device["status"]["conditions"] = said("Ready", "False", "no answer");
        let mut good = json!({"metadata": {"name": "bmc-n2"}, "spec": spec});
        good["status"]["conditions"] = said("Ready", "True", "");
        status(
            &Objects {
                cluster: &cluster,
                nodes: &nodes,
                placements: &[web],
                operations: &[fenced],
                devices: &[device, good],
            },
            7,
        )
    }

    #[test]
    fn what_was_mirrored_reads_as_an_agent_says_it() {
        let seen = lost();
        assert_eq!((seen.cluster.as_str(), seen.node.as_str()), ("openstack/main", "the API"));
        assert!(
            seen.quorate && seen.era.as_ref().is_some_and(|era| era.open && era.sequence == 42)
        );
        let states: Vec<_> =
            seen.nodes.iter().map(|n| (n.name.as_str(), n.state.as_str())).collect();
        assert_eq!(states, [("n1", "unclean"), ("n2", "online")], "another cluster's is not here");
        assert_eq!(seen.debts[0].reason, "its BMC does not answer");
        assert_eq!(
            (seen.debts[0].incident.as_str(), &seen.debts[0].blocks[..]),
            ("2.2a", &["web".to_owned()][..])
        );
        assert_eq!(seen.operations[0].state, "running: no answer");
        assert_eq!(seen.resources[0].kind, "Process");
        let instance = &seen.resources[0].instances[0];
        assert_eq!(instance.reason.as_deref(), Some("start failed: port 80 is in use"));
        assert!(!instance.stop_failed);
        assert_eq!(seen.conditions[0].message, "n1 is away");
        let words = seen.conditions[1..]
            .iter()
            .map(|c| (c.kind.as_str(), c.reason.as_str(), c.message.as_str()));
        let wanted = [("WatchdogNotArmed", "n2", "look at it"), ("R", "bmc-n1", "no answer")];
        assert_eq!(words.collect::<Vec<_>>(), wanted, "of single members and devices");
        let shown = super::super::Text(&seen).to_string();
        assert!(
            shown.starts_with("Cluster openstack/main as the API sees it at 00:00:00.007Z\n"),
            "{shown}"
        );
    }

    #[test]
    fn objects_without_status_say_that_nothing_is_known() {
        let cluster = json!({"metadata": {"name": "main", "namespace": "openstack"}});
        let nothing = Objects {
            cluster: &cluster,
            nodes: &[],
            placements: &[],
            operations: &[],
            devices: &[],
        };
        let seen = status(&nothing, 7);
        assert!(!seen.quorate && seen.era.is_none());
        assert!(super::super::trouble(&seen).is_some_and(|why| why.contains("no quorum")));
    }
}
