//! What an agent says about itself: the XML that `meta-data` prints. It comes from a program, so everything has a limit.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, ParsingOptions};

use super::name::plain;

/// The largest of Debian's has 40 KB.
pub(super) const BYTES_MAX: usize = 256 * 1024;
/// Elements, attributes and texts.
const NODES_MAX: u32 = 16 * 1024;
/// The standard needs five (select's options).
const DEPTH_MAX: usize = 8;
const PARAMETERS_MAX: usize = 256;
const ACTIONS_MAX: usize = 64;
const OPTIONS_MAX: usize = 64;
const TEXT_MAX: usize = 200;

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Anything. Types that the standard does not know are read as this.
    Text,
    /// A whole number.
    Integer,
    /// What OCF's shell functions take for true or false.
    Boolean,
    /// One of these.
    Select(Vec<String>),
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// What its value must be.
    pub content: Type,
    /// The agent does not work without it.
    pub required: bool,
    /// Used by the agent itself where nothing is given; for people.
    pub default: Option<String>,
    /// For people.
    pub short: String,
}

/// One action that the agent offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// `start`, `monitor`, ..
    pub name: String,
    /// The least that its author advises, as written: `20s`.
    pub timeout: Option<String>,
}

/// All that is used of an agent's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// By name.
    pub parameters: BTreeMap<String, Parameter>,
    /// In its order; `monitor` may come for each role.
    pub actions: Vec<Action>,
}

impl Metadata {
    /// Whether it has an action.
    pub fn offers(&self, action: &str) -> bool {
        self.actions.iter().any(|offered| offered.name == action)
    }

    /// Whether it has a promoted role.
    pub fn promotable(&self) -> bool {
        self.offers("promote") && self.offers("demote")
    }
}

/// Why metadata is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Over one of the limits.
    #[error("its metadata has more than {0}: have the agent's author shorten it")]
    TooMuch(&'static str),
    /// No XML.
    #[error("its metadata is not XML ({0}): run it with meta-data and look")]
    Malformed(String),
    /// XML, but not that of an agent.
    #[error("its metadata {0}: run it with meta-data and compare with the standard's ra-api-1")]
    Wrong(String),
}

/// Reads it.
pub fn parse(bytes: &[u8]) -> Result<Metadata, MetadataError> {
    if bytes.len() > BYTES_MAX {
        return Err(MetadataError::TooMuch("256 KiB"));
    }
    let malformed = |what: &dyn core::fmt::Display| MetadataError::Malformed(short(what));
    let text = core::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
    // Agents name a DTD, which is never fetched; entities of their own make large texts of small ones.
    if text.contains("<!ENTITY") {
        return Err(MetadataError::Wrong("declares entities, which nobody needs".into()));
    }
    let options = ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX, ..Default::default() };
    let xml =
        Document::parse_with_options(text.trim_start(), options).map_err(|error| match error {
            roxmltree::Error::NodesLimitReached => MetadataError::TooMuch("16384 nodes"),
            error => malformed(&error),
        })?;
    let root = xml.root_element();
    if root.tag_name().name() != "resource-agent" {
        let name = short(&root.tag_name().name());
        return Err(MetadataError::Wrong(format!("begins with <{name}>, not <resource-agent>")));
    }
    // Bounded for each node: depth times nodes would not be.
    if root.descendants().any(|node| node.ancestors().take(DEPTH_MAX + 3).count() > DEPTH_MAX + 2) {
        return Err(MetadataError::TooMuch("8 levels"));
    }
    let mut found = Metadata::default();
    for node in within(root, "parameters").flat_map(|list| within(list, "parameter")) {
        if found.parameters.len() == PARAMETERS_MAX {
            return Err(MetadataError::TooMuch("256 parameters"));
        }
        let (name, parameter) = parameter(node)?;
        if let Some(twice) = found.parameters.insert(name.clone(), parameter.clone())
            && twice != parameter
        {
            return Err(MetadataError::Wrong(format!("describes {name} twice, and differently")));
        }
    }
    for node in within(root, "actions").flat_map(|list| within(list, "action")) {
        if found.actions.len() == ACTIONS_MAX {
            return Err(MetadataError::TooMuch("64 actions"));
        }
        let name = named(node, "an action")?;
        let timeout = node.attribute("timeout").map(|text| short(&text));
        found.actions.push(Action { name, timeout });
    }
    for needed in ["start", "stop", "monitor"] {
        if !found.offers(needed) {
            return Err(MetadataError::Wrong(format!("has no action {needed}")));
        }
    }
    Ok(found)
}

fn within<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn named(node: Node<'_, '_>, what: &str) -> Result<String, MetadataError> {
    match node.attribute("name") {
        Some(name) if plain(name) => Ok(name.into()),
        Some(name) => {
            Err(MetadataError::Wrong(format!("names {what} {:?}, which is no name", short(&name))))
        }
        None => Err(MetadataError::Wrong(format!("has {what} without a name"))),
    }
}

fn parameter(node: Node<'_, '_>) -> Result<(String, Parameter), MetadataError> {
    let name = named(node, "a parameter")?;
    let content = within(node, "content").next();
    let kind = content.and_then(|content| content.attribute("type")).unwrap_or("string");
    let options = |content: Node<'_, '_>| {
        let values = within(content, "option").filter_map(|option| option.attribute("value"));
        let values: Vec<String> = values.map(|value| short(&value)).take(OPTIONS_MAX + 1).collect();
        if values.len() > OPTIONS_MAX {
            return Err(MetadataError::TooMuch("64 options of one parameter"));
        }
        Ok(values)
    };
    let content_type = match (kind, content) {
        ("integer", _) => Type::Integer,
        ("boolean", _) => Type::Boolean,
        // Without options it would allow nothing.
        ("select", Some(content)) => match options(content)? {
            values if values.is_empty() => Type::Text,
            values => Type::Select(values),
        },
        _ => Type::Text,
    };
    let required = matches!(node.attribute("required"), Some("1" | "true" | "yes"));
    let default = content.and_then(|content| content.attribute("default")).map(|text| short(&text));
    let text = within(node, "shortdesc").next().and_then(|node| node.text()).unwrap_or_default();
    Ok((name, Parameter { content: content_type, required, default, short: short(&text.trim()) }))
}

fn short(what: &dyn core::fmt::Display) -> String {
    what.to_string().chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}
