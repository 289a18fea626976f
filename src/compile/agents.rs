//! OCF agents of placements: what they are told, and how much of it there may be.

use api::{names::reason, ocf::OcfParameters};
use base::{
    OcfAgent, ResourceKind,
    ocf::{OcfCopies, OcfParameter, OcfValue, names_secret},
};
use policy::revision::{self as r, Revision};

use crate::{Problem, parse::Faults};

/// Of what all resources of the cluster take in a message: an order and a change carry what they are about in one message of
/// 48 KiB, and so do reports for members of a version that knows no others.
const KINDS_BYTES_MAX: usize = 32 * 1024;

pub(crate) fn parameters_in(
    at: &str,
    given: &OcfParameters,
    faults: &mut Faults,
) -> Option<OcfAgent> {
    let name = faults.id(&format!("{at}.agent"), given.agent.as_str());
    let mut parameters = Vec::new();
    for (i, parameter) in given.parameters.iter().enumerate() {
        let at = format!("{at}.parameters[{i}]");
        let value = match (&parameter.value, &parameter.secret) {
            (Some(_), None) if names_secret(parameter.name.as_str()) => {
                faults.add(
                    &format!("{at}.value"),
                    "is a secret that who reads this object would read: write secret in place of value",
                );
                None
            }
            (Some(text), None) => Some(OcfValue::Text(text.clone())),
            (None, Some(file)) => {
                faults.id(&format!("{at}.secret"), file.as_str()).map(OcfValue::Secret)
            }
            _ => {
                faults.add(&at, "write value or secret, and only one of them");
                None
            }
        };
        let name = faults.id(&format!("{at}.name"), parameter.name.as_str());
        parameters.extend(name.zip(value).map(|(name, value)| OcfParameter { name, value }));
    }
    parameters.sort_by(|a, b| a.name.cmp(&b.name));
    let agent = OcfAgent { name: name?, parameters, copies: None };
    if let Some(fault) = agent.fault() {
        faults.add(at, fault);
        return None;
    }
    Some(agent)
}

/// Agents ask how many there are.
pub(crate) fn tell_copies(member: &mut r::Primitive, shape: &r::Shape, machines: usize) {
    let ResourceKind::Ocf(agent) = &mut member.kind else { return };
    let (options, promoted_max) = match shape {
        r::Shape::Clone(options) => (options, 0),
        r::Shape::Promotable(options, promoted) => (options, promoted.max),
        r::Shape::Group | r::Shape::Single => return,
    };
    let all = u16::try_from(machines).unwrap_or(u16::MAX).saturating_mul(options.node_max);
    agent.copies = Some(OcfCopies {
        max: options.max.unwrap_or(all),
        node_max: options.node_max,
        promoted_max,
        unique: options.unique,
    });
}

/// Together with what stands in the revision already it would not fit into one message.
pub(crate) fn too_much(new: &r::Placement, revision: &Revision) -> Option<Problem> {
    let large = |p: &r::Placement| -> usize {
        let copies = match &p.shape {
            r::Shape::Clone(o) | r::Shape::Promotable(o, _) if o.unique => o.node_max.into(),
            _ => 1,
        };
        let bytes = |m: &r::Primitive| match &m.kind {
            ResourceKind::Address { .. } | ResourceKind::Process { .. } => 0,
            kind => kind.bytes_max(),
        };
        p.members.iter().map(bytes).sum::<usize>().saturating_mul(copies)
    };
    let (own, others) = (large(new), revision.placements.iter().map(large).sum::<usize>());
    (own > 0 && own.saturating_add(others) > KINDS_BYTES_MAX).then(|| {
        Problem::fatal(
            reason::INVALID,
            format!(
                "spec: parameters of load balancers and OCF agents take {own} bytes here and {others} in other placements, \
                 {KINDS_BYTES_MAX} are possible in one cluster: shorten them, or make another cluster"
            ),
        )
    })
}
