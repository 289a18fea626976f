//! From manifests to a revision and to the engine's model.

#[path = "revision/agents.rs"]
mod agents;
mod support;

use std::time::Duration;

use api::{
    fence_device::{Driver, Redfish},
    names::reason,
};
use base::{FenceDriver, RedfishService, ResourceKind};
use compile::{Compiled, Objects, compile};
use policy::{
    model::OrderKind,
    revision::{ConstraintRule, NoQuorumPolicy, Revision, Shape},
};
use support::{main, objects, quickstart};

fn revision(objects: &Objects) -> Revision {
    compile(objects, None).revision.expect("a revision")
}

fn says(compiled: &Compiled, kind: &str, name: &str) -> (bool, &'static str, String) {
    let judgement = compiled.verdicts.of(kind, name).expect("looked at").judgement();
    let accepted = judgement.status == api::condition::ConditionStatus::True;
    (accepted, judgement.reason, judgement.message)
}

#[test]
fn the_fixture_is_taken_without_a_word_and_says_what_it_shows() {
    let compiled = compile(&main(), None);
    for (key, verdict) in compiled.verdicts.iter() {
        assert_eq!(verdict.problems, [], "{key:?}");
    }
    let r = compiled.revision.expect("a revision");
    let voters: Vec<_> = r.voters.iter().map(|v| (v.id.as_u16(), v.name.as_str())).collect();
    assert_eq!(voters, [(1, "n1"), (2, "n2"), (3, "n3")]);
    assert_eq!(r.voters[0].links, ["10.91.0.11".parse::<std::net::IpAddr>().expect("valid")]);
    assert_eq!(r.timings.token, Duration::from_millis(400));
    assert_eq!(r.timings.consensus, Duration::from_millis(480));
    assert_eq!(r.devices.len(), 3);
    assert_eq!(compile::gaps(&r), Vec::<String>::new());
    assert_eq!(r.nodes.len(), 3, "every voter has an entry, with or without an object");
    let ids: Vec<_> = r.placements.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(ids, ["vip-public", "web"]);
    assert!(matches!(r.placements[0].members[0].kind, ResourceKind::Address { prefix: 24, .. }));
    assert!(r.placements.iter().all(policy::revision::Placement::exclusive));
    assert!(matches!(&r.constraints[1].rule,
        ConstraintRule::Colocation { dependent, on, .. }
            if dependent.resource.as_str() == "web" && on.resource.as_str() == "vip-public"));
    // as many as documents, without the address itself, which counts through its placement, but with its constraints
    assert_eq!(r.objects.len(), 1 + 3 + 2 + 2);
}

#[test]
fn the_quickstart_is_taken_without_a_word() {
    let objects = quickstart();
    assert!(objects.len() >= 6, "{}", objects.len());
    let compiled = compile(&objects, None);
    for (key, verdict) in compiled.verdicts.iter() {
        assert_eq!(verdict.problems, [], "{key:?}");
    }
    assert_eq!(compile::gaps(&compiled.revision.expect("a revision")), Vec::<String>::new());
}

#[test]
fn equal_objects_in_another_order_give_equal_bytes() {
    let mut turned = main();
    turned.devices.reverse();
    turned.placements.reverse();
    turned.constraints.reverse();
    let bytes = |o: &Objects| serde_json::to_vec(&revision(o)).expect("plain data");
    assert_eq!(bytes(&main()), bytes(&turned));
}

