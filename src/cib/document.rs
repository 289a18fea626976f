//! The XML itself: limits, positions, references by id.

use std::collections::BTreeMap;

use policy::model::INFINITY;
use roxmltree::{Document as Xml, Node, NodeType, ParsingOptions};

use crate::outline;

/// Bytes of one CIB.
pub const BYTES_MAX: usize = 256 << 20;
/// Elements, attributes and texts of one CIB.
pub const ELEMENTS_MAX: u32 = 4_000_000;
/// How deep elements nest.
pub const DEPTH_MAX: usize = 64;

/// Why a CIB was refused. Nothing was kept of it; the file's owner has to act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}, <{element}>: {message}")]
pub struct Error {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The element, with its id where it has one.
    pub element: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Parses text within the limits.
pub(crate) fn parse(text: &str) -> Result<Xml<'_>, Error> {
    if text.len() > BYTES_MAX {
        let message = format!("{} bytes, at most {BYTES_MAX} are read", text.len());
        return Err(Error { line: 1, column: 1, element: "cib".to_owned(), message });
    }
    outline::check(text)?;
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: ELEMENTS_MAX, ..Default::default() };
    Xml::parse_with_options(text, options).map_err(|error| {
        use roxmltree::Error::{UnclosedRootNode, UnexpectedEndOfStream};
        let end = match error {
            // a file that ends too early ends somewhere
            UnclosedRootNode | UnexpectedEndOfStream => text.len(),
            _ => outline::offset(text, error.pos()),
        };
        let remedy = "write the file again with `cibadmin --query`";
        outline::error(text, end, format!("not well-formed XML: {error}; {remedy}"))
    })
}

/// A parsed document with its ids.
pub(crate) struct Document<'a, 'i> {
    pub(crate) root: Node<'a, 'i>,
    xml: &'a Xml<'i>,
    ids: BTreeMap<&'a str, Node<'a, 'i>>,
}

impl<'a, 'i> Document<'a, 'i> {
    pub(crate) fn index(xml: &'a Xml<'i>) -> Result<Self, Error> {
        let root = xml.root_element();
        let mut doc = Self { root, xml, ids: BTreeMap::new() };
        if root.tag_name().name() != "cib" {
            return Err(doc.error(root, "the root element must be <cib>"));
        }
        let mut referred = false;
        for node in root.descendants().filter(Node::is_element) {
            referred |= node.attribute("id-ref").is_some();
        }
        if referred {
            for node in root.descendants().filter(Node::is_element) {
                if let Some(id) = node.attribute("id") {
                    doc.ids.entry(id).or_insert(node);
                }
            }
        }
        Ok(doc)
    }

    /// Follows `id-ref`; an element without one is itself.
    pub(crate) fn resolve(&self, node: Node<'a, 'i>) -> Result<Node<'a, 'i>, Error> {
        let Some(id) = node.attribute("id-ref") else { return Ok(node) };
        match self.ids.get(id) {
            Some(target) if target.tag_name() == node.tag_name() => Ok(*target),
            Some(_) => {
                Err(self.error(node, &format!("id-ref {id:?} names another kind of element")))
            }
            None => Err(self.error(node, &format!("id-ref {id:?} names nothing in this file"))),
        }
    }

    pub(crate) fn error(&self, node: Node<'_, '_>, message: &str) -> Error {
        let at = self.xml.text_pos_at(node.range().start);
        let name = node.tag_name().name();
        let element = match node.attribute("id") {
            Some(id) => format!("{name} id={:?}", id.chars().take(80).collect::<String>()),
            None => name.to_owned(),
        };
        Error { line: at.row, column: at.col, element, message: message.to_owned() }
    }

    pub(crate) fn required(&self, node: Node<'a, 'i>, name: &str) -> Result<&'a str, Error> {
        node.attribute(name).ok_or_else(|| self.error(node, &format!("needs the attribute {name}")))
    }

    /// `validate-with` must be a schema whose meaning is known.
    pub(crate) fn check_version(&self, root: Node<'a, 'i>) -> Result<(), Error> {
        let Some(schema) = root.attribute("validate-with") else { return Ok(()) };
        let known = schema == "none"
            || schema
                .strip_prefix("pacemaker-")
                .and_then(|version| version.split_once('.'))
                .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
                .is_some_and(|version: (u32, u32)| ((1, 0)..=(3, 99)).contains(&version));
        if known {
            return Ok(());
        }
        Err(self.error(
            root,
            &format!("schema {schema:?} is not known; convert with `cibadmin --upgrade` to pacemaker-1 to 3"),
        ))
    }
}

pub(crate) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    elements(node).find(|child| child.tag_name().name() == name)
}

pub(crate) fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(|child| child.node_type() == NodeType::Element)
}

pub(crate) fn boolean(text: Option<&str>) -> Option<bool> {
    policy::model::parse_bool(text?)
}

pub(crate) fn number(text: Option<&str>) -> Option<i64> {
    text?.trim().parse().ok()
}

/// A score: a number, `INFINITY`, or one of the words of colours.
pub(crate) fn score(text: &str) -> Option<i32> {
    policy::model::parse_score(text).map(|score| score.clamp(-INFINITY, INFINITY))
}
