//! Rules: whether a condition holds, and which options of several sets win.

use alloc::{collections::BTreeMap, vec::Vec};
use core::cmp::Ordering;

use crate::model::{
    BooleanOp, Comparison, DateExpression, DateSpec, Duration, Expression, Model, OptionSet,
    Options, Range, Rule, ValueKind, ValueSource, civil_from_days, days_from_civil,
};

/// What a rule is asked about.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) now: i64,
    /// Attributes of the node; `None` where no node is meant, and then attribute expressions do not hold.
    pub(crate) node: Option<&'a BTreeMap<&'a str, &'a str>>,
    /// Class, provider and agent.
    pub(crate) agent: Option<(&'a str, &'a str, &'a str)>,
    /// Name and interval.
    pub(crate) operation: Option<(&'a str, u64)>,
    pub(crate) parameters: Option<&'a BTreeMap<&'a str, &'a str>>,
    pub(crate) meta: Option<&'a BTreeMap<&'a str, &'a str>>,
    /// What a pattern captured, for `%0` to `%9`.
    pub(crate) captured: &'a [&'a str],
}

impl<'a> Context<'a> {
    /// No node, no resource.
    pub(crate) fn cluster(model: &'a Model) -> Self {
        Self {
            now: model.now,
            node: None,
            agent: None,
            operation: None,
            parameters: None,
            meta: None,
            captured: &[],
        }
    }
}

/// The options that hold.
pub(crate) fn resolve<'m>(
    options: &'m Options,
    context: &Context<'_>,
) -> BTreeMap<&'m str, &'m str> {
    let mut values = BTreeMap::new();
    fill(options, context, &mut values);
    values
}

/// Capacities, or what is taken of them, by name; what is no number is nothing.
pub(crate) fn amounts<'m>(options: &'m Options, context: &Context<'_>) -> BTreeMap<&'m str, i64> {
    let number = |text: &str| text.trim().parse().unwrap_or(0);
    resolve(options, context).into_iter().map(|(name, text)| (name, number(text))).collect()
}

/// Adds the options that hold to those already there, which keep precedence.
pub(crate) fn fill<'m>(
    options: &'m Options,
    context: &Context<'_>,
    values: &mut BTreeMap<&'m str, &'m str>,
) {
    if let [] | [_] = options.sets.as_slice() {
        options.sets.iter().for_each(|set| fill_set(set, context, values));
        return;
    }
    let mut sets: Vec<_> = options.sets.iter().collect();
    sets.sort_by_key(|set| core::cmp::Reverse(set.score));
    sets.into_iter().for_each(|set| fill_set(set, context, values));
}

fn fill_set<'m>(
    set: &'m OptionSet,
    context: &Context<'_>,
    values: &mut BTreeMap<&'m str, &'m str>,
) {
    if set.rule.as_ref().is_some_and(|rule| !holds(rule, context)) {
        return;
    }
    for (name, value) in &set.pairs {
        // an old way to take an option back
        if !value.eq_ignore_ascii_case("#default") {
            values.entry(name).or_insert(value);
        }
    }
}

/// Whether a rule holds.
pub(crate) fn holds(rule: &Rule, context: &Context<'_>) -> bool {
    let test = |expression: &Expression| match expression {
        Expression::Rule(rule) => holds(rule, context),
        Expression::Attribute { attribute, comparison, kind, value, source } => {
            attribute_holds(context, attribute, *comparison, *kind, value.as_deref(), *source)
        }
        Expression::Date(date) => date_holds(date, context.now),
        Expression::Resource { class, provider, agent } => {
            let matches = |wanted: &Option<alloc::string::String>, is: &str| {
                wanted.as_deref().is_none_or(|wanted| wanted == is)
            };
            context.agent.is_some_and(|(c, p, a)| {
                matches(class, c) && matches(provider, p) && matches(agent, a)
            })
        }
        Expression::Operation { name, interval_ms } => {
            context.operation.is_some_and(|(is, every)| {
                name == is && interval_ms.is_none_or(|wanted| wanted == every)
            })
        }
    };
    match rule.op {
        BooleanOp::And => rule.expressions.iter().all(test),
        BooleanOp::Or => rule.expressions.is_empty() || rule.expressions.iter().any(test),
    }
}

