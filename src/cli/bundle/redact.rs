//! Takes secrets out of objects that go into a bundle; of text, [`base::redact`] does.

use base::redact::{REDACTED, is_secret};
use serde_json::Value;

/// Names of Secrets hold no value and are objects or names: fields of our own kinds that name a Secret, in an object, and hold none.
const KEPT: [&str; 5] =
    ["secretRef", "credentialsSecret", "credentials", "keySecret", "ringKeySecret"];

/// In place. Managed fields and kubectl's copy of the last object go: they repeat what was taken out.
pub(super) fn value(found: &mut Value) {
    match found {
        Value::Object(fields) => {
            fields.remove("managedFields");
            fields.remove("kubectl.kubernetes.io/last-applied-configuration");
            for (name, inner) in fields.iter_mut() {
                let names_one = KEPT.contains(&name.as_str()) && inner.is_object();
                if is_secret(name) && !names_one {
                    *inner = REDACTED.into();
                } else {
                    value(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(value),
        Value::String(text) => *text = base::redact::text(text),
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CANARY: &str = "Seč'r\"$(x)\\n";

    #[test]
    fn canaries_are_gone_from_objects_and_names_stay() {
        let mut object = json!({"spec": {"password": CANARY, "userToken": [CANARY], "totem": {"token": "1s"},
            "credentials": {"name": "bmc-n1"}, "note": format!("secret={CANARY}")},
            "metadata": {"managedFields": [CANARY], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY}}});
        value(&mut object);
        assert!(!object.to_string().contains("Seč"), "{object}");
        assert_eq!(object["spec"]["totem"]["token"], "1s");
        assert_eq!(object["spec"]["credentials"]["name"], "bmc-n1");
    }
}