#[test]
fn the_model_has_the_words_that_the_engine_reads() {
    let mut objects = main();
    let clone = support::objects(
        "apiVersion: palisade.dev/v1alpha1\nkind: ResourcePlacement\nmetadata: {name: proxy}\nspec:\n  \
         clusterRef: {name: main}\n  resource: {type: Process, process: {template: proxy}}\n  clone: {max: 2}\n---\n\
         apiVersion: palisade.dev/v1alpha1\nkind: PlacementConstraint\nmetadata: {name: proxy-first}\nspec:\n  \
         clusterRef: {name: main}\n  order: {first: proxy, then: vip-public, kind: Serialize}\n",
    );
    objects.placements.extend(clone.placements);
    objects.constraints.extend(clone.constraints);
    let model = revision(&objects).model(1_700_000_000);
    model.validate().expect("the engine takes it");
    assert_eq!(model.nodes.len(), 3);
    let ids: Vec<_> = model.resources.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["proxy-clone", "vip-public", "web"]);
    let order = &model.constraints.orders[0];
    assert_eq!((order.id.as_str(), order.kind), ("proxy-first", OrderKind::Serialize));
    assert_eq!(order.sets[0].resources, ["proxy-clone"], "who names the placement means the clone");
    assert_eq!(order.symmetrical, Some(false));
    assert_eq!(model.fencing_levels.len(), 3);
    let pairs = &model.resources[1].meta.sets[0].pairs;
    assert!(pairs.contains(&("resource-stickiness".into(), "100".into())), "{pairs:?}");
}

/// SPEC-ERRORS.md rule 5.
#[test]
fn a_redfish_service_is_compiled_with_its_pin_and_its_system() {
    let mut objects = main();
    let spec = &mut objects.devices[0].spec;
    spec.driver = Driver::Redfish;
    spec.ipmi = None;
    spec.timeout = "10s".into();
    spec.redfish = Some(Redfish {
        address: "10.94.0.101".into(),
        port: 443,
        system_id: Some("437XR1138R2".into()),
        certificate_sha256: Some(["0A"; 32].join(":").into()),
        server_name: None,
    });
    let compiled = compile(&objects, None);
    let (accepted, _, text) = says(&compiled, "FenceDevice", "bmc-n1");
    assert!(accepted && text.contains("20s for redfish"), "{text}");
    assert_eq!(
        revision(&objects).devices[0].device.driver,
        FenceDriver::Redfish(Box::new(RedfishService {
            address: [10, 94, 0, 101].into(),
            port: 443,
            system: Some("437XR1138R2".into()),
            certificate: Some([10; 32]),
            server_name: None,
        }))
    );
    objects.devices[0].spec.redfish = None;
    let (accepted, _, text) = says(&compile(&objects, None), "FenceDevice", "bmc-n1");
    let why = "spec.redfish: address is required for driver Redfish";
    assert!(!accepted && text.starts_with(why), "{text}");
}

#[test]
fn an_object_that_turns_bad_keeps_what_was_accepted_last() {
    let good = main();
    let before = revision(&good);
    let mut bad = good.clone();
    let cluster = bad.cluster.as_mut().expect("there");
    cluster.metadata.generation = Some(2);
    cluster.spec.totem.token = "3".into();
    let web = bad.placements.iter_mut().find(|p| p.spec.resource.is_some()).expect("there");
    web.metadata.generation = Some(2);
    web.spec.resource = None;
    bad.devices[0].metadata.generation = Some(2);
    bad.devices[0].spec.targets = vec!["n9".into()];
    let compiled = compile(&bad, Some(&before));
    assert_eq!(compiled.revision.as_ref(), Some(&before), "nothing changes that runs");
    assert!(!says(&compiled, "HACluster", "main").0);
    let (accepted, why, text) = says(&compiled, "FenceDevice", "bmc-n1");
    assert_eq!((accepted, why), (false, reason::UNKNOWN_REFERENCE));
    assert_eq!(
        text,
        "spec.targets: \"n9\" is not a member of \"main\": correct the name or add the member"
    );
    assert_eq!(compile(&good, Some(&before)).revision, Some(before), "reverting recovers");
}

#[test]
fn a_cluster_that_was_never_understood_compiles_to_nothing() {
    let mut bad = main();
    bad.cluster.as_mut().expect("there").spec.members[0].node_id = 0;
    let compiled = compile(&bad, None);
    assert_eq!(compiled.revision, None);
    assert_eq!(
        says(&compiled, "VirtualIP", "vip-public"),
        (
            false,
            reason::NO_SUCH_CLUSTER,
            "HACluster \"main\" was never accepted: correct it first".into()
        )
    );
}

