//! Constraints; tags and templates become sets here.

use policy::{
    Model,
    model::{
        Colocation, ColocationSet, INFINITY, Location, LocationTarget, LossPolicy, Order,
        OrderKind, OrderSet, Pattern, Role, TicketConstraint,
    },
};
use roxmltree::Node;

use crate::{
    document::{Document, Error, boolean, child, elements, score},
    resources::Names,
    rules::rule,
};

pub(crate) fn read<'a, 'i>(
    doc: &Document<'a, 'i>,
    section: Node<'a, 'i>,
    names: &Names,
    model: &mut Model,
) -> Result<(), Error> {
    let Some(list) = child(section, "constraints") else { return Ok(()) };
    for node in elements(list) {
        let reader = Reader { doc, names, node };
        let all = &mut model.constraints;
        match node.tag_name().name() {
            "rsc_location" => reader.location(&mut all.locations)?,
            "rsc_colocation" => all.colocations.push(reader.colocation()?),
            "rsc_order" => all.orders.push(reader.order()?),
            "rsc_ticket" => all.tickets.extend(reader.ticket()?),
            other => return Err(doc.error(node, &format!("<{other}> is no constraint"))),
        }
    }
    Ok(())
}

struct Reader<'d, 'a, 'i> {
    doc: &'d Document<'a, 'i>,
    names: &'d Names,
    node: Node<'a, 'i>,
}

