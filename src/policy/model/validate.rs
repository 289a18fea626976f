//! Limits and contradictions that every door must keep out.

use alloc::{collections::BTreeSet, format, string::ToString as _};

use crate::{Error, memory::Memory};

use super::{Model, Resource, ResourceKind};

/// Nodes in one model.
pub const NODES_MAX: usize = 1024;
/// Resources in one model, those inside others included, instances not.
pub const RESOURCES_MAX: usize = 16_384;
/// Instances of one clone.
pub const INSTANCES_MAX: u32 = 1024;
/// How deep resources and rules nest.
pub const DEPTH_MAX: usize = 16;
/// Recorded resources on one node.
pub const HISTORY_MAX: usize = 32_768;
/// Recorded operations of one resource on one node.
pub const OPERATIONS_MAX: usize = 256;

impl Model {
    /// Checks limits and names. Every door calls it; [`crate::schedule`] calls it again.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the object that breaks a rule.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_with(&Memory::none())
    }

    /// As [`Self::validate`]; what was checked before is not checked again.
    pub(crate) fn validate_with(&self, memory: &Memory) -> Result<(), Error> {
        let invalid = |text| Err(Error::Invalid(text));
        if self.nodes.len() > NODES_MAX {
            return invalid(format!("{} nodes, at most {NODES_MAX} are planned", self.nodes.len()));
        }
        let mut names = BTreeSet::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if node.name.is_empty() {
                return invalid(format!("node {:?} has no name", node.id));
            }
            if !names.insert(node.name.as_str()) {
                return invalid(format!("two nodes are called {:?}", node.name));
            }
            if memory.has_checked(at, &node.history) {
                continue;
            }
            if node.history.len() > HISTORY_MAX {
                return invalid(format!("node {:?} has too much history", node.name));
            }
            for history in &node.history {
                if history.operations.len() > OPERATIONS_MAX {
                    return invalid(format!(
                        "resource {:?} has too much history on node {:?}",
                        history.resource, node.name
                    ));
                }
            }
        }
        if memory.has_planned(&self.resources) {
            return Ok(());
        }
        let mut ids = BTreeSet::new();
        for resource in &self.resources {
            check(resource, &mut ids, 0)?;
        }
        if ids.len() > RESOURCES_MAX {
            return invalid(format!(
                "{} resources, at most {RESOURCES_MAX} are planned",
                ids.len()
            ));
        }
        Ok(())
    }
}

fn check<'a>(
    resource: &'a Resource,
    ids: &mut BTreeSet<&'a str>,
    depth: usize,
) -> Result<(), Error> {
    let refuse = |text: &str| Err(Error::Invalid(format!("resource {:?} {text}", resource.id)));
    if resource.id.is_empty() {
        return Err(Error::Invalid("a resource has no name".to_string()));
    }
    if depth > 3 {
        return refuse("is nested too deep");
    }
    if !ids.insert(&resource.id) {
        return refuse("is declared twice");
    }
    match &resource.kind {
        ResourceKind::Primitive(_) => Ok(()),
        ResourceKind::Group(members) => members.iter().try_for_each(|member| {
            if matches!(member.kind, ResourceKind::Primitive(_)) {
                check(member, ids, depth + 1)
            } else {
                refuse("is a group, whose members must be primitives")
            }
        }),
        ResourceKind::Clone(spec) => match spec.child.kind {
            ResourceKind::Primitive(_) | ResourceKind::Group(_) => {
                check(&spec.child, ids, depth + 1)
            }
            _ => refuse("is a clone, which must hold a primitive or a group"),
        },
        ResourceKind::Bundle(bundle) => match &bundle.child {
            None => Ok(()),
            Some(child) => check(child, ids, depth + 1),
        },
    }
}
