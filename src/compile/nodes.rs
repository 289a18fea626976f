//! `HANode` into what people said about members. Every voter has an entry, with or without an object.

use kube::ResourceExt;
use policy::revision::{NodeIntent, ObjectKind, Revision};

use api::names::reason;

use crate::{Objects, Problem, Verdicts, version, version_in};

pub(crate) fn compile(
    objects: &Objects,
    previous: Option<&Revision>,
    revision: &mut Revision,
    verdicts: &mut Verdicts,
) {
    let cluster = revision.cluster.name.clone();
    for node in &objects.nodes {
        let member = node.spec.member.as_str();
        let known = revision.voters.iter().any(|v| v.name.as_str() == member);
        let stranger = || {
            let why =
                format!("spec.member {member:?} is not a member of {cluster:?}: add it there");
            Problem::warning(reason::UNKNOWN_REFERENCE, why)
        };
        let problems = if known { Vec::new() } else { vec![stranger()] };
        verdicts.say("HANode", &node.name_any(), problems);
    }
    for voter in &revision.voters {
        let name = voter.name.as_str();
        let object = objects.nodes.iter().find(|n| n.spec.member.as_str() == name);
        let intent = match object {
            Some(node) => {
                revision.objects.push(version(ObjectKind::HaNode, node, &node.spec));
                NodeIntent {
                    name: voter.name.clone(),
                    standby: node.spec.standby,
                    maintenance: node.spec.maintenance,
                    attributes: node
                        .spec
                        .attributes
                        .iter()
                        .map(|a| (a.name.0.clone(), a.value.0.clone()))
                        .collect(),
                }
            }
            // the object is gone or not made yet: what was said last holds, else nothing was said
            None => {
                revision.objects.extend(version_in(previous, ObjectKind::HaNode, name));
                let last = previous.and_then(|p| p.nodes.iter().find(|n| n.name == voter.name));
                last.cloned().unwrap_or_else(|| NodeIntent {
                    name: voter.name.clone(),
                    standby: false,
                    maintenance: false,
                    attributes: Default::default(),
                })
            }
        };
        revision.nodes.push(intent);
    }
}