#[test]
fn nobody_hears_from_an_object_of_another_cluster() {
    let objects = main().of_cluster("other");
    assert!(objects.is_empty());
    let mut lonely = main();
    lonely.cluster = None;
    let compiled = compile(&lonely, None);
    assert_eq!(compiled.revision, None);
    assert_eq!(says(&compiled, "FenceDevice", "bmc-n1").1, reason::NO_SUCH_CLUSTER);
}

#[test]
fn what_two_objects_contradict_is_said_on_the_one_that_came_later() {
    let table = [
        // SPEC-ERRORS.md row 32, the other half
        (
            "kind: ResourcePlacement\nmetadata: {name: web2}\nspec:\n  clusterRef: {name: main}\n  group: {members: \
             [{name: web, resource: {type: Process, process: {template: web}}}]}",
            ("ResourcePlacement", "web2"),
            (
                reason::DUPLICATE,
                "resource id \"web\" is used by ResourcePlacement \"web\" too: change one",
            ),
        ),
        (
            "kind: ResourcePlacement\nmetadata: {name: vip2}\nspec:\n  clusterRef: {name: main}\n  resource: {type: \
             Address, address: {address: 10.92.0.100, prefix: 24, network: public}}",
            ("ResourcePlacement", "vip2"),
            (
                reason::DUPLICATE,
                "address 10.92.0.100 is used by ResourcePlacement \"vip-public\" too: change one",
            ),
        ),
        (
            "kind: ResourcePlacement\nmetadata: {name: vip3}\nspec:\n  clusterRef: {name: main}\n  resource: {type: \
             Address, address: {address: 10.92.0.101, prefix: 24, network: tunnel}}",
            ("ResourcePlacement", "vip3"),
            (
                reason::UNKNOWN_REFERENCE,
                "spec.resource.address.network: network \"tunnel\" is not in HACluster \"main\" (it has public): add \
                 it to spec.networks there",
            ),
        ),
        // row 36
        (
            "kind: PlacementConstraint\nmetadata: {name: back}\nspec:\n  clusterRef: {name: main}\n  order: {first: \
             web, then: vip-public}",
            ("PlacementConstraint", "back"),
            (
                reason::ORDER_CYCLE,
                "ordering cycle web → vip-public → web: remove one of the orders",
            ),
        ),
        (
            "kind: PlacementConstraint\nmetadata: {name: lost}\nspec:\n  clusterRef: {name: main}\n  colocation: \
             {resource: web, with: db}",
            ("PlacementConstraint", "lost"),
            (
                reason::UNKNOWN_REFERENCE,
                "spec.colocation.with: resource \"db\" does not exist (waiting): apply it",
            ),
        ),
        (
            "kind: HANode\nmetadata: {name: n9}\nspec: {clusterRef: {name: main}, member: n9}",
            ("HANode", "n9"),
            (
                reason::UNKNOWN_REFERENCE,
                "spec.member \"n9\" is not a member of \"main\": add it there",
            ),
        ),
    ];
    for (yaml, (kind, name), (why, text)) in table {
        let more = objects(&format!("apiVersion: palisade.dev/v1alpha1\n{yaml}\n"));
        let mut all = main();
        let late = Some(k8s_time("2027-01-01T00:00:00Z"));
        all.placements.extend(more.placements.into_iter().map(|mut o| {
            o.metadata.creation_timestamp = late.clone();
            o
        }));
        all.constraints.extend(more.constraints.into_iter().map(|mut o| {
            o.metadata.creation_timestamp = late.clone();
            o
        }));
        all.nodes.extend(more.nodes);
        let compiled = compile(&all, None);
        let (_, reason, message) = says(&compiled, kind, name);
        assert_eq!((reason, message.as_str()), (why, text), "{name}");
        let without = revision(&main());
        let with = compiled.revision.expect("a revision");
        assert_eq!(with.placements, without.placements, "{name} changes nothing that runs");
        assert_eq!(with.constraints, without.constraints, "{name} changes nothing that runs");
    }
}

