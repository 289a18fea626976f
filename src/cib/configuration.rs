//! Properties, defaults, nodes and fencing levels.

use policy::{
    Model,
    model::{FencingLevel, FencingTarget, Node as ModelNode, NodeKind},
};
use roxmltree::Node;

use crate::{
    document::{Document, Error, child, elements, score},
    rules::options,
};

pub(crate) fn read<'a, 'i>(
    doc: &Document<'a, 'i>,
    section: Node<'a, 'i>,
    model: &mut Model,
) -> Result<(), Error> {
    if let Some(config) = child(section, "crm_config") {
        model.properties = options(doc, config, "cluster_property_set")?;
        // the installer's own set has precedence over all others
        model.properties.sets.sort_by_key(|set| set.id != "cib-bootstrap-options");
    }
    if let Some(defaults) = child(section, "rsc_defaults") {
        model.resource_defaults = options(doc, defaults, "meta_attributes")?;
    }
    if let Some(defaults) = child(section, "op_defaults") {
        model.operation_defaults = options(doc, defaults, "meta_attributes")?;
    }
    if let Some(nodes) = child(section, "nodes") {
        for node in elements(nodes).filter(|node| node.tag_name().name() == "node") {
            model.nodes.push(read_node(doc, node)?);
        }
    }
    if let Some(topology) = child(section, "fencing-topology") {
        for level in elements(topology).filter(|node| node.tag_name().name() == "fencing-level") {
            let level = doc.resolve(level)?;
            model.fencing_levels.push(read_level(doc, level)?);
        }
    }
    Ok(())
}

fn read_node<'a, 'i>(doc: &Document<'a, 'i>, node: Node<'a, 'i>) -> Result<ModelNode, Error> {
    let kind = match node.attribute("type") {
        None | Some("member" | "normal" | "") => NodeKind::Member,
        Some("ping") => NodeKind::Ping,
        Some("remote") => NodeKind::Remote,
        Some(_) => return Err(doc.error(node, "type must be member, remote or ping")),
    };
    let text = node.attribute("score");
    let score = match text {
        None => 0,
        Some(text) => score(text).ok_or_else(|| doc.error(node, "score must be a number"))?,
    };
    Ok(ModelNode {
        id: doc.required(node, "id")?.to_owned(),
        name: doc.required(node, "uname")?.to_owned(),
        kind,
        score,
        attributes: options(doc, node, "instance_attributes")?,
        utilization: options(doc, node, "utilization")?,
        ..ModelNode::default()
    })
}

fn read_level<'a, 'i>(doc: &Document<'a, 'i>, node: Node<'a, 'i>) -> Result<FencingLevel, Error> {
    let owned = |name: &str| node.attribute(name).map(str::to_owned);
    let target = match (owned("target"), owned("target-pattern"), owned("target-attribute")) {
        (Some(name), _, _) => FencingTarget::Node(name),
        (None, Some(pattern), _) => FencingTarget::Pattern(pattern),
        (None, None, Some(name)) => {
            FencingTarget::Attribute(name, owned("target-value").unwrap_or_default())
        }
        _ => return Err(doc.error(node, "needs target, target-pattern or target-attribute")),
    };
    Ok(FencingLevel {
        id: owned("id").unwrap_or_default(),
        index: doc
            .required(node, "index")?
            .parse()
            .map_err(|_| doc.error(node, "index must be a number from 1 to 9"))?,
        target,
        devices: doc
            .required(node, "devices")?
            .split(',')
            .map(|device| device.trim().to_owned())
            .filter(|device| !device.is_empty())
            .collect(),
    })
}
