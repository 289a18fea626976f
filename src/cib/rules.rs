//! Option sets and rules.

use policy::model::{
    BooleanOp, Comparison, DateExpression, DateSpec, Duration, Expression, OptionSet, Options,
    Range, Role, Rule, RuleScore, ValueKind, ValueSource,
};
use roxmltree::Node;

use crate::{
    dates::parse_instant,
    document::{Document, Error, elements, number, score},
};

/// Reads all option sets called `name` below an element, the last first: of sets of one score the last has precedence.
pub(crate) fn options<'a, 'i>(
    doc: &Document<'a, 'i>,
    parent: Node<'a, 'i>,
    name: &str,
) -> Result<Options, Error> {
    let mut sets = Vec::new();
    for node in elements(parent).filter(|node| node.tag_name().name() == name) {
        sets.push(option_set(doc, doc.resolve(node)?)?);
    }
    sets.reverse();
    Ok(Options { sets })
}

fn option_set<'a, 'i>(doc: &Document<'a, 'i>, node: Node<'a, 'i>) -> Result<OptionSet, Error> {
    let mut set = OptionSet {
        id: node.attribute("id").unwrap_or_default().to_owned(),
        score: node.attribute("score").and_then(score).unwrap_or(0),
        ..OptionSet::default()
    };
    for part in elements(node) {
        match part.tag_name().name() {
            "nvpair" => pair(doc, part, &mut set)?,
            // schema 1.x wraps pairs
            "attributes" => {
                for nested in elements(part) {
                    pair(doc, nested, &mut set)?;
                }
            }
            "rule" if set.rule.is_none() => set.rule = Some(rule(doc, part, 0)?),
            other => {
                return Err(
                    doc.error(part, &format!("<{other}> does not belong in a set of options"))
                );
            }
        }
    }
    Ok(set)
}