/// SPEC-ERRORS.md rule 5: also where the object that turns bad is the older one.
#[test]
fn what_is_in_force_keeps_its_address_from_whoever_wants_it_now() {
    let mut all = main();
    let old = k8s_time("2020-01-01T00:00:00Z");
    let web = all
        .placements
        .iter_mut()
        .find(|p| p.metadata.name.as_deref() == Some("web"))
        .expect("there");
    web.metadata.creation_timestamp = Some(old);
    let before = revision(&all);
    let public = all
        .placements
        .iter()
        .find(|p| p.metadata.name.as_deref() == Some("vip-public"))
        .expect("there");
    let address = public.spec.resource.clone();
    let web = all
        .placements
        .iter_mut()
        .find(|p| p.metadata.name.as_deref() == Some("web"))
        .expect("there");
    web.spec.resource = address;
    let compiled = compile(&all, Some(&before));
    let placements = |r: &Revision| r.placements.clone();
    assert_eq!(compiled.revision.as_ref().map(placements), Some(before.placements));
    assert_eq!(says(&compiled, "ResourcePlacement", "web").1, reason::DUPLICATE);
    assert!(says(&compiled, "ResourcePlacement", "vip-public").0);
}

fn k8s_time(text: &str) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    serde_json::from_value(text.into()).expect("a time")
}

/// SPEC-ERRORS.md row 15.
#[test]
fn ignore_is_refused_while_something_exclusive_exists_and_the_last_policy_stays() {
    let mut objects = main();
    objects.cluster.as_mut().expect("there").spec.no_quorum_policy =
        api::cluster::NoQuorumPolicy::Freeze;
    let before = revision(&objects);
    objects.cluster.as_mut().expect("there").spec.no_quorum_policy =
        api::cluster::NoQuorumPolicy::Ignore;
    let first = compile(&objects, None);
    assert_eq!(
        says(&first, "HACluster", "main"),
        (
            false,
            reason::IGNORE_WITH_EXCLUSIVE,
            "spec.noQuorumPolicy: Ignore permits two active copies of \"vip-public\"; use Stop, Demote, Freeze or \
             Suicide"
                .into()
        )
    );
    assert_eq!(first.revision.expect("there").no_quorum_policy, NoQuorumPolicy::Stop);
    let second = compile(&objects, Some(&before)).revision.expect("there");
    assert_eq!(second.no_quorum_policy, NoQuorumPolicy::Freeze);
}

/// SPEC-ERRORS.md rows 21, 22, 23, 29.
#[test]
fn members_that_nobody_can_power_off_are_named() {
    let mut objects = main();
    let gone = objects.devices.pop().expect("three");
    let gaps = |o: &Objects| compile::gaps(&revision(o));
    assert_eq!(gaps(&objects), ["node n3 has no fencing method; add a FenceDevice"]);
    let mut second = gone;
    second.spec.level = 2;
    objects.devices.push(second);
    assert_eq!(gaps(&objects), ["fencing of n3: level 1 missing"]);
    objects.devices.clear();
    assert_eq!(
        gaps(&objects),
        [
            "no device or selfFencing can fence n1, n2, n3; add devices or set fencing.mode: Disabled"
        ]
    );
    objects.cluster.as_mut().expect("there").spec.fencing.mode =
        api::cluster::FencingMode::Disabled;
    assert_eq!(gaps(&objects), Vec::<String>::new());
    let (accepted, why, _) = says(&compile(&objects, None), "HACluster", "main");
    assert_eq!((accepted, why), (true, reason::UNFENCED));
}

/// SPEC-ERRORS.md row 37.
#[test]
fn a_resource_that_is_banned_everywhere_says_by_whom() {
    let mut all = main();
    for n in 1..=3 {
        let ban = objects(&format!(
            "apiVersion: palisade.dev/v1alpha1\nkind: PlacementConstraint\nmetadata: {{name: no-n{n}}}\nspec:\n  \
             clusterRef: {{name: main}}\n  location: {{resources: [vip-public], nodes: [{{name: n{n}, score: \
             -1000000}}]}}\n"
        ));
        all.constraints.extend(ban.constraints);
    }
    assert_eq!(
        says(&compile(&all, None), "ResourcePlacement", "vip-public"),
        (
            true,
            reason::UNPLACEABLE,
            "\"vip-public\" is banned on all nodes by constraints \"no-n1\", \"no-n2\", \"no-n3\": remove one".into()
        )
    );
}

