//! CEL rules that several kinds share. Messages name the value and the remedy (SPEC-ERRORS.md rules 3 and 9).

use kube::core::{Message, Reason, Rule};

/// A rule with a message in which `{EXPRESSION}` stands for a value.
///
/// The server estimates what a message costs before it takes a definition. The size of `string(1)`, or of what a
/// filter finds, is unknown to it and counts as endless, so values go through `format`, which costs what its text does.
pub(crate) fn rule(rule: &str, message: &str) -> Rule {
    let (mut text, mut values) = (String::new(), Vec::new());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        let (value, tail) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        text.push_str("%s");
        values.push(value);
        rest = tail;
    }
    text.push_str(rest);
    if values.is_empty() {
        return Rule::new(rule).message(text.as_str());
    }
    told_by(rule, &format!("'{text}'.format([{}])", values.join(", ")))
}

/// A rule whose message is an expression.
pub(crate) fn told_by(rule: &str, expression: &str) -> Rule {
    Rule::new(rule).message(Message::Expression(expression.into()))
}

/// No two members have the same value in `field`. `shown` wraps the value in the message; both places are named.
///
/// The places come from a list of numbers: CEL has no index in its macros, and the size of what a filter finds is
/// unknown to the server, while that of a list in the text is not.
pub(crate) fn members_differ(field: &str, quote: &str, remedy: &str) -> Rule {
    let alone = format!("self.members.exists_one(n, n.{field} == m.{field})");
    let value = format!("self.members.filter(m, !{alone})[0].{field}");
    let places = numbers(crate::cluster::MEMBERS_MAX);
    let place = |nth: u8| {
        format!(
            "{places}.filter(i, i < self.members.size() && self.members[i].{field} == {value})[{nth}]"
        )
    };
    rule(
        &format!("self.members.all(m, {alone})"),
        &format!(
            "spec.members: {field} {quote}{{{value}}}{quote} is used by items {{{}}} and {{{}}}: {remedy}",
            place(0),
            place(1)
        ),
    )
}

/// Every link is of one address family: IPv6 addresses have a colon.
pub(crate) fn one_family_on_each_link() -> Rule {
    let links = numbers(crate::cluster::LINKS_MAX);
    let first = "self.members[0]";
    let other = |i: &str| {
        format!(
            "{i} < m.links.size() && m.links[{i}].contains(':') != {first}.links[{i}].contains(':')"
        )
    };
    let mixed = format!(
        "{links}.filter(i, i < {first}.links.size() && self.members.exists(m, {}))[0]",
        other("i")
    );
    rule(
        &format!(
            "{links}.all(i, i >= {first}.links.size() || !self.members.exists(m, {}))",
            other("i")
        ),
        &format!(
            "spec.members: link {{{mixed}}} mixes IPv4 and IPv6 ({{{first}.links[{mixed}]}} and {{self.members.filter(m, {})[0].links[{mixed}]}}): use one family",
            other(&mixed)
        ),
    )
}

/// `[0, 1, ...]`
fn numbers(count: usize) -> String {
    let all: Vec<String> = (0..count).map(|i| i.to_string()).collect();
    format!("[{}]", all.join(", "))
}

/// `clusterRef` stays as it was made.
pub(crate) fn same_cluster() -> Rule {
    rule(
        "self.clusterRef.name == oldSelf.clusterRef.name",
        "clusterRef.name cannot change from \"{oldSelf.clusterRef.name}\" to \"{self.clusterRef.name}\": delete this object and make one for the other cluster",
    )
    .reason(Reason::FieldValueForbidden)
}

/// The whole spec stays as it was made.
pub(crate) fn immutable(kind: &str) -> Rule {
    Rule::new("self == oldSelf")
        .message(format!("a {kind} says one thing once and cannot change: make a new one").as_str())
        .reason(Reason::FieldValueForbidden)
}

/// `observedEra` never goes back: a minority with API access cannot overwrite the truth (CLUSTER.md section 7).
pub(crate) fn era_grows() -> Rule {
    rule(
        "!has(oldSelf.status) || !has(oldSelf.status.observedEra) || (has(self.status) && has(self.status.observedEra) && self.status.observedEra >= oldSelf.status.observedEra)",
        "status.observedEra cannot go back from {oldSelf.status.observedEra}: the writer is not of the newest era; it must stop mirroring",
    )
    .reason(Reason::FieldValueForbidden)
}

/// A span between two spans, both included. The form is checked first, so that each fault is said once.
pub(crate) fn between(min: &str, max: &str) -> Rule {
    rule(
        &format!(
            "!self.matches('^[0-9]{{1,9}}(ms|s|m|h)$') || (duration(self) >= duration('{min}') && duration(self) <= duration('{max}'))"
        ),
        &format!("\"{{self}}\" is out of range: allowed {min} to {max}"),
    )
}

/// An option whose place is there, but which is not built yet (CLUSTER.md section 3.7).
pub(crate) fn not_built(option: &str, why: &str) -> Rule {
    Rule::new("!self").message(format!("{option} is not built yet: {why}").as_str())
}
