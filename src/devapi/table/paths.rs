//! The JSONPath of printer columns and selectable fields.

use jsonpath_rust::query::js_path_vals;
use serde_json::Value;

/// Everything that `path` (as Kubernetes writes it, beginning with a dot) finds.
pub(crate) fn find<'a>(path: &str, object: &'a Value) -> Vec<&'a Value> {
    let path = path.trim();
    // nearly every path is plain fields: no parser needed for those
    let plain = path.starts_with('.')
        && path[1..].split('.').all(|step| {
            !step.is_empty()
                && step.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        });
    if plain {
        let mut here = object;
        for step in path[1..].split('.') {
            let Some(next) = here.get(step) else { return Vec::new() };
            here = next;
        }
        return if here.is_null() { Vec::new() } else { vec![here] };
    }
    let path = if path.starts_with('$') { path.to_owned() } else { format!("${path}") };
    // Kubernetes writes a dot in a key as \. and a quoted key in brackets works in both
    js_path_vals(&rewritten(&path), object).unwrap_or_default()
}

/// Kubernetes' `\.` in keys as a quoted key.
fn rewritten(path: &str) -> String {
    if !path.contains("\\.") {
        return path.to_owned();
    }
    let mut out = String::new();
    let mut quoted = false;
    let marked = path.replace("\\.", "\u{1}");
    for step in marked.split('.') {
        if step.contains('\u{1}') {
            out.push_str(&format!("['{}']", step.replace('\u{1}', ".")));
            quoted = true;
        } else if out.is_empty() {
            out.push_str(step);
        } else {
            out.push('.');
            out.push_str(step);
        }
    }
    debug_assert!(quoted, "a marked step was seen");
    out
}

/// A value as a cell of text.
pub(crate) fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_of_our_own_definitions_find_their_values() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}],
                       "n": 3, "list": [{"x": 1}, {"x": 2}]},
        });
        let text = |path: &str| find(path, &object).into_iter().map(printed).collect::<Vec<_>>();
        assert_eq!(text(".status.conditions[?(@.type=='Ready')].status"), ["True"]);
        assert_eq!(text(".status.conditions[?(@.type==\"Ready\")].status"), ["True"]);
        assert_eq!(text(".status.n"), ["3"]);
        assert_eq!(text(".status.list[*].x"), ["1", "2"]);
        assert_eq!(text(".status.list[0].x"), ["1"]);
        assert_eq!(text(".metadata.labels.a\\.b/c"), ["x"]);
        assert_eq!(text(".status.none"), Vec::<String>::new());
    }
}
