//! Resources, templates and tags.

use std::collections::{BTreeMap, BTreeSet};

use policy::{
    Model,
    model::{
        Bundle, BundlePort, BundleStorage, CloneSpec, Operation, Options, Primitive, Resource,
        ResourceKind,
    },
};
use roxmltree::Node;

use crate::{
    document::{Document, Error, boolean, child, elements, number},
    rules::options,
};

/// Names in constraints that stand for several resources: tags, and templates for what derives from them.
#[derive(Default)]
pub(crate) struct Names {
    /// Every configured resource.
    pub(crate) resources: BTreeSet<String>,
    /// What each tag or template stands for.
    pub(crate) sets: BTreeMap<String, Vec<String>>,
}

/// Parameters of a group or clone are those of everything inside, where it has none of its own.
fn inherit(resource: &mut Resource, given: &Options) {
    match &mut resource.kind {
        ResourceKind::Primitive(primitive) => {
            primitive.parameters.sets.extend(given.sets.iter().cloned().map(|mut set| {
                set.score = i32::MIN;
                set
            }));
        }
        ResourceKind::Group(members) => {
            members.iter_mut().for_each(|member| inherit(member, given))
        }
        ResourceKind::Clone(spec) => inherit(&mut spec.child, given),
        ResourceKind::Bundle(_) => {}
    }
}

struct Reader<'d, 'a, 'i> {
    doc: &'d Document<'a, 'i>,
    templates: BTreeMap<&'a str, Node<'a, 'i>>,
    names: Names,
}

pub(crate) fn read<'a, 'i>(
    doc: &Document<'a, 'i>,
    section: Node<'a, 'i>,
    model: &mut Model,
) -> Result<Names, Error> {
    let mut reader = Reader { doc, templates: BTreeMap::new(), names: Names::default() };
    if let Some(resources) = child(section, "resources") {
        for node in elements(resources).filter(|node| node.tag_name().name() == "template") {
            reader.templates.insert(doc.required(node, "id")?, node);
            reader.names.sets.insert(doc.required(node, "id")?.to_owned(), Vec::new());
        }
        for node in elements(resources).filter(|node| node.tag_name().name() != "template") {
            model.resources.push(reader.resource(node, 0)?);
        }
    }
    if let Some(tags) = child(section, "tags") {
        for tag in elements(tags) {
            let members = elements(tag)
                .filter_map(|reference| reference.attribute("id"))
                .map(str::to_owned)
                .collect();
            reader.names.sets.insert(doc.required(tag, "id")?.to_owned(), members);
        }
    }
    Ok(reader.names)
}