impl<'a, 'i> Reader<'_, 'a, 'i> {
    fn id(&self) -> String {
        self.node.attribute("id").unwrap_or_default().to_owned()
    }

    fn error(&self, message: &str) -> Error {
        self.doc.error(self.node, message)
    }

    /// What a reference stands for, and whether it was a tag or template.
    fn expand(&self, name: &str) -> (Vec<String>, bool) {
        match self.names.sets.get(name) {
            Some(members) if !self.names.resources.contains(name) => (members.clone(), true),
            _ => (vec![name.to_owned()], false),
        }
    }

    fn references(&self, set: Node<'a, 'i>) -> Vec<String> {
        elements(set)
            .filter(|node| node.tag_name().name() == "resource_ref")
            .filter_map(|node| node.attribute("id"))
            .flat_map(|name| self.expand(name).0)
            .collect()
    }

    fn sets(&self) -> Result<Vec<Node<'a, 'i>>, Error> {
        elements(self.node)
            .filter(|node| node.tag_name().name() == "resource_set")
            .map(|set| self.doc.resolve(set))
            .collect()
    }

    fn score(&self, node: Node<'a, 'i>) -> Result<Option<i32>, Error> {
        node.attribute("score")
            .map(|text| {
                score(text)
                    .ok_or_else(|| self.doc.error(node, "score must be a number or INFINITY"))
            })
            .transpose()
    }

    fn role(node: Node<'_, '_>, name: &str) -> Option<Role> {
        node.attribute(name).and_then(Role::parse)
    }

    fn location(&self, out: &mut Vec<Location>) -> Result<(), Error> {
        let node = self.node;
        let mut rules = Vec::new();
        for part in elements(node).filter(|part| part.tag_name().name() == "rule") {
            rules.push(rule(self.doc, part, 0)?);
        }
        let target = match node.attribute("node") {
            Some(name) => LocationTarget::Node {
                node: name.to_owned(),
                score: self.score(node)?.unwrap_or(0),
            },
            None => LocationTarget::Rules(rules),
        };
        let make = |resources, role| Location {
            id: self.id(),
            resources,
            role,
            target: target.clone(),
            discovery: node.attribute("resource-discovery").unwrap_or_default().to_owned(),
        };
        let role = Self::role(node, "role");
        let ids = |names: Vec<String>| names.into_iter().map(Pattern::Id).collect::<Vec<_>>();
        if let Some(name) = node.attribute("rsc") {
            out.push(make(ids(self.expand(name).0), role));
        } else if let Some(text) = node.attribute("rsc-pattern") {
            let (pattern, negated) = match text.strip_prefix('!') {
                Some(rest) => (rest.to_owned(), true),
                None => (text.to_owned(), false),
            };
            out.push(make(vec![Pattern::Matching { pattern, negated }], role));
        } else {
            for set in self.sets()? {
                out.push(make(ids(self.references(set)), Self::role(set, "role").or(role)));
            }
        }
        Ok(())
    }

    fn colocation(&self) -> Result<Colocation, Error> {
        let node = self.node;
        let mut sets = Vec::new();
        let mut from_sets = true;
        for set in self.sets()? {
            sets.push(ColocationSet {
                resources: self.references(set),
                role: Self::role(set, "role"),
                sequential: boolean(set.attribute("sequential")).unwrap_or(true),
                score: self.score(set)?,
                listed: set.attribute("ordering") == Some("listed"),
            });
        }
        if sets.is_empty() {
            let (Some(dependent), Some(primary)) =
                (node.attribute("rsc"), node.attribute("with-rsc"))
            else {
                return Err(self.error("needs rsc and with-rsc, or resource sets"));
            };
            from_sets = false;
            for (name, role) in [(dependent, "rsc-role"), (primary, "with-rsc-role")] {
                let (resources, several) = self.expand(name);
                from_sets |= several;
                sets.push(ColocationSet {
                    resources,
                    role: Self::role(node, role),
                    sequential: !several,
                    score: None,
                    listed: false,
                });
            }
        }
        let score = match node.attribute("score") {
            None => INFINITY,
            Some(_) => self.score(node)?.unwrap_or(0),
        };
        Ok(Colocation {
            id: self.id(),
            score,
            node_attribute: node.attribute("node-attribute").unwrap_or_default().to_owned(),
            influence: boolean(node.attribute("influence")),
            sets,
            from_sets,
        })
    }

    fn kind(node: Node<'_, '_>) -> Option<OrderKind> {
        match node.attribute("kind") {
            Some("Mandatory") => Some(OrderKind::Mandatory),
            Some("Optional") => Some(OrderKind::Optional),
            Some("Serialize") => Some(OrderKind::Serialize),
            _ => match node.attribute("score").and_then(score) {
                Some(0) => Some(OrderKind::Optional),
                Some(_) => Some(OrderKind::Mandatory),
                None => None,
            },
        }
    }

    fn order(&self) -> Result<Order, Error> {
        let node = self.node;
        let mut sets = Vec::new();
        let mut from_sets = true;
        for set in self.sets()? {
            sets.push(OrderSet {
                resources: self.references(set),
                action: set.attribute("action").unwrap_or_default().to_owned(),
                sequential: boolean(set.attribute("sequential")).unwrap_or(true),
                require_all: boolean(set.attribute("require-all")).unwrap_or(true),
                kind: Self::kind(set),
                symmetrical: boolean(set.attribute("symmetrical")),
            });
        }
        if sets.is_empty() {
            let (Some(first), Some(then)) = (node.attribute("first"), node.attribute("then"))
            else {
                return Err(self.error("needs first and then, or resource sets"));
            };
            from_sets = false;
            for (name, action) in [(first, "first-action"), (then, "then-action")] {
                let (resources, several) = self.expand(name);
                from_sets |= several;
                sets.push(OrderSet {
                    resources,
                    action: node.attribute(action).unwrap_or_default().to_owned(),
                    sequential: !several,
                    require_all: true,
                    kind: None,
                    symmetrical: None,
                });
            }
            // the second action is the first one's unless it says otherwise
            if sets[1].action.is_empty() {
                sets[1].action = sets[0].action.clone();
            }
        }
        Ok(Order {
            id: self.id(),
            kind: Self::kind(node).unwrap_or_default(),
            symmetrical: boolean(node.attribute("symmetrical")),
            require_all: boolean(node.attribute("require-all")).unwrap_or(true),
            sets,
            from_sets,
        })
    }

    fn ticket(&self) -> Result<Vec<TicketConstraint>, Error> {
        let node = self.node;
        let loss = match node.attribute("loss-policy") {
            Some("fence") => LossPolicy::Fence,
            Some("freeze") => LossPolicy::Freeze,
            Some("demote") => LossPolicy::Demote,
            _ => LossPolicy::Stop,
        };
        let make = |resources, role| -> Result<TicketConstraint, Error> {
            let ticket = self.doc.required(node, "ticket")?.to_owned();
            Ok(TicketConstraint { id: self.id(), ticket, resources, role, loss })
        };
        match node.attribute("rsc") {
            Some(name) => Ok(vec![make(self.expand(name).0, Self::role(node, "rsc-role"))?]),
            None => self
                .sets()?
                .into_iter()
                .map(|set| make(self.references(set), Self::role(set, "role")))
                .collect(),
        }
    }
}
