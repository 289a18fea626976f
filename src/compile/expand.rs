//! Service objects into what they stand for: `VirtualIP` into a placement and constraints, `HACluster` into `HANode`s.
//!
//! The controller applies them with its own field manager and an owner reference; `simulate -f` takes them as they are.

use api::{
    ClusterRef, HACluster, HANode, HANodeSpec, PlacementConstraint, PlacementConstraintSpec,
    ResourcePlacement, ResourcePlacementSpec, VirtualIP,
    constraint::{Action, Colocation, Order, OrderKind},
    names::{label, reason},
    placement::{AddressParameters, Meta, Resource, ResourceType, Timeouts},
    text::ResourceName,
    virtual_ip::Leader,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt, api::ObjectMeta};
use policy::revision::Revision;

use crate::{Problem, Verdicts};

/// What an address is made into.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// Of the same name.
    pub placement: ResourcePlacement,
    /// Two for each companion: together, and one after the other.
    pub constraints: Vec<PlacementConstraint>,
}

/// A `VirtualIP` as a placement and constraints.
pub fn address(vip: &VirtualIP) -> Expanded {
    let name = vip.name_any();
    let spec = &vip.spec;
    let resource = Resource {
        type_: ResourceType::Address,
        address: Some(AddressParameters {
            address: spec.address.clone(),
            prefix: spec.prefix,
            network: spec.network.clone(),
        }),
        process: None,
        timeouts: Timeouts::default(),
        monitors: None,
        meta: Meta::default(),
    };
    let mut placement = ResourcePlacement::new(
        &name,
        ResourcePlacementSpec {
            cluster_ref: spec.cluster_ref.clone(),
            resource: Some(resource),
            group: None,
            clone: None,
            meta: Meta::default(),
            deletion_policy: spec.deletion_policy,
        },
    );
    placement.metadata = meta(vip, &name, &spec.cluster_ref);
    let own: ResourceName = name.as_str().into();
    let constraints = spec
        .with
        .iter()
        .flat_map(|companion| {
            let (leader, follower) = match companion.leader {
                Leader::Address => (own.clone(), companion.resource.clone()),
                Leader::Resource => (companion.resource.clone(), own.clone()),
            };
            let together = Colocation {
                resource: Some(follower.clone()),
                role: None,
                with: Some(leader.clone()),
                with_role: None,
                sets: None,
                score: policy::revision::SCORE_MAX,
            };
            let after = Order {
                first: Some(leader),
                first_action: Action::Start,
                then: Some(follower),
                then_action: Action::Start,
                sets: None,
                kind: OrderKind::Mandatory,
                symmetric: None,
            };
            // ids may have letters that names of objects may not
            let plain = |c: char| if c == '_' { '-' } else { c.to_ascii_lowercase() };
            let id: String = companion.resource.as_str().chars().map(plain).collect();
            let base = format!("{name}.{}", id.trim_end_matches(['-', '.']));
            [
                constraint(vip, &format!("{base}.together"), Some(together), None),
                constraint(vip, &format!("{base}.order"), None, Some(after)),
            ]
        })
        .collect();
    Expanded { placement, constraints }
}

fn constraint(
    vip: &VirtualIP,
    name: &str,
    colocation: Option<Colocation>,
    order: Option<Order>,
) -> PlacementConstraint {
    let cluster_ref = vip.spec.cluster_ref.clone();
    let mut out = PlacementConstraint::new(
        name,
        PlacementConstraintSpec {
            cluster_ref: cluster_ref.clone(),
            location: None,
            colocation,
            order,
            deletion_policy: vip.spec.deletion_policy,
        },
    );
    out.metadata = meta(vip, name, &cluster_ref);
    out
}

/// The `HANode`s of a cluster. People's fields are not in them: they stay whose they are.
pub fn members(cluster: &HACluster) -> Vec<HANode> {
    let cluster_ref = ClusterRef { name: cluster.name_any().into() };
    cluster
        .spec
        .members
        .iter()
        .map(|member| {
            let mut node = HANode::new(
                member.name.as_str(),
                HANodeSpec {
                    cluster_ref: cluster_ref.clone(),
                    member: member.name.clone(),
                    standby: false,
                    maintenance: false,
                    attributes: Vec::new(),
                },
            );
            node.metadata = meta(cluster, member.name.as_str(), &cluster_ref);
            node
        })
        .collect()
}

fn meta<K: ResourceExt + kube::Resource<DynamicType = ()>>(
    owner: &K,
    name: &str,
    cluster: &ClusterRef,
) -> ObjectMeta {
    let owner_reference = owner.uid().map(|uid| OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid,
        controller: Some(true),
        // a person who deletes the owner need not wait for us
        block_owner_deletion: None,
    });
    let labels = [
        (label::CLUSTER.to_owned(), cluster.name.0.clone()),
        (label::MANAGED_BY.to_owned(), "palisade".to_owned()),
    ];
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: owner.namespace(),
        labels: Some(labels.into()),
        owner_references: owner_reference.map(|o| vec![o]),
        ..ObjectMeta::default()
    }
}

/// What is said of an address: what its network and its placement make of it.
pub(crate) fn judge(vip: &VirtualIP, revision: &Revision, verdicts: &mut Verdicts) {
    let name = vip.name_any();
    let mut problems = Vec::new();
    let network = vip.spec.network.as_str();
    let missing =
        |v: &&policy::revision::Voter| !v.interfaces.keys().any(|known| known.as_str() == network);
    if revision.voters.iter().any(|v| missing(&v)) {
        let why = format!(
            "spec.network {network:?} is not in HACluster {:?}: add it to spec.networks there",
            revision.cluster.name
        );
        problems.push(Problem::fatal(reason::UNKNOWN_REFERENCE, why));
    }
    if let Some(verdict) = verdicts.of(ResourcePlacement::kind(&()).as_ref(), &name) {
        // what is wrong with what was made of it is its own fault
        let clashes = verdict.problems.iter().filter(|p| p.reason == reason::DUPLICATE);
        problems.extend(clashes.cloned());
    }
    for companion in &vip.spec.with {
        let id = companion.resource.as_str();
        let known = revision
            .placements
            .iter()
            .any(|p| p.id.as_str() == id || p.members.iter().any(|m| m.id.as_str() == id));
        if !known {
            let why = format!("spec.with: resource {id:?} does not exist (waiting): apply it");
            problems.push(Problem::warning(reason::UNKNOWN_REFERENCE, why));
        }
    }
    verdicts.say("VirtualIP", &name, problems);
}

/// All addresses of `objects` expanded into it, as the controller would have done it through the API.
pub fn addresses_in(objects: &mut crate::Objects) {
    for vip in &objects.addresses {
        let Expanded { placement, constraints } = address(vip);
        if !objects.placements.iter().any(|p| p.name_any() == placement.name_any()) {
            objects.placements.push(placement);
        }
        for constraint in constraints {
            if !objects.constraints.iter().any(|c| c.name_any() == constraint.name_any()) {
                objects.constraints.push(constraint);
            }
        }
    }
}
