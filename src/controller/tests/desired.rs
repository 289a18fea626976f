//! What the controller writes, as a function of what stands there: the quickstart step by step until silence.

use api::{
    client::Picture,
    condition::{self, ConditionStatus},
    names::{condition as types, event, reason},
};
use controller::{
    dereference::clusters,
    desired::{Action, actions},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).expect("in range"))
}

fn all(picture: &Picture, second: i64) -> Vec<Action> {
    clusters(picture)
        .into_iter()
        .flat_map(|(name, objects)| actions(&name, &objects, picture, &at(second)))
        .collect()
}

/// A server in a few lines: it stores, counts and numbers; enough to see that the controller comes to rest.
#[derive(Default)]
struct Server {
    picture: Picture,
    made: usize,
}

impl Server {
    fn quickstart() -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/quickstart");
        let mut server = Self::default();
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .expect("there")
            .map(|e| e.expect("readable").path())
            .collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(file).expect("UTF-8");
            for document in serde_yaml::Deserializer::from_str(&text) {
                let value = Value::deserialize(document).expect("YAML");
                if value["apiVersion"] == "palisade.dev/v1alpha1" {
                    server.put(value);
                }
            }
        }
        server
    }

    /// Merges a body over what stands there, as an apply does for fields that only one writes.
    fn put(&mut self, mut value: Value) {
        let (kind, name) = (text(&value["kind"]), text(&value["metadata"]["name"]));
        self.made += 1;
        if let Some(mut old) = self.value(&kind, &name) {
            merge(&mut old, &value);
            value = old;
        } else {
            value["metadata"]["uid"] = format!("uid-{}", self.made).into();
            value["metadata"]["generation"] = 1.into();
            let second = self.made.min(59);
            value["metadata"]["creationTimestamp"] =
                format!("2026-01-01T00:00:{second:02}Z").into();
        }
        value["metadata"]["resourceVersion"] = self.made.to_string().into();
        api::check::fill(&mut value, api::check::schema(&kind).expect("a kind of ours"));
        fn typed<T: DeserializeOwned>(value: Value) -> T {
            serde_json::from_value(value).expect("readable")
        }
        let p = &mut self.picture;
        match kind.as_str() {
            "FenceDevice" => drop(p.devices.insert(name, typed(value))),
            "HACluster" => drop(p.clusters.insert(name, typed(value))),
            "HANode" => drop(p.nodes.insert(name, typed(value))),
            "PlacementConstraint" => drop(p.constraints.insert(name, typed(value))),
            "ResourcePlacement" => drop(p.placements.insert(name, typed(value))),
            "LoadBalancer" => drop(p.balancers.insert(name, typed(value))),
            "VirtualIP" => drop(p.addresses.insert(name, typed(value))),
            other => panic!("{other}"),
        }
    }

    fn value(&self, kind: &str, name: &str) -> Option<Value> {
        let p = &self.picture;
        match kind {
            "FenceDevice" => p.devices.get(name).map(|o| json!(o)),
            "HACluster" => p.clusters.get(name).map(|o| json!(o)),
            "HANode" => p.nodes.get(name).map(|o| json!(o)),
            "PlacementConstraint" => p.constraints.get(name).map(|o| json!(o)),
            "ResourcePlacement" => p.placements.get(name).map(|o| json!(o)),
            "LoadBalancer" => p.balancers.get(name).map(|o| json!(o)),
            "VirtualIP" => p.addresses.get(name).map(|o| json!(o)),
            _ => None,
        }
    }

    fn carry_out(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::ApplyNode { body, .. }
                | Action::ApplyPlacement { body, .. }
                | Action::ApplyConstraint { body, .. } => self.put(body.clone()),
                Action::DeleteConstraint(object) => {
                    self.picture
                        .constraints
                        .remove(object.metadata.name.as_deref().expect("named"));
                }
                Action::DeleteNode(object) => {
                    self.picture.nodes.remove(object.metadata.name.as_deref().expect("named"));
                }
                Action::Status { key, status } => self.put(json!({
                    "kind": key.kind, "metadata": {"name": key.name}, "status": status,
                })),
                Action::Event { .. } => {}
            }
        }
    }

    /// Rounds until nothing is written any more.
    fn settle(&mut self, second: i64) -> Vec<Vec<Action>> {
        let mut rounds = Vec::new();
        for round in 0..6 {
            let actions = all(&self.picture, second + round);
            if actions.is_empty() {
                return rounds;
            }
            self.carry_out(&actions);
            rounds.push(actions);
        }
        panic!("still writing after {} rounds: {:#?}", rounds.len(), rounds.last());
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn merge(old: &mut Value, new: &Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                merge(old.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new.clone(),
    }
}

#[test]
fn the_quickstart_is_written_once_and_then_there_is_silence() {
    let mut server = Server::quickstart();
    let rounds = server.settle(1000);
    assert!(rounds.len() <= 2, "{}", rounds.len());
    let made: Vec<String> = rounds[0]
        .iter()
        .filter_map(|a| match a {
            Action::ApplyNode { name, .. } => Some(format!("node {name}")),
            Action::ApplyPlacement { name, .. } => Some(format!("placement {name}")),
            Action::ApplyConstraint { name, .. } => Some(format!("constraint {name}")),
            _ => None,
        })
        .collect();
    assert_eq!(
        made,
        [
            "node n1",
            "node n2",
            "node n3",
            "placement public",
            "constraint public.web.together",
            "constraint public.web.order"
        ]
    );
    let cluster = &server.picture.clusters["quickstart"];
    let conditions = &cluster.status.as_ref().expect("written").conditions;
    for kind in [types::ACCEPTED, types::FENCING_READY] {
        let found = condition::find(conditions, kind).expect(kind);
        assert_eq!(found.status, ConditionStatus::True, "{found:?}");
    }
    // a BMC shares power with its machine: said, and no fault (row 30)
    let fencing = condition::find(conditions, types::FENCING_READY).expect("there");
    assert_eq!(fencing.reason, reason::SINGLE_POINT_OF_FAILURE);
    // much later, and again: nothing (SAFETY.md#S17)
    assert_eq!(all(&server.picture, 900_000), []);
}

#[test]
fn what_a_person_set_on_a_member_stays() {
    let mut server = Server::quickstart();
    server.settle(1000);
    server.picture.nodes.get_mut("n2").expect("made").spec.standby = true;
    assert_eq!(all(&server.picture, 2000), [], "standby is the person's field");
    let body = json!({"kind": "HANode", "metadata": {"name": "n2"}});
    server.put(body);
    assert!(server.picture.nodes["n2"].spec.standby);
}

/// SPEC-ERRORS.md rule 5.
#[test]
fn a_bad_update_of_an_address_changes_nothing_but_its_condition_and_reverting_recovers() {
    let mut server = Server::quickstart();
    server.settle(1000);
    let before = server.picture.placements["public"].clone();
    let vip = server.picture.addresses.get_mut("public").expect("there");
    vip.spec.network = "nowhere".into();
    vip.metadata.generation = Some(2);
    let actions = all(&server.picture, 2000);
    let kinds: Vec<_> = actions
        .iter()
        .map(|a| match a {
            Action::Status { key, .. } => format!("status {} {}", key.kind, key.name),
            Action::Event { reason, warning, .. } => format!("event {reason} {warning}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["status VirtualIP public", &format!("event {} true", event::REFUSED)]);
    server.carry_out(&actions);
    assert_eq!(server.picture.placements["public"].spec, before.spec, "what runs, runs");
    let status = server.picture.addresses["public"].status.clone().expect("written");
    let accepted = condition::find(&status.conditions, types::ACCEPTED).expect("there");
    assert_eq!(
        (accepted.status, accepted.reason.as_str()),
        (ConditionStatus::False, reason::UNKNOWN_REFERENCE)
    );
    assert_eq!((accepted.observed_generation, status.observed_generation), (Some(2), Some(2)));
    let vip = server.picture.addresses.get_mut("public").expect("there");
    vip.spec.network = "public".into();
    vip.metadata.generation = Some(3);
    server.settle(3000);
    let status = server.picture.addresses["public"].status.clone().expect("written");
    let conditions: Vec<_> =
        status.conditions.iter().map(|c| (c.type_.as_str(), c.status)).collect();
    assert_eq!(conditions, [("Accepted", ConditionStatus::True)], "Stalled is gone as well");
}

#[test]
fn a_companion_that_left_takes_its_constraints_with_it_and_nothing_else() {
    let mut server = Server::quickstart();
    server.settle(1000);
    server.picture.addresses.get_mut("public").expect("there").spec.with.clear();
    let gone: Vec<String> = all(&server.picture, 2000)
        .into_iter()
        .filter_map(|a| match a {
            Action::DeleteConstraint(c) => c.metadata.name,
            Action::DeleteNode(n) => panic!("{n:?}"),
            _ => None,
        })
        .collect();
    assert_eq!(gone, ["public.web.order", "public.web.together"]);
}

#[test]
fn a_persons_placement_of_the_same_name_is_never_taken_over() {
    let mut server = Server::quickstart();
    server.put(json!({
        "apiVersion": "palisade.dev/v1alpha1", "kind": "ResourcePlacement", "metadata": {"name": "public"},
        "spec": {"clusterRef": {"name": "quickstart"}, "resource": {"type": "Process", "process": {"template": "x"}}},
    }));
    let rounds = server.settle(1000);
    let applied = rounds.iter().flatten().any(|a| matches!(a, Action::ApplyPlacement { .. }));
    assert!(!applied, "{rounds:#?}");
    let status = server.picture.addresses["public"].status.clone().expect("written");
    let accepted = condition::find(&status.conditions, types::ACCEPTED).expect("there");
    assert_eq!(
        (accepted.status, accepted.reason.as_str()),
        (ConditionStatus::False, reason::DUPLICATE)
    );
}

#[test]
fn an_object_without_its_cluster_is_told_so_and_accepted_when_it_comes() {
    let mut server = Server::quickstart();
    let cluster = server.picture.clusters.remove("quickstart").expect("there");
    server.settle(1000);
    let accepted = |server: &Server| {
        let status = server.picture.devices["bmc-n1"].status.clone().expect("written");
        condition::find(&status.conditions, types::ACCEPTED).expect("there").clone()
    };
    assert_eq!(accepted(&server).reason, reason::NO_SUCH_CLUSTER);
    server.picture.clusters.insert("quickstart".into(), cluster);
    server.settle(2000);
    assert_eq!(accepted(&server).status, ConditionStatus::True);
}

#[test]
fn members_that_nobody_can_power_off_show_on_the_cluster() {
    let mut server = Server::quickstart();
    server.picture.devices.remove("bmc-n3");
    server.settle(1000);
    let status = server.picture.clusters["quickstart"].status.clone().expect("written");
    let ready = condition::find(&status.conditions, types::FENCING_READY).expect("there");
    assert_eq!(
        (ready.status, ready.message.as_str()),
        (ConditionStatus::False, "node n3 has no fencing method; add a FenceDevice")
    );
}

/// SPEC-ERRORS.md row 8: nodes come late, and a Kubernetes that knows none of the members is another machine's.
#[test]
fn a_member_that_is_no_node_is_said_where_others_are_and_accepted_all_the_same() {
    let mut server = Server::quickstart();
    let accepted = |server: &mut Server, nodes: Option<&[&str]>, second: i64| {
        server.picture.machines =
            nodes.map(|names| names.iter().map(|n| (*n).to_owned()).collect());
        server.settle(second);
        let status = server.picture.clusters["quickstart"].status.clone().expect("written");
        let found = condition::find(&status.conditions, types::ACCEPTED).expect("there").clone();
        assert_eq!(found.status, ConditionStatus::True);
        (found.reason, found.message)
    };
    let fine = (reason::AS_SPECIFIED.to_owned(), String::new());
    assert_eq!(accepted(&mut server, None, 1000), fine, "not known");
    assert_eq!(accepted(&mut server, Some(&["worker"]), 2000), fine, "none of ours is here");
    let text = "spec.members: node \"n3\" not found (waiting): join the machine to this Kubernetes cluster, or correct the name";
    assert_eq!(
        accepted(&mut server, Some(&["n1", "n2", "worker"]), 3000),
        (reason::NODE_NOT_FOUND.to_owned(), text.to_owned())
    );
    assert_eq!(accepted(&mut server, Some(&["n1", "n2", "n3"]), 4000), fine);
}

/// kstatus: what waits for another object is on its way, what contradicts itself waits for a person.
#[test]
fn what_waits_is_reconciling_and_what_is_wrong_is_stalled() {
    let mut server = Server::quickstart();
    let cluster = server.picture.clusters.remove("quickstart").expect("there");
    server.settle(1000);
    let types_of = |server: &Server, device: &str| -> Vec<String> {
        let status = server.picture.devices[device].status.clone().expect("written");
        status.conditions.into_iter().map(|c| c.type_).collect()
    };
    assert_eq!(types_of(&server, "bmc-n1"), [types::ACCEPTED, types::RECONCILING]);
    server.picture.clusters.insert("quickstart".into(), cluster);
    server.settle(2000);
    assert_eq!(types_of(&server, "bmc-n1"), [types::ACCEPTED], "gone with its cause");
    // two placements with one resource id: nobody can wait for that to end by itself
    for name in ["twin-a", "twin-b"] {
        server.put(json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "ResourcePlacement", "metadata": {"name": name},
            "spec": {"clusterRef": {"name": "quickstart"}, "group": {"members": [
                {"name": "same", "resource": {"type": "Process", "process": {"template": "x"}}}]}},
        }));
    }
    server.settle(3000);
    let status = server.picture.placements["twin-b"].status.clone().expect("written");
    let found: Vec<&str> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(found, [types::ACCEPTED, types::STALLED]);
}

/// SPEC-ERRORS.md row 25: what a fencer says of a Secret shows on the cluster.
#[test]
fn a_device_without_its_credentials_keeps_fencing_from_being_ready() {
    let mut server = Server::quickstart();
    server.settle(1000);
    let device = server.picture.devices.get_mut("bmc-n2").expect("there");
    let text = "secret \"bmc-n2\" lacks key \"username\"";
    let said = condition::Judgement::new(types::READY, false, reason::CREDENTIALS_INVALID, text);
    device.status.as_mut().expect("written").conditions.push(said.over(&[], Some(1), &at(1500)));
    server.settle(2000);
    let fencing = |server: &Server| {
        let status = server.picture.clusters["quickstart"].status.clone().expect("written");
        condition::find(&status.conditions, types::FENCING_READY).expect("there").clone()
    };
    let found = fencing(&server);
    assert_eq!(found.status, ConditionStatus::False);
    assert_eq!(found.reason, reason::CREDENTIALS_INVALID);
    assert_eq!(found.message, format!("FenceDevice \"bmc-n2\": {text}"));
    let device = server.picture.devices.get_mut("bmc-n2").expect("there");
    device.status.as_mut().expect("written").conditions.retain(|c| c.type_ != types::READY);
    server.settle(3000);
    assert_eq!(fencing(&server).status, ConditionStatus::True);
}

fn balancer() -> Value {
    json!({
        "apiVersion": "palisade.dev/v1alpha1", "kind": "LoadBalancer",
        "metadata": {"name": "api", "namespace": "palisade", "uid": "uid-api", "generation": 1},
        "spec": {
            "clusterRef": {"name": "quickstart"},
            "frontends": [{"name": "web", "virtualIP": "public", "port": 80, "mode": "Http", "backend": "web"}],
            "backends": [{"name": "web", "servers": [{"node": "n1", "address": "10.91.0.11", "port": 8080}]}],
        },
    })
}

#[test]
fn a_balancer_is_made_once_changes_with_its_object_and_never_when_that_is_refused() {
    let mut server = Server::quickstart();
    server.settle(1000);
    server.put(balancer());
    server.settle(2000);
    let made = |s: &Server| {
        let parameters =
            s.picture.placements["api"].spec.resource.clone().expect("one").load_balancer;
        let frontend = parameters.expect("parameters").frontends[0].clone();
        (frontend.address.expect("resolved").0, frontend.port)
    };
    let address = server.picture.addresses["public"].spec.address.0.clone();
    assert_eq!(made(&server), (address.clone(), 80));
    assert!(server.picture.constraints.contains_key("api.public.together"));
    assert_eq!(all(&server.picture, 900_000), [], "SAFETY.md#S17");

    let change = |s: &mut Server, generation: i64, change: fn(&mut api::LoadBalancer)| {
        let balancer = s.picture.balancers.get_mut("api").expect("there");
        balancer.metadata.generation = Some(generation);
        change(balancer);
    };
    change(&mut server, 2, |b| b.spec.frontends[0].port = 81);
    server.settle(3000);
    assert_eq!(made(&server), (address.clone(), 81));

    // a name that the schema takes and we do not: the port twice
    change(&mut server, 3, |b| {
        b.spec.frontends[0].port = 82;
        let mut again = b.spec.frontends[0].clone();
        again.name = "again".into();
        b.spec.frontends.push(again);
    });
    server.settle(4000);
    assert_eq!(made(&server).1, 81, "SPEC-ERRORS.md rule 5");
    let status = server.picture.balancers["api"].status.clone().expect("written");
    let accepted = condition::find(&status.conditions, types::ACCEPTED).expect("there");
    assert_eq!(accepted.status, ConditionStatus::False, "{accepted:?}");
}
