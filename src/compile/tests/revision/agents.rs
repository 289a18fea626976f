//! OCF agents.

use api::names::reason;
use base::{
    ResourceKind,
    ocf::OcfValue::{Secret, Text},
};
use compile::{Objects, compile};
use kube::ResourceExt as _;

use super::{says, support::objects};

fn with_agent(change: impl FnOnce(&mut api::ResourcePlacement)) -> Objects {
    let mut objects = objects(&format!("{}---\n{}", include_str!("../support/main.yaml"), AGENT));
    let agent = objects.placements.iter_mut().find(|p| p.metadata.name.as_deref() == Some("db"));
    change(agent.expect("there"));
    compile::expand::services_in(&mut objects);
    objects
}

const AGENT: &str = "
apiVersion: palisade.dev/v1alpha1
kind: ResourcePlacement
metadata: {name: db, namespace: openstack}
spec:
  clusterRef: {name: main}
  resource:
    type: Ocf
    ocf:
      agent: pacemaker/Stateful
      parameters: [{name: state, value: /run/db}, {name: db_passwd, secret: db}]
  clone: {promoted: {max: 2}}
";

#[test]
fn an_agent_is_told_how_many_there_are_and_of_its_secret_only_the_name() {
    let compiled = compile(&with_agent(|_| {}), None);
    let r = compiled.revision.expect("a revision");
    let placement = r.placements.iter().find(|p| p.id.as_str() == "db").expect("made");
    let ResourceKind::Ocf(agent) = &placement.members[0].kind else { panic!("{placement:?}") };
    assert_eq!((agent.fault(), agent.name.to_string()), (None, "pacemaker/Stateful".into()));
    let parameters: Vec<_> = agent.parameters.iter().map(|p| (p.name.as_str(), &p.value)).collect();
    let (file, text) = (Secret("db".parse().expect("valid")), Text("/run/db".into()));
    assert_eq!(parameters, [("db_passwd", &file), ("state", &text)], "by name");
    let copies = agent.copies.expect("of a clone");
    assert_eq!((copies.max, copies.node_max, copies.promoted_max), (3, 1, 2));
}

#[test]
fn an_agent_that_the_schema_did_not_see_is_refused_with_its_path() {
    type Change = fn(&mut api::ocf::OcfParameters);
    let rows: [(Change, &str); 4] = [
        (|a| a.agent = "heartbeat/../sh".into(), "spec.resource.ocf.agent: "),
        (
            |a| a.parameters[0].secret = Some("x".into()),
            "spec.resource.ocf.parameters[0]: write value or secret",
        ),
        (
            |a| a.parameters[0].name = "my_password".into(),
            "spec.resource.ocf.parameters[0].value: is a secret",
        ),
        (
            |a| a.parameters[1].name = "state".into(),
            "spec.resource.ocf: parameters: state is used twice",
        ),
    ];
    for (change, words) in rows {
        let objects = with_agent(|p| {
            change(p.spec.resource.as_mut().and_then(|r| r.ocf.as_mut()).expect("an agent"));
        });
        let (accepted, why, message) = says(&compile(&objects, None), "ResourcePlacement", "db");
        assert_eq!((accepted, why), (false, reason::INVALID), "{message}");
        assert!(message.contains(words), "{message}");
    }
}

/// The report of a member has all that runs there, and is one message.
#[test]
fn what_all_agents_are_told_together_has_a_limit() {
    let mut objects = with_agent(|p| p.spec.clone = None);
    let template = objects.placements.iter().find(|p| p.name_any() == "db").expect("there").clone();
    let value = Some("x".repeat(1000));
    for n in 0..9 {
        let mut more = template.clone();
        more.metadata.name = Some(format!("more-{n}"));
        let ocf = more.spec.resource.as_mut().and_then(|r| r.ocf.as_mut()).expect("an agent");
        ocf.parameters = ["a", "b", "c", "d"]
            .map(|name| api::ocf::OcfParameter {
                name: name.into(),
                value: value.clone(),
                secret: None,
            })
            .into();
        objects.placements.push(more);
    }
    let compiled = compile(&objects, None);
    let refused: Vec<String> = (0..9)
        .map(|n| says(&compiled, "ResourcePlacement", &format!("more-{n}")))
        .filter(|(accepted, ..)| !accepted)
        .map(|(_, _, message)| message)
        .collect();
    let [only] = refused.as_slice() else { panic!("{refused:#?}") };
    assert!(only.contains("32768 are possible in one cluster: shorten them"), "{only}");
    assert!(says(&compiled, "ResourcePlacement", "db").0, "who is small is not the one");
}

/// Where the copies are wanted, as people of Pacemaker say it with a constraint: agents' own scores are not heard.
const FAVOURITE: &str = "---
apiVersion: palisade.dev/v1alpha1
kind: PlacementConstraint
metadata: {name: db-promoted, namespace: openstack}
spec:
  clusterRef: {name: main}
  location: {resources: [db], role: Promoted, nodes: [{name: n2, score: 100}]}
";

fn promoted(objects: &Objects) -> Vec<String> {
    let mut model = compile(objects, None).revision.expect("a revision").model(0);
    for node in &mut model.nodes {
        node.state = policy::model::Node::online(&node.name).state;
    }
    model.quorate = true;
    let plan = policy::schedule(&model).expect("a plan");
    let places = plan.placements.iter().filter(|(id, _)| *id == "db" || id.starts_with("db:"));
    let places: Vec<_> = places.flat_map(|(_, places)| places).collect();
    assert_eq!(places.len(), 3, "{places:?}");
    let promoted = places.iter().filter(|p| p.role == policy::model::Role::Promoted);
    promoted.map(|p| p.node.clone()).collect()
}

#[test]
fn a_copy_is_promoted_where_a_constraint_says_so_and_nowhere_without_one() {
    let without = with_agent(|_| {});
    assert_eq!(promoted(&without), [""; 0]);
    let yaml = format!("{}---\n{AGENT}{FAVOURITE}", include_str!("../support/main.yaml"));
    let mut with = objects(&yaml);
    compile::expand::services_in(&mut with);
    assert_eq!(promoted(&with), ["n2"]);
}

/// What docs/ocf.md shows people of Pacemaker is taken without a word.
#[test]
fn the_documents_examples_are_taken() {
    let document = include_str!("../../../../docs/ocf.md");
    let yaml = document.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```"));
    let (yaml, _) = yaml.expect("an example");
    let yaml = yaml.replace("ctl-", "n").replace("namespace: palisade", "namespace: openstack");
    let mut objects = objects(&format!("{}---\n{yaml}", include_str!("../support/main.yaml")));
    compile::expand::services_in(&mut objects);
    let compiled = compile(&objects, None);
    for (kind, name) in [
        ("ResourcePlacement", "ping"),
        ("ResourcePlacement", "db"),
        ("PlacementConstraint", "db-promoted"),
    ] {
        assert_eq!(
            says(&compiled, kind, name),
            (true, reason::AS_SPECIFIED, String::new()),
            "{name}"
        );
    }
    assert_eq!(promoted(&objects), ["n1"]);
}
