//! What the coordinator tells the API of its view: once, truthfully, and then nothing.

use agent::kubernetes::mirror::{Kind, Write, section, writes};
use api::client::Picture;
use base::{NodeId, RingId, Role};
use cluster::{
    DeviceFinding, Status as View,
    status::{Condition, DeviceSaid, InstanceStatus, NodeStatus, OperationStatus},
};
use compile::{Objects, compile};
use fencing::Incident;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use policy::revision::Revision;
use serde_json::{Value, json};

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).expect("in range"))
}

fn id(n: u16) -> NodeId {
    NodeId::new(n).expect("not zero")
}

fn object<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value) -> T {
    let mut value = json!({
        "apiVersion": "palisade.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "uid": name, "generation": 1, "namespace": "ns"}, "spec": spec,
    });
    assert_eq!(api::check::check(&mut value, None), [], "{name}");
    serde_json::from_value(value).expect("readable")
}

fn picture() -> Picture {
    let mut p = Picture::default();
    let members: Vec<Value> = (1..=3)
        .map(|n| json!({"name": format!("n{n}"), "nodeId": n, "links": [format!("10.0.0.{n}")]}))
        .collect();
    let spec = json!({
        "members": members, "networks": [{"name": "public", "interface": "eth0"}], "keySecretRef": {"name": "k"},
    });
    p.clusters.insert("main".into(), object("HACluster", "main", spec));
    let cluster = json!({"name": "main"});
    for n in 1..=3 {
        let name = format!("n{n}");
        let spec = json!({"clusterRef": cluster, "member": name});
        p.nodes.insert(name.clone(), object("HANode", &name, spec));
    }
    let address = json!({"address": "10.0.0.100", "prefix": 24, "network": "public"});
    let mut spec = json!({"clusterRef": cluster});
    spec["address"] = address["address"].clone();
    spec["prefix"] = 24.into();
    spec["network"] = "public".into();
    p.addresses.insert("vip".into(), object("VirtualIP", "vip", spec));
    let spec = json!({"clusterRef": cluster, "resource": {"type": "Address", "address": address}});
    p.placements.insert("vip".into(), object("ResourcePlacement", "vip", spec));
    p
}

fn revision(p: &Picture) -> Revision {
    let objects = Objects {
        cluster: p.clusters.get("main").cloned(),
        placements: p.placements.values().cloned().collect(),
        nodes: p.nodes.values().cloned().collect(),
        ..Objects::default()
    };
    compile(&objects, None).revision.expect("a revision")
}

fn node(n: u16) -> NodeStatus {
    NodeStatus {
        node: id(n),
        name: format!("n{n}").parse().ok(),
        member: true,
        incarnation: None,
        reported: true,
        wiped: false,
        new: false,
        counts: true,
        owes: None,
        evicted: false,
        standby: false,
        maintenance: false,
        watchdog: false,
        detached: false,
    }
}

fn instance(n: u16, role: Role) -> InstanceStatus {
    InstanceStatus {
        resource: "vip".parse().expect("valid"),
        node: id(n),
        role: Some(role),
        failures: 0,
        stop_failed: false,
        degraded: false,
        why: None,
        pending: None,
        retained: false,
    }
}

fn settled() -> View {
    let era = Some(RingId { seq: 42, rep: id(1) });
    View {
        me: Some(id(1)),
        ring: era,
        quorate: true,
        era,
        state_era: era,
        coordinator: Some(id(1)),
        nodes: (1..=3).map(node).collect(),
        instances: vec![instance(1, Role::Started), instance(2, Role::Stopped)],
        ..View::default()
    }
}

