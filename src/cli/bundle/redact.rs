//! Takes secrets out of what goes into a bundle. It takes too much rather than too little.

use serde_json::Value;

const REDACTED: &str = "[redacted]";
/// A name that has one of these in it names a secret. Names of Secrets (`secretRef`, `credentialsSecret`) hold no value and
/// are objects or names; these are kept, see [`KEPT`].
const SECRET_WORDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "authorization",
    "bearer",
    "apikey",
    "private",
];
/// A condition of ours. It names no secret.
const CONDITION: &str = "SecretsUnsealed";
/// Fields of our own kinds that name a Secret, in an object, and hold none.
const KEPT: [&str; 5] =
    ["secretRef", "credentialsSecret", "credentials", "keySecret", "ringKeySecret"];

fn is_secret(name: &str) -> bool {
    let lower: String =
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let ends = |end: &str| lower.ends_with(end) && lower != end;
    name != CONDITION
        && (SECRET_WORDS.iter().any(|word| lower.contains(word)) || ends("token") || ends("key"))
}

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
        Value::String(text) => *text = self::text(text),
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

/// Of any text: each line, and private keys as a whole.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_key = false;
    for one in text.split_inclusive('\n') {
        let (body, end) = one.strip_suffix('\n').map_or((one, ""), |body| (body, "\n"));
        let begins = body.contains("-----BEGIN") && body.contains("PRIVATE KEY");
        if begins || in_key {
            if begins {
                out.push_str(REDACTED);
                out.push_str(end);
            }
            in_key = !body.contains("-----END");
            continue;
        }
        out.push_str(&line(body));
        out.push_str(end);
    }
    out
}

/// What stands behind the name of a secret and `=` or `:` is gone, to the end of the line.
pub(super) fn line(line: &str) -> String {
    for (at, mark) in line.match_indices(['=', ':']) {
        let name = line[..at].trim_end_matches(['"', '\'', ' ', '\\']);
        let from = name.rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)));
        let name = &name[from.map_or(0, |from| from + 1)..];
        if is_secret(name) && !line[at + mark.len()..].trim().is_empty() {
            return format!("{}{REDACTED}", &line[..at + mark.len()]);
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CANARY: &str = "Seč'r\"$(x)\\n";

    #[test]
    fn canaries_are_gone_and_names_stay() {
        for given in [
            format!("password={CANARY}"),
            format!("  \"bmc_password\": \"{CANARY}\", \"x\": 1"),
            format!("Authorization: Bearer {CANARY}"),
            format!("env OS_PASSWORD = {CANARY} and more"),
            format!("ring-key: 1 {CANARY}"),
            format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\nafter"),
        ] {
            let kept = text(&given);
            assert!(!kept.contains("Seč") && kept.contains(REDACTED), "{kept}");
        }
        let plain = "20:00:01 note: token: 1s, condition=SecretsUnsealed lives at 10.0.0.1:5405";
        assert_eq!(line(plain), plain);
        let mut object = json!({"spec": {"password": CANARY, "userToken": [CANARY], "totem": {"token": "1s"},
            "credentials": {"name": "bmc-n1"}, "note": format!("secret={CANARY}")},
            "metadata": {"managedFields": [CANARY], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY}}});
        value(&mut object);
        assert!(!object.to_string().contains("Seč"), "{object}");
        assert_eq!(object["spec"]["totem"]["token"], "1s");
        assert_eq!(object["spec"]["credentials"]["name"], "bmc-n1");
    }
}