impl<'a, 'i> Reader<'_, 'a, 'i> {
    fn resource(&mut self, node: Node<'a, 'i>, depth: usize) -> Result<Resource, Error> {
        let doc = self.doc;
        if depth > 3 {
            return Err(doc.error(node, "resources nest too deep"));
        }
        let id = doc.required(node, "id")?.to_owned();
        if !self.names.resources.insert(id.clone()) {
            return Err(doc.error(node, "this id is declared twice; every resource needs its own"));
        }
        let template = self.template(node)?;
        let meta = self.inherited(node, template, "meta_attributes")?;
        let kind = match node.tag_name().name() {
            "primitive" => ResourceKind::Primitive(self.primitive(node, template)?),
            "group" => {
                let mut members = Vec::new();
                for member in elements(node).filter(|node| node.tag_name().name() == "primitive") {
                    members.push(self.resource(member, depth + 1)?);
                }
                ResourceKind::Group(members)
            }
            name @ ("clone" | "master") => {
                let mut children = elements(node)
                    .filter(|node| matches!(node.tag_name().name(), "primitive" | "group"));
                let inner = children.next().ok_or_else(|| {
                    doc.error(node, "a clone needs a primitive or a group inside")
                })?;
                if children.next().is_some() {
                    return Err(doc.error(node, "a clone holds exactly one primitive or group"));
                }
                let child = Box::new(self.resource(inner, depth + 1)?);
                ResourceKind::Clone(CloneSpec { promotable: name == "master", child })
            }
            "bundle" => ResourceKind::Bundle(self.bundle(node, depth)?),
            other => return Err(doc.error(node, &format!("<{other}> is no resource"))),
        };
        let mut resource = Resource { id, meta, kind };
        if node.tag_name().name() != "primitive" {
            let given = options(doc, node, "instance_attributes")?;
            if !given.is_empty() {
                inherit(&mut resource, &given);
            }
        }
        Ok(resource)
    }

    fn template(&mut self, node: Node<'a, 'i>) -> Result<Option<Node<'a, 'i>>, Error> {
        let Some(name) = node.attribute("template") else { return Ok(None) };
        let Some(template) = self.templates.get(name) else {
            return Err(self.doc.error(node, &format!("template {name:?} is not declared")));
        };
        let id = self.doc.required(node, "id")?.to_owned();
        self.names.sets.entry(name.to_owned()).or_default().push(id);
        Ok(Some(*template))
    }

    /// Option sets of the element, then those of its template: the element's own come first and so win.
    fn inherited(
        &self,
        node: Node<'a, 'i>,
        template: Option<Node<'a, 'i>>,
        name: &str,
    ) -> Result<Options, Error> {
        let mut own = options(self.doc, node, name)?;
        if let Some(template) = template {
            own.sets.extend(options(self.doc, template, name)?.sets);
        }
        Ok(own)
    }

    fn primitive(
        &self,
        node: Node<'a, 'i>,
        template: Option<Node<'a, 'i>>,
    ) -> Result<Primitive, Error> {
        let text = |name: &str| {
            node.attribute(name)
                .or_else(|| template.and_then(|template| template.attribute(name)))
                .map(str::to_owned)
        };
        let need = |name: &str| {
            text(name).ok_or_else(|| self.doc.error(node, &format!("needs the attribute {name}")))
        };
        let mut operations = self.operations(node)?;
        if let Some(template) = template {
            for inherited in self.operations(template)? {
                let same = |op: &Operation| {
                    op.name == inherited.name && op.interval_ms == inherited.interval_ms
                };
                if !operations.iter().any(same) {
                    operations.push(inherited);
                }
            }
        }
        Ok(Primitive {
            class: need("class")?,
            provider: text("provider").unwrap_or_default(),
            agent: need("type")?,
            parameters: self.inherited(node, template, "instance_attributes")?,
            operations,
            utilization: self.inherited(node, template, "utilization")?,
            template: node.attribute("template").map(str::to_owned),
        })
    }

    fn operations(&self, node: Node<'a, 'i>) -> Result<Vec<Operation>, Error> {
        let Some(list) = child(node, "operations") else { return Ok(Vec::new()) };
        let list = self.doc.resolve(list)?;
        let mut operations = Vec::new();
        for op in elements(list).filter(|op| op.tag_name().name() == "op") {
            let op = self.doc.resolve(op)?;
            let interval = op.attribute("interval").unwrap_or("0");
            let interval_ms = policy::model::parse_interval_ms(interval)
                .ok_or_else(|| self.doc.error(op, "interval must be a duration like 10s"))?;
            let mut meta = options(self.doc, op, "meta_attributes")?;
            // attributes of the element itself are options, and of lower precedence than sets
            let mut own = policy::model::OptionSet { score: i32::MIN, ..Default::default() };
            for attribute in op.attributes() {
                if !matches!(attribute.name(), "id" | "name" | "interval" | "description") {
                    own.pairs.push((attribute.name().to_owned(), attribute.value().to_owned()));
                }
            }
            meta.sets.push(own);
            operations.push(Operation {
                id: op.attribute("id").unwrap_or_default().to_owned(),
                name: self.doc.required(op, "name")?.to_owned(),
                interval_ms,
                meta,
                parameters: options(self.doc, op, "instance_attributes")?,
            });
        }
        Ok(operations)
    }

    fn bundle(&mut self, node: Node<'a, 'i>, depth: usize) -> Result<Bundle, Error> {
        let mut bundle = Bundle::default();
        for part in elements(node) {
            let text = |name: &str| part.attribute(name).map(str::to_owned);
            let count = |name: &str| {
                number(part.attribute(name)).and_then(|count| u32::try_from(count).ok())
            };
            match part.tag_name().name() {
                runtime @ ("docker" | "podman" | "rkt") => {
                    bundle.runtime = runtime.to_owned();
                    bundle.image = text("image").unwrap_or_default();
                    bundle.replicas = count("replicas").unwrap_or(0);
                    bundle.replicas_per_host = count("replicas-per-host").unwrap_or(1);
                    bundle.promoted_max =
                        count("promoted-max").or_else(|| count("masters")).unwrap_or(0);
                    bundle.run_options = text("options").unwrap_or_default();
                    bundle.run_command = text("run-command");
                    bundle.network = text("network");
                }
                "network" => {
                    bundle.ip_range_start = text("ip-range-start");
                    bundle.host_netmask = text("host-netmask");
                    bundle.host_interface = text("host-interface");
                    bundle.control_port = text("control-port");
                    bundle.add_host = boolean(part.attribute("add-host")).unwrap_or(true);
                    for port in elements(part) {
                        let text = |name: &str| port.attribute(name).map(str::to_owned);
                        bundle.ports.push(BundlePort {
                            port: text("port"),
                            internal_port: text("internal-port"),
                            range: text("range"),
                        });
                    }
                }
                "storage" => {
                    for mapping in elements(part) {
                        let text =
                            |name: &str| mapping.attribute(name).unwrap_or_default().to_owned();
                        let root = mapping.attribute("source-dir-root");
                        bundle.storage.push(BundleStorage {
                            source: root.map_or_else(|| text("source-dir"), str::to_owned),
                            target: text("target-dir"),
                            options: text("options"),
                            per_replica: root.is_some(),
                        });
                    }
                }
                "primitive" => bundle.child = Some(Box::new(self.resource(part, depth + 1)?)),
                _ => {}
            }
        }
        Ok(bundle)
    }
}