/// Puts what was written into the picture, as the watch brings it back.
fn echo(p: &mut Picture, all: &[Write]) {
    for write in all {
        match write {
            Write::Status { kind, name, status } => {
                let status = status.clone();
                fn of<T: serde::de::DeserializeOwned>(status: Value) -> Option<T> {
                    Some(serde_json::from_value(status).expect("the status fits its type"))
                }
                match kind {
                    Kind::FenceDevice => p.devices.get_mut(name).expect(name).status = of(status),
                    Kind::HACluster => p.clusters.get_mut(name).expect(name).status = of(status),
                    Kind::HANode => p.nodes.get_mut(name).expect(name).status = of(status),
                    Kind::ResourcePlacement => {
                        p.placements.get_mut(name).expect(name).status = of(status);
                    }
                    Kind::LoadBalancer => {
                        p.balancers.get_mut(name).expect(name).status = of(status)
                    }
                    Kind::VirtualIP => p.addresses.get_mut(name).expect(name).status = of(status),
                    Kind::FencingOperation => {
                        p.operations.get_mut(name).expect(name).status = of(status);
                    }
                }
            }
            Write::Operation { name, body } => {
                let mut body = body.clone();
                assert_eq!(api::check::check(&mut body, None), [], "{name}");
                body["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
                let operation = serde_json::from_value(body).expect("readable");
                p.operations.insert(name.clone(), operation);
            }
            Write::Forget(operation) => {
                p.operations.remove(operation.metadata.name.as_deref().expect("named"));
            }
        }
    }
}

fn status<'a>(all: &'a [Write], kind: Kind, name: &str) -> &'a Value {
    all.iter()
        .find_map(|w| match w {
            Write::Status { kind: k, name: n, status } if *k == kind && n == name => Some(status),
            _ => None,
        })
        .unwrap_or_else(|| panic!("no status of {kind:?} {name} in {all:#?}"))
}

