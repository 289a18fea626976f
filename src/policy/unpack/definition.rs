//! The definition that an operation would run with now.

use alloc::{borrow::Cow, collections::BTreeMap, string::ToString as _, vec::Vec};

use crate::{
    model::{Operation, OperationRecord, parse_interval_ms},
    world::{NodeIx, ResIx, World},
};

use super::{
    resources::{find_operation, operation_meta},
    rules::{Context, fill},
};

/// A recurring operation without a timeout of its own gets this one.
const TIMEOUT_MS_DEFAULT: u64 = 20_000;

/// Parameters of an operation, sorted by name.
pub(crate) type Parameters<'m> = Vec<(&'m str, Cow<'m, str>)>;

/// All parameters of an operation as the agent would get them on a node; `configured` is what is configured of it.
pub(crate) fn operation_parameters<'m>(
    world: &World<'m>,
    r: ResIx,
    node: NodeIx,
    op: &OperationRecord,
    configured: Option<&'m Operation>,
) -> Parameters<'m> {
    let Some(primitive) = world[r].primitive else { return Vec::new() };
    let mut context = Context::cluster(world.model);
    context.node = Some(&world[node].attrs);
    let mut values = BTreeMap::new();
    if let Some(configured) = configured {
        fill(&configured.parameters, &context, &mut values);
    }
    fill(&primitive.parameters, &context, &mut values);
    let mut values: Parameters<'m> =
        values.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
    if let Some(container) = world[r].container.filter(|_| world[r].bundle.is_some())
        && let Some(host) = world[container].current_node()
        && let Ok(at) = values.binary_search_by_key(&"addr", |(name, _)| name)
        && values[at].1 == "#uname"
    {
        // without an address of its own it is reached by its host's
        values[at].1 = Cow::Owned(world[host].name().to_string());
    }
    if op.interval_ms > 0 {
        let timeout = configured
            .and_then(|configured| operation_meta(world, r, configured).get("timeout").copied())
            .and_then(parse_interval_ms)
            .unwrap_or(TIMEOUT_MS_DEFAULT);
        let name = "CRM_meta_timeout";
        let timeout = Cow::Owned(timeout.to_string());
        match values.binary_search_by_key(&name, |(name, _)| name) {
            Ok(at) => values[at].1 = timeout,
            Err(at) => values.insert(at, (name, timeout)),
        }
    }
    values
}

/// Whether a recorded operation ran with another definition than the present one.
pub(crate) fn definition_differs(
    world: &World<'_>,
    r: ResIx,
    node: NodeIx,
    op: &OperationRecord,
) -> bool {
    if op.digests.all.is_empty() {
        return false;
    }
    let configured = find_operation(world, r, &op.operation, op.interval_ms);
    parameters_differ(world, r, op, &operation_parameters(world, r, node, op, configured))
}

/// Whether a recorded operation ran with other parameters than these.
pub(crate) fn parameters_differ(
    world: &World<'_>,
    r: ResIx,
    op: &OperationRecord,
    values: &Parameters<'_>,
) -> bool {
    if op.digests.all.is_empty() {
        return false;
    }
    let is = |digest: &str, keep: &dyn Fn(&str) -> bool| {
        let kept = values.iter().filter(|(name, _)| keep(name));
        world.digests.borrow_mut().is(digest, kept.map(|(name, value)| (*name, &**value)))
    };
    if is(&op.digests.all, &|_| true) {
        return false;
    }
    // where secrets are masked only the rest can be compared
    let private = |name: &str| op.digests.private_names.iter().any(|other| other == name);
    let masked = values
        .iter()
        .any(|(name, value)| private(name) && !value.is_empty() && value.chars().all(|c| c == '*'));
    // what is for the fencer and not for the agent was never part of this digest
    let fencer = |name: &str| world[r].fencing_device && name.starts_with("pcmk_");
    let public = |name: &str| !private(name) && !fencer(name) && !name.starts_with("CRM_meta_");
    !(masked && !op.digests.nonprivate.is_empty() && is(&op.digests.nonprivate, &public))
}
