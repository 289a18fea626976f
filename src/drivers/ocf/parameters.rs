//! Parameters of an object against what the agent says that it takes.

use std::collections::{BTreeMap, BTreeSet};

use super::metadata::{Metadata, Type};

const VALUE_BYTES_MAX: usize = 4096;
const PARAMETERS_MAX: usize = 128;
/// Of all that is wrong, so many are said at once.
const REFUSED_MAX: usize = 16;
const SHOWN_MAX: usize = 40;

/// One thing that is wrong, in the words of SPEC-ERRORS.md.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {value}: {rule}; {remedy}")]
pub struct Refused {
    /// Where it stands, below the object's `parameters`.
    pub path: String,
    /// What stands there; of a secret not even the beginning.
    pub value: String,
    /// What it breaks.
    pub rule: String,
    /// What to do.
    pub remedy: String,
}

/// Whether a parameter's name says that its value is nobody's business.
pub(super) fn secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key", "credential"].iter().any(|word| name.contains(word))
}

/// All that is wrong, none where everything is right.
pub fn check(metadata: &Metadata, given: &BTreeMap<String, String>) -> Vec<Refused> {
    check_hiding(metadata, given, &BTreeSet::new())
}

/// The same; values of `hidden` are not shown, whatever their names are.
pub(super) fn check_hiding(
    metadata: &Metadata,
    given: &BTreeMap<String, String>,
    hidden: &BTreeSet<String>,
) -> Vec<Refused> {
    let mut refused = Vec::new();
    if given.len() > PARAMETERS_MAX {
        refused.push(Refused {
            path: "parameters".into(),
            value: format!("{} entries", given.len()),
            rule: format!("at most {PARAMETERS_MAX}"),
            remedy: "remove what the agent does not need".into(),
        });
        return refused;
    }
    for (name, value) in given {
        let wrong = |rule: String, remedy: String| Refused {
            path: format!("parameters.{}", shown(name)),
            value: if secret(name) || hidden.contains(name) {
                "(not shown)".into()
            } else {
                format!("{:?}", shown(value))
            },
            rule,
            remedy,
        };
        let Some(parameter) = metadata.parameters.get(name) else {
            let remedy = match nearest(metadata, name) {
                Some(near) => format!("did you mean {near}? Otherwise remove it"),
                None => "remove it; the agent's meta-data lists what it takes".into(),
            };
            refused.push(wrong("the agent has no such parameter".into(), remedy));
            continue;
        };
        if value.len() > VALUE_BYTES_MAX || value.contains('\0') {
            let rule = format!("at most {VALUE_BYTES_MAX} bytes, none of them 0");
            refused.push(wrong(rule, "shorten it".into()));
            continue;
        }
        match &parameter.content {
            Type::Integer if value.trim().parse::<i64>().is_err() => {
                refused.push(wrong("a whole number".into(), example(&parameter.default, "3")));
            }
            Type::Boolean if !boolean(value) => {
                let rule = "true or false".into();
                refused.push(wrong(rule, "write \"true\" or \"false\"".into()));
            }
            Type::Select(options) if !options.contains(value) => {
                let rule = format!("one of {}", options.join(", "));
                refused.push(wrong(rule, format!("write {:?}", options[0])));
            }
            _ if parameter.required && value.is_empty() => {
                refused.push(wrong("required".into(), "give it a value".into()));
            }
            _ => {}
        }
    }
    for (name, parameter) in &metadata.parameters {
        if parameter.required && !given.contains_key(name) {
            refused.push(Refused {
                path: format!("parameters.{name}"),
                value: "absent".into(),
                rule: "required".into(),
                remedy: match parameter.short.as_str() {
                    "" => "add it".into(),
                    short => format!("add it ({short})"),
                },
            });
        }
    }
    refused.truncate(REFUSED_MAX);
    refused
}

/// `ocf_is_true` and its opposite.
fn boolean(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    ["true", "yes", "on", "1", "y", "t", "false", "no", "off", "0", "n", "f"]
        .contains(&value.as_str())
}

fn example(default: &Option<String>, otherwise: &str) -> String {
    let default = default.as_deref().filter(|text| text.parse::<i64>().is_ok());
    format!("write a number, as in {:?}", default.unwrap_or(otherwise))
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The same but for case, `-` and `_`, or one that begins or ends with it.
fn nearest<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = plain(name);
    let names = || metadata.parameters.keys().map(String::as_str);
    let close = |known: &str| {
        let known = plain(known);
        !wanted.is_empty() && (known.starts_with(&wanted) || wanted.starts_with(&known))
    };
    names().find(|known| plain(known) == wanted).or_else(|| names().find(|known| close(known)))
}