fn condition(status: &Value, kind: &str) -> (String, String) {
    let list = status["conditions"].as_array().expect("conditions");
    let found = list.iter().find(|c| c["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let text = |key: &str| found[key].as_str().expect("text").to_owned();
    (text("status"), text("reason"))
}

#[test]
fn a_settled_cluster_is_told_once_and_then_nothing_is_written() {
    let mut p = picture();
    let r = revision(&p);
    let first = writes(&settled(), &r, &p, &at(100));
    // one for the cluster, three for the members, one each for the placement and its address
    assert_eq!(first.len(), 6, "{first:#?}");
    let cluster = status(&first, Kind::HACluster, "main");
    assert_eq!(cluster["observedEra"], 42);
    assert_eq!((&cluster["era"], &cluster["coordinator"]), (&json!("1.2a"), &json!("n1")));
    assert_eq!(cluster["online"], "3/3");
    for kind in ["Quorate", "Ready"] {
        assert_eq!(condition(cluster, kind).0, "True", "{kind}");
    }
    assert_eq!(condition(cluster, "Degraded").0, "False");
    assert_eq!(status(&first, Kind::VirtualIP, "vip")["node"], "n1");
    assert_eq!(status(&first, Kind::ResourcePlacement, "vip")["nodes"], "n1");
    echo(&mut p, &first);
    assert_eq!(writes(&settled(), &r, &p, &at(9_999)), [], "SAFETY.md#S17");
}

#[test]
fn what_a_member_says_of_itself_stands_on_its_node_until_it_is_over() {
    let mut p = picture();
    let r = revision(&p);
    let before = writes(&settled(), &r, &p, &at(100));
    echo(&mut p, &before);
    let ail = |kind: &str, n: u16| Condition {
        kind: kind.into(),
        object: format!("node {n}"),
        text: "look at it".into(),
    };
    let ails = vec![ail("WatchdogNotArmed", 2), ail("ExecutionGap", 3), ail("Unheard", 3)];
    let view = View { ails, ..settled() };
    let all = writes(&view, &r, &p, &at(200));
    assert_eq!(all.len(), 2, "two members, and nothing else: {all:#?}");
    let of = |n: &str| status(&all, Kind::HANode, n);
    let said = ("True".to_owned(), "SaidByMember".to_owned());
    assert_eq!(condition(of("n2"), "WatchdogNotArmed"), said);
    assert_eq!(condition(of("n3"), "ExecutionGap"), said);
    assert_eq!(condition(of("n3"), "Ready").0, "True", "it serves all the same");
    echo(&mut p, &all);
    assert_eq!(writes(&view, &r, &p, &at(300)), []);
    let over = writes(&settled(), &r, &p, &at(400));
    for n in ["n2", "n3"] {
        let kinds = status(&over, Kind::HANode, n)["conditions"].to_string();
        assert!(!kinds.contains("Gap") && !kinds.contains("Watchdog"), "{kinds}");
    }
}

/// A cluster with one BMC, for `n1`.
fn with_device() -> (Picture, Revision) {
    let mut p = picture();
    let spec = json!({
        "clusterRef": {"name": "main"}, "driver": "Redfish", "redfish": {"address": "10.9.0.5"},
        "credentialsRef": {"name": "bmc-n1"}, "targets": ["n1"],
    });
    p.devices.insert("bmc-n1".into(), object("FenceDevice", "bmc-n1", spec));
    let objects = Objects {
        cluster: p.clusters.get("main").cloned(),
        devices: p.devices.values().cloned().collect(),
        placements: p.placements.values().cloned().collect(),
        nodes: p.nodes.values().cloned().collect(),
        ..Objects::default()
    };
    let r = compile(&objects, None).revision.expect("a revision");
    (p, r)
}

fn of_device(n: u16, reason: &str, text: &str) -> DeviceSaid {
    let device = "bmc-n1".parse().expect("valid");
    let finding = DeviceFinding { device, reason: reason.into(), text: text.into() };
    DeviceSaid { node: id(n), finding }
}

#[test]
fn a_device_is_ready_when_one_who_may_need_it_can_use_it_and_who_cannot_is_named() {
    let (mut p, r) = with_device();
    let four = "spec.redfish: 4 systems at this BMC; set systemId (1, 2, 3, 4)";
    let view = |devices: Vec<DeviceSaid>| View { devices, ..settled() };
    let told = |all: &[Write]| all.iter().any(|w| w.key().0 == Kind::FenceDevice);
    let all = writes(&view(vec![]), &r, &p, &at(100));
    assert!(!told(&all), "nobody has looked");
    echo(&mut p, &all);
    let half = view(vec![of_device(2, "DeviceMisfit", four)]);
    assert_eq!(writes(&half, &r, &p, &at(110)), [], "n3 may be one who can");
    let own = view(vec![of_device(1, "", "")]);
    assert_eq!(writes(&own, &r, &p, &at(110)), [], "nobody fences itself by its own BMC");
    let both = view(vec![of_device(2, "DeviceMisfit", four), of_device(3, "DeviceMisfit", four)]);
    let all = writes(&both, &r, &p, &at(120));
    assert_eq!(all.len(), 1, "{all:#?}");
    let device = status(&all, Kind::FenceDevice, "bmc-n1");
    assert_eq!(condition(device, "Ready"), ("False".into(), "DeviceMisfit".into()));
    assert_eq!(device["conditions"][0]["message"], four);
    assert_eq!(device["observedEra"], 42);
    echo(&mut p, &all);
    assert_eq!(writes(&both, &r, &p, &at(130)), [], "SAFETY.md#S17");
    assert_eq!(
        writes(&half, &r, &p, &at(130)),
        [],
        "said before, and n3 was heard of a moment ago"
    );
    let some = view(vec![of_device(2, "", ""), of_device(3, "Unreachable", "no answer")]);
    let all = writes(&some, &r, &p, &at(140));
    let device = status(&all, Kind::FenceDevice, "bmc-n1");
    assert_eq!(condition(device, "Ready"), ("True".into(), "NotFromAll".into()));
    assert_eq!(device["conditions"][0]["message"], "n3: no answer");
    echo(&mut p, &all);
    let all = writes(&view(vec![of_device(2, "", ""), of_device(3, "", "")]), &r, &p, &at(150));
    let device = status(&all, Kind::FenceDevice, "bmc-n1");
    assert_eq!(condition(device, "Ready"), ("True".into(), "AsSpecified".into()));
    let later =
        view(vec![of_device(2, "OfALaterVersion", "x"), of_device(3, "OfALaterVersion", "x")]);
    let all = writes(&later, &r, &p, &at(160));
    let device = status(&all, Kind::FenceDevice, "bmc-n1");
    assert_eq!(condition(device, "Ready"), ("False".into(), "Invalid".into()));
}

#[test]
fn a_wrong_key_and_links_that_are_one_degrade_the_cluster_in_the_words_of_its_members() {
    let mut p = picture();
    let r = revision(&p);
    let ail = |kind: &str, n: u16, text: &str| Condition {
        kind: kind.into(),
        object: format!("node {n}"),
        text: text.into(),
    };
    let key = "secret \"k\" entry \"key\" line 1 is 8 bytes, need 32";
    let ails = vec![
        ail("LinksNotRedundant", 2, "links 0 and 1 share 10.0.0.0/24: no redundancy"),
        ail("KeyInvalid", 1, key),
        ail("KeyInvalid", 3, key),
    ];
    let view = View { ails, ..settled() };
    let all = writes(&view, &r, &p, &at(100));
    let cluster = status(&all, Kind::HACluster, "main");
    assert_eq!(condition(cluster, "Degraded"), ("True".into(), "KeyInvalid".into()));
    assert_eq!(condition(cluster, "Ready").0, "True", "what runs goes on");
    let text = format!("n1, n3: {key}; n2: links 0 and 1 share 10.0.0.0/24: no redundancy");
    let said = cluster["conditions"].as_array().expect("conditions");
    assert!(
        said.iter().any(|c| c["type"] == "Degraded" && c["message"] == text.as_str()),
        "{said:?}"
    );
    let n2 = status(&all, Kind::HANode, "n2");
    assert_eq!(condition(n2, "LinksNotRedundant"), ("True".into(), "SaidByMember".into()));
    echo(&mut p, &all);
    assert_eq!(writes(&view, &r, &p, &at(200)), []);
}

/// Row 8 of SPEC-ERRORS.md: agents do not read Nodes, and say what the controller has found.
#[test]
fn a_member_that_is_no_node_degrades_the_cluster() {
    let mut p = picture();
    let r = revision(&p);
    let text = format!("spec.members: node \"n3\" {}: join it", api::names::NOT_FOUND_WAITING);
    let accepted = json!({"conditions": [{
        "type": "Accepted", "status": "True", "reason": "NodeNotFound",
        "message": format!("token 100ms is short; {text}"), "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let cluster = p.clusters.get_mut("main").expect("there");
    cluster.status = Some(serde_json::from_value(accepted).expect("a status"));
    let all = writes(&settled(), &r, &p, &at(100));
    let cluster = status(&all, Kind::HACluster, "main");
    assert_eq!(condition(cluster, "Degraded"), ("True".into(), "NodeNotFound".into()));
    let said = cluster["conditions"].as_array().expect("conditions");
    assert!(
        said.iter().any(|c| c["type"] == "Degraded" && c["message"] == text.as_str()),
        "{said:?}"
    );
}

#[test]
fn a_member_that_is_in_no_ring_says_so_on_its_own_node_once_and_takes_it_back() {
    use agent::kubernetes::alone;
    let mut p = picture();
    let why = Some("secret \"k\" does not exist: make it");
    assert_eq!(alone::status("n2", None, &p, &at(1)), None, "silence");
    assert_eq!(alone::status("n9", why, &p, &at(1)), None, "no member has an object");
    let said = alone::status("n2", why, &p, &at(1)).expect("a word");
    let told = &said["conditions"][0];
    assert_eq!((&told["type"], &told["reason"]), (&json!("CannotJoin"), &json!("KeyInvalid")));
    assert_eq!(said.get("observedEra"), None, "no word of a coordinator");
    let stands = |p: &mut Picture, said: Value| {
        let node = p.nodes.get_mut("n2").expect("there");
        node.status = Some(serde_json::from_value(said).expect("fits"));
    };
    stands(&mut p, said);
    assert_eq!(alone::status("n2", why, &p, &at(9)), None);
    let over = alone::status("n2", None, &p, &at(9)).expect("taken back");
    assert_eq!(over, json!({"conditions": []}));
    stands(&mut p, over);
    assert_eq!(alone::status("n2", None, &p, &at(10)), None);
}

#[test]
fn an_object_says_why_it_failed() {
    let p = picture();
    let mut view = settled();
    let said = "start failed: port 80 is in use";
    view.instances =
        vec![InstanceStatus { failures: 2, why: Some(said.into()), ..instance(2, Role::Stopped) }];
    let told = |view: &View| {
        let all = writes(view, &revision(&p), &p, &at(100));
        let vip = status(&all, Kind::ResourcePlacement, "vip").clone();
        let degraded = vip["conditions"].as_array().expect("conditions").clone();
        let degraded = degraded.into_iter().find(|c| c["type"] == "Degraded").expect("there");
        (vip["instances"][0]["lastFailure"].clone(), degraded["message"].clone())
    };
    let message = format!("vip failed 2 times on node 2: {said}");
    assert_eq!(told(&view), (json!(said), json!(message)));
    view.instances[0].stop_failed = true;
    let (last, _) = told(&view);
    assert_eq!(last, format!("{} ({said})", api::STOP_FAILED));
    // so many of them that objects would not take it
    view.instances[0].why = Some("ü".repeat(300));
    view.instances = vec![view.instances[0].clone(); 50];
    let (last, message) = told(&view);
    let chars = |text: &Value| text.as_str().map(|text| text.chars().count());
    assert_eq!((chars(&last), chars(&message)), (Some(256), Some(1000)));
}

#[test]
fn a_suspended_cluster_says_so() {
    let p = picture();
    let view = View { suspended: true, ..settled() };
    let all = writes(&view, &revision(&p), &p, &at(100));
    let cluster = status(&all, Kind::HACluster, "main");
    assert_eq!(condition(cluster, "Ready"), ("False".into(), "Suspended".into()));
    assert_eq!(condition(cluster, "Degraded"), ("True".into(), "Suspended".into()));
    assert_eq!(condition(cluster, "Quorate").0, "True");
}

#[test]
fn a_lost_member_shows_with_its_debt_its_record_and_what_waits_for_it() {
    let mut p = picture();
    let r = revision(&p);
    let before = writes(&settled(), &r, &p, &at(100));
    echo(&mut p, &before);
    let era = Some(RingId { seq: 46, rep: id(2) });
    let incident = Incident { node: id(1), ring: RingId { seq: 46, rep: id(2) } };
    let mut lost = node(1);
    (lost.member, lost.reported, lost.owes) = (false, false, Some(incident));
    let mut view = View {
        me: Some(id(2)),
        coordinator: Some(id(2)),
        era,
        state_era: era,
        nodes: vec![lost, node(2), node(3)],
        instances: vec![instance(2, Role::Stopped)],
        operations: vec![OperationStatus {
            incident,
            executor: Some(id(3)),
            attempts: 1,
            evidence: None,
            failure: None,
            closed: false,
        }],
        conditions: vec![Condition {
            kind: "Owes".into(),
            object: "node 1".into(),
            text: "evidence is awaited".into(),
        }],
        ..settled()
    };
    let all = writes(&view, &r, &p, &at(200));
    let cluster = status(&all, Kind::HACluster, "main");
    assert_eq!((&cluster["online"], &cluster["owing"]), (&json!("2/3"), &json!(["n1"])));
    assert_eq!(condition(cluster, "Quorate").0, "True");
    assert_eq!(condition(cluster, "Degraded"), ("True".into(), "Fencing".into()));
    assert_eq!(status(&all, Kind::HANode, "n1")["state"], "Owing");
    let vip = status(&all, Kind::VirtualIP, "vip");
    assert_eq!(vip.get("node"), None, "it is nowhere");
    assert_eq!(condition(vip, "Ready").0, "False");
    let text = "vip waits until it is proven that a lost member is off";
    assert_eq!(vip["reason"], text);
    assert!(section(Kind::VirtualIP).differs(&json!(p.addresses["vip"].status), vip));
    let name = "n1-2.2e";
    assert!(matches!(&all[all.len() - 2], Write::Operation { name: n, .. } if n == name));
    assert_eq!(status(&all, Kind::FencingOperation, name)["phase"], "Running");
    echo(&mut p, &all);
    // proven, closed, and mirrored again: one object, whatever is repeated
    view.operations[0].evidence = Some("VerifiedOff".into());
    view.operations[0].closed = true;
    let all = writes(&view, &r, &p, &at(300));
    assert!(!all.iter().any(|w| matches!(w, Write::Operation { .. })), "{all:#?}");
    let operation = status(&all, Kind::FencingOperation, name);
    assert_eq!(
        (&operation["phase"], &operation["evidence"]["kind"]),
        (&json!("Closed"), &json!("VerifiedOff"))
    );
    assert_eq!(operation.get("reason"), None, "what waits for its evidence is over");
    echo(&mut p, &all);
    assert_eq!(writes(&view, &r, &p, &at(400)), []);
    // history: neither the next era nor what is said of its node then writes it again
    view.era = Some(RingId { seq: 47, rep: id(2) });
    view.conditions[0].text = "evidence is awaited once more".into();
    let all = writes(&view, &r, &p, &at(500));
    assert!(!all.is_empty(), "the others say of which era they are true");
    assert!(all.iter().all(|w| w.key().0 != Kind::FencingOperation), "{all:#?}");
    // and one that is open: no more than the era that changed it last
    view.operations[0].closed = false;
    let all = writes(&view, &r, &p, &at(600));
    let operation = status(&all, Kind::FencingOperation, name);
    assert_eq!((&operation["phase"], &operation["observedEra"]), (&json!("Proven"), &json!(47)));
    echo(&mut p, &all);
    view.era = Some(RingId { seq: 48, rep: id(2) });
    let all = writes(&view, &r, &p, &at(700));
    assert!(all.iter().all(|w| w.key().0 != Kind::FencingOperation), "{all:#?}");
}

/// The engine speaks of `resource vip`, not of the object's name (SAFETY.md#L11: every blocked thing says the next step).
#[test]
fn what_the_engine_says_of_a_resource_stands_in_its_object() {
    let p = picture();
    let r = revision(&p);
    let blocked = |object: &str| Condition {
        kind: "Blocked".into(),
        object: object.into(),
        text: format!("{object} waits for somebody"),
    };
    let view = View {
        instances: vec![instance(2, Role::Stopped)],
        conditions: vec![blocked("resource vip-other"), blocked("resource vip")],
        ..settled()
    };
    let all = writes(&view, &r, &p, &at(100));
    assert_eq!(status(&all, Kind::VirtualIP, "vip")["reason"], "resource vip waits for somebody");
}

/// SAFETY.md#S10: quorum is never lost in silence; and CLUSTER.md section 7: the past does not overwrite the truth.
#[test]
fn without_quorum_only_that_is_said_and_under_the_newest_era_that_is_known() {
    let mut p = picture();
    let r = revision(&p);
    let first = writes(&settled(), &r, &p, &at(100));
    echo(&mut p, &first);
    let mut view = settled();
    (view.era, view.quorate) = (None, false);
    let all = writes(&view, &r, &p, &at(200));
    assert_eq!(all.len(), 1, "{all:#?}");
    let cluster = status(&all, Kind::HACluster, "main");
    assert_eq!(cluster["observedEra"], 42);
    assert_eq!(condition(cluster, "Quorate"), ("False".into(), "NoQuorum".into()));
    assert_eq!(condition(cluster, "Ready").0, "False");
    // what such a status does to a server that heard of a newer era
    let newer = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "HACluster", "metadata": {"name": "main"},
        "spec": p.clusters["main"].spec, "status": {"observedEra": 43}});
    let mut older = newer.clone();
    older["status"] = cluster.clone();
    let said = api::check::check(&mut older, Some(&newer));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].message.starts_with("status.observedEra cannot go back from 43"), "{said:?}");
}

#[test]
fn the_last_hundred_closed_records_of_a_member_are_kept() {
    let mut p = picture();
    let r = revision(&p);
    for n in 0..103_u64 {
        let name = format!("n1-1.{n:x}");
        let mut value = json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "FencingOperation",
            "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T{:02}:{:02}:00Z", n / 60, n % 60)},
            "spec": {"clusterRef": {"name": "main"}, "node": "n1", "nodeId": 1, "incident": format!("1.{n:x}")},
            "status": {"phase": "Closed"},
        });
        assert_eq!(api::check::check(&mut value, None), []);
        p.operations.insert(name, serde_json::from_value(value).expect("readable"));
    }
    let gone: Vec<String> = writes(&settled(), &r, &p, &at(1))
        .into_iter()
        .filter_map(|w| match w {
            Write::Forget(o) => o.metadata.name,
            _ => None,
        })
        .collect();
    assert_eq!(gone, ["n1-1.0", "n1-1.1", "n1-1.2"]);
}

/// SPEC-ERRORS.md row 22: nobody rereads a terminal, so the coordinator says it for as long as it holds.
#[test]
fn a_cluster_without_fencing_is_degraded_while_anything_exclusive_is_in_it() {
    let mut p = picture();
    let degraded = |p: &Picture| {
        let all = writes(&settled(), &revision(p), p, &at(1));
        let all = status(&all, Kind::HACluster, "main")["conditions"].clone();
        let all = all.as_array().expect("conditions").clone();
        all.into_iter().find(|c| c["type"] == "Degraded").expect("there")
    };
    assert_eq!(degraded(&p)["status"], "False");
    let spec = &mut p.clusters.get_mut("main").expect("there").spec;
    spec.fencing.mode = api::cluster::FencingMode::Disabled;
    let found = degraded(&p);
    assert_eq!((&found["status"], &found["reason"]), (&json!("True"), &json!("Unfenced")));
    assert!(
        found["message"].to_string().contains("never recovered (requires manual confirmation)")
    );
    p.placements.clear();
    assert_eq!(degraded(&p)["status"], "False", "nothing to lose");
}