#[test]
fn members_become_nodes_without_the_fields_that_people_own() {
    let objects = main();
    let nodes = compile::expand::members(objects.cluster.as_ref().expect("there"));
    let names: Vec<_> = nodes.iter().filter_map(|n| n.metadata.name.as_deref()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    let owner = &nodes[0].metadata.owner_references.as_ref().expect("owned")[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("HACluster", "main"));
}

#[test]
fn shapes_are_told_apart() {
    let of = |clone: &str| {
        let more = objects(&format!(
            "apiVersion: palisade.dev/v1alpha1\nkind: ResourcePlacement\nmetadata: {{name: p}}\nspec:\n  clusterRef: \
             {{name: main}}\n  group: {{members: [{{name: a, resource: {{type: Process, process: {{template: \
             a}}}}}}]}}\n{clone}"
        ));
        let mut all = main();
        all.placements.extend(more.placements);
        let p = revision(&all).placements.into_iter().find(|p| p.id.as_str() == "p");
        p.expect("compiled")
    };
    assert_eq!(of("").shape, Shape::Group);
    assert!(of("").exclusive());
    let cloned = of("  clone: {nodeMax: 1}\n");
    assert!(matches!(cloned.shape, Shape::Clone(o) if o.interleave && o.max.is_none()));
    assert!(!cloned.exclusive(), "started instances of anonymous clones");
    assert!(of("  clone: {unique: true}\n").exclusive());
}

/// SPEC-ERRORS.md row 37: a selector that nobody answers to.
#[test]
fn a_rule_that_matches_no_member_is_said_and_one_that_matches_is_not() {
    let rule = |rule: &str| {
        let mut objects = main();
        let more = support::objects(&format!(
            "apiVersion: palisade.dev/v1alpha1\nkind: HANode\nmetadata: {{name: n2}}\nspec:\n  \
             clusterRef: {{name: main}}\n  member: n2\n  attributes: [{{name: rack, value: r2}}, {{name: load, value: \"7\"}}]\n---\n\
             apiVersion: palisade.dev/v1alpha1\nkind: PlacementConstraint\nmetadata: {{name: racks}}\nspec:\n  \
             clusterRef: {{name: main}}\n  location: {{resources: [web], rules: [{{score: 10, expressions: [{rule}]}}]}}\n"
        ));
        objects.nodes.extend(more.nodes);
        objects.constraints.extend(more.constraints);
        says(&compile(&objects, None), "PlacementConstraint", "racks")
    };
    for (nobody, attribute) in [
        ("{attribute: rack, operator: In, values: [r9]}", "rack"),
        ("{attribute: zone, operator: Exists}", "zone"),
        ("{attribute: load, operator: Gt, values: [\"7\"]}", "load"),
        ("{attribute: rack, operator: Lt, values: [\"7\"]}", "rack"),
        ("{attribute: \"#uname\", operator: In, values: [n9]}", "#uname"),
    ] {
        let text = format!(
            "spec.location.rules[0] matches no member of \"main\": set {attribute} on its HANodes, or correct the rule"
        );
        assert_eq!(rule(nobody), (true, reason::MATCHES_NOBODY, text), "{nobody}");
    }
    for somebody in [
        "{attribute: rack, operator: In, values: [r2]}",
        "{attribute: rack, operator: NotIn, values: [r9]}",
        "{attribute: zone, operator: DoesNotExist}",
        "{attribute: load, operator: Gt, values: [\"6\"]}",
        "{attribute: \"#uname\", operator: In, values: [n3]}",
        "{attribute: \"#kind\", operator: In, values: [remote]}",
    ] {
        assert_eq!(rule(somebody), (true, reason::AS_SPECIFIED, String::new()), "{somebody}");
    }
}

/// SPEC-ERRORS.md row 30.
#[test]
fn a_bmc_as_the_only_switch_is_a_single_point_of_failure_until_machines_fence_themselves() {
    let mut objects = main();
    let said = |objects: &Objects| compile::single_points(&revision(objects));
    let text = "single point of failure: the BMC of n1, n2, n3 shares power with its node; add a watchdog and \
                fencing.selfFencing: Enabled";
    assert_eq!(said(&objects).as_deref(), Some(text));
    objects.devices.remove(1);
    assert!(said(&objects).is_some_and(|t| t.contains("the BMC of n1, n3 shares")));
    let cluster = objects.cluster.as_mut().expect("there");
    cluster.spec.fencing.self_fencing = api::cluster::Switch::Enabled;
    assert_eq!(said(&objects), None);
}

fn with_balancer(change: impl FnOnce(&mut api::LoadBalancer)) -> Objects {
    let mut objects = objects(&format!("{}---\n{}", include_str!("support/main.yaml"), BALANCER));
    change(&mut objects.balancers[0]);
    compile::expand::services_in(&mut objects);
    objects
}

const BALANCER: &str = "
apiVersion: palisade.dev/v1alpha1
kind: LoadBalancer
metadata: {name: api, namespace: openstack}
spec:
  clusterRef: {name: main}
  frontends:
    - {name: web, virtualIP: vip-public, port: 80, mode: Http, backend: web}
    - {name: tls, virtualIP: vip-public, port: 443, mode: Tcp, backend: tls}
  backends:
    - {name: web, servers: [{node: n1, address: 10.91.0.11, port: 8080}]}
    - {name: tls, servers: [{node: n1, address: 10.91.0.11, port: 8443}, {node: n2, address: 10.91.0.12, port: 8443, backup: true}]}
";

#[test]
fn a_balancer_is_a_copy_on_each_member_and_its_address_goes_where_one_runs() {
    let compiled = compile(&with_balancer(|_| {}), None);
    for (key, verdict) in compiled.verdicts.iter() {
        assert_eq!(verdict.problems, [], "{key:?}");
    }
    let r = compiled.revision.expect("a revision");
    let placement = r.placements.iter().find(|p| p.id.as_str() == "api").expect("made");
    assert!(matches!(placement.shape, Shape::Clone(c) if c.max.is_none()));
    assert!(!placement.exclusive());
    let ResourceKind::LoadBalancer(proxy) = &placement.members[0].kind else {
        panic!("{placement:?}")
    };
    assert_eq!(proxy.fault(), None);
    let bound: Vec<String> =
        proxy.frontends.iter().map(|f| format!("{}:{}", f.address, f.port)).collect();
    assert_eq!(bound, ["10.92.0.100:80", "10.92.0.100:443"], "the address of the VirtualIP");
    assert_eq!(
        (proxy.frontends[0].client_timeout_ms, proxy.frontends[1].client_timeout_ms),
        (60_000, 5_400_000),
        "SERVICES.md 4.1"
    );
    let follows: Vec<_> = r.constraints.iter().filter(|c| c.id.starts_with("api.")).collect();
    let [only] = follows.as_slice() else { panic!("{follows:?}") };
    assert!(matches!(&only.rule,
        ConstraintRule::Colocation { dependent, on, .. }
            if dependent.resource.as_str() == "vip-public" && on.resource.as_str() == "api"));
}

#[test]
fn a_balancer_waits_for_its_address_and_says_what_is_odd() {
    let objects = with_balancer(|b| {
        b.spec.frontends[0].virtual_ip = Some("vip-inside".into());
        b.spec.backends[1].servers[0].node = "n9".into();
    });
    let compiled = compile(&objects, None);
    let (accepted, why, message) = says(&compiled, "LoadBalancer", "api");
    assert_eq!((accepted, why), (true, reason::UNKNOWN_REFERENCE));
    assert!(message.contains("VirtualIP \"vip-inside\" does not exist (waiting)"), "{message}");
    assert!(message.contains("\"n9\" is no member"), "{message}");
    let r = compiled.revision.expect("a revision");
    assert!(!r.placements.iter().any(|p| p.id.as_str() == "api"), "nothing is made of half of it");

    let twice = with_balancer(|b| b.spec.frontends[1].port = 80);
    let (accepted, _, message) = says(&compile(&twice, None), "LoadBalancer", "api");
    assert!(!accepted && message.contains("bound twice"), "{message}");
}
