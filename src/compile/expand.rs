//! Service objects into what they stand for: `VirtualIP` and `LoadBalancer` into a placement and constraints, `HACluster` into
//! `HANode`s.
//!
//! The controller applies them with its own field manager and an owner reference; `simulate -f` takes them as they are.

use api::{
    ClusterRef, HACluster, HANode, HANodeSpec, LoadBalancer, PlacementConstraint,
    PlacementConstraintSpec, ResourcePlacement, ResourcePlacementSpec, VirtualIP,
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

/// What an address or a balancer is made into.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// Kind of the object that it is made of.
    pub kind: &'static str,
    /// Of that object.
    pub owner: ObjectMeta,
    /// Of the same name.
    pub placement: ResourcePlacement,
    /// Of an address two for each companion: together, and one after the other. Of a balancer one for each address.
    pub constraints: Vec<PlacementConstraint>,
}

/// Kinds that stand for placements.
trait Service: ResourceExt + kube::Resource<DynamicType = ()> {
    const KIND: &'static str;
}

impl Service for VirtualIP {
    const KIND: &'static str = "VirtualIP";
}

impl Service for LoadBalancer {
    const KIND: &'static str = "LoadBalancer";
}

impl Expanded {
    #[expect(private_bounds, reason = "the kinds are closed")]
    pub(crate) fn of<K: Service>(
        owner: &K,
        placement: ResourcePlacement,
        constraints: Vec<PlacementConstraint>,
    ) -> Self {
        Self { kind: K::KIND, owner: owner.meta().clone(), placement, constraints }
    }
}

/// Everything that addresses and balancers stand for. A balancer that waits for an address stands for nothing yet.
pub fn services(objects: &crate::Objects) -> Vec<Expanded> {
    let addresses = objects.addresses.iter().map(address);
    let balancers = objects.balancers.iter();
    addresses
        .chain(balancers.filter_map(|b| crate::balancers::expand(b, &objects.addresses)))
        .collect()
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
        load_balancer: None,
        ocf: None,
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
            let (cluster, deletion) = (&spec.cluster_ref, spec.deletion_policy);
            [
                (format!("{base}.together"), Some(together), None),
                (format!("{base}.order"), None, Some(after)),
            ]
            .map(|(name, together, after)| {
                constraint(vip, &name, cluster, deletion, together, after)
            })
        })
        .collect();
    Expanded::of(vip, placement, constraints)
}

pub(crate) fn constraint<K: ResourceExt + kube::Resource<DynamicType = ()>>(
    owner: &K,
    name: &str,
    cluster_ref: &ClusterRef,
    deletion_policy: api::DeletionPolicy,
    colocation: Option<Colocation>,
    order: Option<Order>,
) -> PlacementConstraint {
    let mut out = PlacementConstraint::new(
        name,
        PlacementConstraintSpec {
            cluster_ref: cluster_ref.clone(),
            location: None,
            colocation,
            order,
            deletion_policy,
        },
    );
    out.metadata = meta(owner, name, cluster_ref);
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

pub(crate) fn meta<K: ResourceExt + kube::Resource<DynamicType = ()>>(
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

/// All addresses and balancers of `objects` expanded into it, as the controller would have done it through the API.
pub fn services_in(objects: &mut crate::Objects) {
    for Expanded { placement, constraints, .. } in services(objects) {
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