fn attribute_holds(
    context: &Context<'_>,
    attribute: &str,
    comparison: Comparison,
    kind: ValueKind,
    value: Option<&str>,
    source: ValueSource,
) -> bool {
    let Some(attributes) = context.node else { return false };
    let substituted;
    let attribute = match attribute.split_once('%') {
        Some((head, tail)) if !context.captured.is_empty() => {
            let digit = tail.chars().next().and_then(|c| c.to_digit(10)).unwrap_or(0);
            let text = context.captured.get(digit as usize).copied().unwrap_or("");
            substituted = alloc::format!("{head}{text}{}", tail.get(1..).unwrap_or(""));
            substituted.as_str()
        }
        _ => attribute,
    };
    let actual = attributes.get(attribute).copied();
    let wanted = match (source, value) {
        (ValueSource::Literal, value) => value,
        (ValueSource::Parameter, Some(name)) => {
            context.parameters.and_then(|p| p.get(name).copied())
        }
        (ValueSource::Meta, Some(name)) => context.meta.and_then(|m| m.get(name).copied()),
        (_, None) => None,
    };
    match comparison {
        Comparison::Defined => return actual.is_some(),
        Comparison::NotDefined => return actual.is_none(),
        Comparison::Eq if actual.is_none() || wanted.is_none() => return actual == wanted,
        Comparison::Ne if actual.is_none() || wanted.is_none() => return actual != wanted,
        _ => {}
    }
    let (Some(actual), Some(wanted)) = (actual, wanted) else { return false };
    let kind = match (kind, comparison) {
        (ValueKind::Auto, Comparison::Lt | Comparison::Lte | Comparison::Gt | Comparison::Gte) => {
            if actual.contains('.') || wanted.contains('.') {
                ValueKind::Number
            } else {
                ValueKind::Integer
            }
        }
        (ValueKind::Auto, _) => ValueKind::String,
        (kind, _) => kind,
    };
    // what is no number is compared as text
    let order = compare(actual, wanted, kind)
        .or_else(|| compare(actual, wanted, ValueKind::String))
        .unwrap_or(Ordering::Equal);
    match comparison {
        Comparison::Lt => order.is_lt(),
        Comparison::Lte => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::Gte => order.is_ge(),
        Comparison::Eq => order.is_eq(),
        Comparison::Ne => order.is_ne(),
        Comparison::Defined | Comparison::NotDefined => false,
    }
}

fn compare(a: &str, b: &str, kind: ValueKind) -> Option<Ordering> {
    match kind {
        ValueKind::Auto | ValueKind::String => {
            let lower =
                |text: &str| text.bytes().map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
            Some(lower(a).cmp(&lower(b)))
        }
        // whole numbers take the leading digits, as people write 3.6 for them
        ValueKind::Integer => Some(leading_integer(a)?.cmp(&leading_integer(b)?)),
        ValueKind::Number => {
            a.trim().parse::<f64>().ok()?.partial_cmp(&b.trim().parse::<f64>().ok()?)
        }
        ValueKind::Version => {
            let parts = |text: &str| {
                text.split(|c: char| !c.is_ascii_digit())
                    .filter(|part| !part.is_empty())
                    .map(|part| part.parse::<u64>().unwrap_or(u64::MAX))
                    .collect::<Vec<_>>()
            };
            let (mut a, mut b) = (parts(a), parts(b));
            let length = a.len().max(b.len());
            a.resize(length, 0);
            b.resize(length, 0);
            Some(a.cmp(&b))
        }
    }
}

fn leading_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(score) = text.to_ascii_uppercase().strip_suffix("INFINITY") {
        let infinity = i64::from(crate::model::INFINITY);
        return Some(if score == "-" { -infinity } else { infinity });
    }
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len());
    let value: i64 = body[..end].parse().ok()?;
    Some(if text.starts_with('-') { -value } else { value })
}

fn date_holds(date: &DateExpression, now: i64) -> bool {
    match date {
        DateExpression::After(start) => now > *start,
        DateExpression::Before(end) => now < *end,
        DateExpression::Between(start, end) => {
            start.is_none_or(|start| now >= start) && end.is_none_or(|end| now <= end)
        }
        DateExpression::Lasting(start, duration) => now >= *start && now <= add(*start, duration),
        DateExpression::Spec(spec) => spec_holds(spec, now),
    }
}

fn add(start: i64, duration: &Duration) -> i64 {
    let (year, month, day) = civil_from_days(start.div_euclid(86_400));
    let months = year * 12 + month - 1 + duration.years * 12 + duration.months;
    let days = days_from_civil(months.div_euclid(12), months.rem_euclid(12) + 1, day)
        + duration.weeks * 7
        + duration.days;
    days * 86_400
        + start.rem_euclid(86_400)
        + duration.hours * 3600
        + duration.minutes * 60
        + duration.seconds
}

fn spec_holds(spec: &DateSpec, now: i64) -> bool {
    let days = now.div_euclid(86_400);
    let seconds = now.rem_euclid(86_400);
    let (year, month, day) = civil_from_days(days);
    // 1970-01-01 was a Thursday; weeks begin on Monday
    let weekday = (days + 3).rem_euclid(7) + 1;
    let thursday = days - (weekday - 1) + 3;
    let (week_year, ..) = civil_from_days(thursday);
    let week = (thursday - days_from_civil(week_year, 1, 1)) / 7 + 1;
    let within = |range: Option<Range>, value: i64| {
        range
            .is_none_or(|range| value >= range.first && range.last.is_none_or(|last| value <= last))
    };
    within(spec.seconds, seconds % 60)
        && within(spec.minutes, seconds / 60 % 60)
        && within(spec.hours, seconds / 3600)
        && within(spec.monthdays, day)
        && within(spec.weekdays, weekday)
        && within(spec.yeardays, days - days_from_civil(year, 1, 1) + 1)
        && within(spec.months, month)
        && within(spec.weeks, week)
        && within(spec.years, year)
        && within(spec.weekyears, week_year)
}