fn pair<'a, 'i>(
    doc: &Document<'a, 'i>,
    node: Node<'a, 'i>,
    set: &mut OptionSet,
) -> Result<(), Error> {
    let target = doc.resolve(node)?;
    let name = match node.attribute("name") {
        Some(name) => name,
        None => doc.required(target, "name")?,
    };
    // a pair without a value takes the option back
    if let Some(value) = target.attribute("value") {
        set.pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(())
}

/// Reads one rule with everything inside.
pub(crate) fn rule<'a, 'i>(
    doc: &Document<'a, 'i>,
    node: Node<'a, 'i>,
    depth: usize,
) -> Result<Rule, Error> {
    let node = doc.resolve(node)?;
    if depth >= policy::model::DEPTH_MAX {
        return Err(doc.error(node, "rules nest too deep; write them flatter"));
    }
    let op = match node.attribute("boolean-op") {
        None | Some("and") => BooleanOp::And,
        Some("or") => BooleanOp::Or,
        Some(_) => return Err(doc.error(node, "boolean-op must be `and` or `or`")),
    };
    let value = match (node.attribute("score"), node.attribute("score-attribute")) {
        (Some(text), _) => RuleScore::Fixed(
            score(text).ok_or_else(|| doc.error(node, "score must be a number or INFINITY"))?,
        ),
        (None, Some(name)) => RuleScore::Attribute(name.to_owned()),
        (None, None) => RuleScore::Fixed(0),
    };
    let mut expressions = Vec::new();
    for part in elements(node) {
        expressions.push(match part.tag_name().name() {
            "rule" => Expression::Rule(rule(doc, part, depth + 1)?),
            "expression" => attribute(doc, part)?,
            "date_expression" => Expression::Date(date(doc, part)?),
            "rsc_expression" => Expression::Resource {
                class: part.attribute("class").map(str::to_owned),
                provider: part.attribute("provider").map(str::to_owned),
                agent: part.attribute("type").map(str::to_owned),
            },
            "op_expression" => Expression::Operation {
                name: doc.required(part, "name")?.to_owned(),
                interval_ms: part.attribute("interval").and_then(policy::model::parse_interval_ms),
            },
            other => return Err(doc.error(part, &format!("<{other}> does not belong in a rule"))),
        });
    }
    Ok(Rule {
        id: node.attribute("id").unwrap_or_default().to_owned(),
        op,
        role: node.attribute("role").and_then(Role::parse),
        score: value,
        expressions,
    })
}

fn attribute<'a, 'i>(doc: &Document<'a, 'i>, node: Node<'a, 'i>) -> Result<Expression, Error> {
    let comparison = match doc.required(node, "operation")? {
        "lt" => Comparison::Lt,
        "lte" => Comparison::Lte,
        "gt" => Comparison::Gt,
        "gte" => Comparison::Gte,
        "eq" => Comparison::Eq,
        "ne" => Comparison::Ne,
        "defined" => Comparison::Defined,
        "not_defined" => Comparison::NotDefined,
        _ => {
            return Err(doc.error(
                node,
                "operation must be lt, lte, gt, gte, eq, ne, defined or not_defined",
            ));
        }
    };
    let kind = match node.attribute("type") {
        None => ValueKind::Auto,
        Some("string") => ValueKind::String,
        Some("integer") => ValueKind::Integer,
        Some("number") => ValueKind::Number,
        Some("version") => ValueKind::Version,
        Some(_) => return Err(doc.error(node, "type must be string, integer, number or version")),
    };
    let source = match node.attribute("value-source") {
        None | Some("literal") => ValueSource::Literal,
        Some("param") => ValueSource::Parameter,
        Some("meta") => ValueSource::Meta,
        Some(_) => return Err(doc.error(node, "value-source must be literal, param or meta")),
    };
    Ok(Expression::Attribute {
        attribute: doc.required(node, "attribute")?.to_owned(),
        comparison,
        kind,
        value: node.attribute("value").map(str::to_owned),
        source,
    })
}

fn date<'a, 'i>(doc: &Document<'a, 'i>, node: Node<'a, 'i>) -> Result<DateExpression, Error> {
    let instant = |name: &str| match node.attribute(name) {
        None => Ok(None),
        Some(text) => match parse_instant(text) {
            Some(instant) => Ok(Some(instant)),
            None => Err(doc.error(node, &format!("{name} {text:?} is no ISO 8601 date"))),
        },
    };
    let needed = |name: &str| {
        instant(name)?.ok_or_else(|| doc.error(node, &format!("needs the attribute {name}")))
    };
    let inside = |name: &str| elements(node).find(|child| child.tag_name().name() == name);
    match node.attribute("operation").unwrap_or("in_range") {
        "gt" => Ok(DateExpression::After(needed("start")?)),
        "lt" => Ok(DateExpression::Before(needed("end")?)),
        "in_range" => match (inside("duration"), instant("start")?, instant("end")?) {
            (Some(duration), Some(start), None) => {
                let of = |name: &str| {
                    number(duration.attribute(name)).unwrap_or(0).clamp(-99_999, 99_999)
                };
                Ok(DateExpression::Lasting(
                    start,
                    Duration {
                        years: of("years"),
                        months: of("months"),
                        weeks: of("weeks"),
                        days: of("days"),
                        hours: of("hours"),
                        minutes: of("minutes"),
                        seconds: of("seconds"),
                    },
                ))
            }
            (_, start, end) => Ok(DateExpression::Between(start, end)),
        },
        "date_spec" => match inside("date_spec") {
            Some(spec) => Ok(DateExpression::Spec(date_spec(doc, spec)?)),
            None => Err(doc.error(node, "needs a <date_spec>")),
        },
        _ => Err(doc.error(node, "operation must be gt, lt, in_range or date_spec")),
    }
}

fn date_spec<'a, 'i>(doc: &Document<'a, 'i>, node: Node<'a, 'i>) -> Result<DateSpec, Error> {
    let field = |name: &str| {
        let Some(text) = node.attribute(name) else { return Ok(None) };
        range(text)
            .map(Some)
            .ok_or_else(|| doc.error(node, &format!("{name} must be a number or a range like 1-5")))
    };
    Ok(DateSpec {
        seconds: field("seconds")?,
        minutes: field("minutes")?,
        hours: field("hours")?,
        monthdays: field("monthdays")?,
        weekdays: field("weekdays")?,
        yeardays: field("yeardays")?,
        months: field("months")?,
        weeks: field("weeks")?,
        years: field("years")?,
        weekyears: field("weekyears")?,
    })
}

fn range(text: &str) -> Option<Range> {
    match text.split_once('-') {
        None => {
            let only = text.trim().parse().ok()?;
            Some(Range { first: only, last: Some(only) })
        }
        Some((first, "")) => Some(Range { first: first.trim().parse().ok()?, last: None }),
        Some(("", last)) => Some(Range { first: 0, last: Some(last.trim().parse().ok()?) }),
        Some((first, last)) => {
            Some(Range { first: first.trim().parse().ok()?, last: Some(last.trim().parse().ok()?) })
        }
    }
}
