//! Bodies in Kubernetes' protobuf form. kubectl's generators (`kubectl create configmap ...`) send nothing else.
//! Read only: answers are JSON, which the same clients take.

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::limits::DEPTH_MAX;

/// What stands before every message.
const MAGIC: &[u8] = b"k8s\0";

const TABLE: &str = include_str!("protobuf.txt");

/// Fields of one message: JSON name and type by number.
type Fields = HashMap<u64, (&'static str, &'static str)>;

fn messages() -> &'static HashMap<&'static str, Fields> {
    static MESSAGES: OnceLock<HashMap<&'static str, Fields>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut out: HashMap<&str, Fields> = HashMap::new();
        for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            if let [message, number, name, kind] = words.as_slice()
                && let Ok(number) = number.parse()
            {
                out.entry(message).or_default().insert(number, (name, kind));
            }
        }
        out
    })
}

fn wrong(why: &str) -> Failure {
    Failure::bad_request(format!(
        "the body is no protobuf of a kind that devapi reads: {why}; send JSON"
    ))
}

/// One field on the wire.
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed64(u64),
    Fixed32,
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Failure> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(|| wrong("cut short"))?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(wrong("a number without end"))
}

fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Wire<'a>), Failure> {
    let key = varint(bytes)?;
    let take = |bytes: &mut &'a [u8], count: u64| {
        let count = usize::try_from(count).map_err(|_| wrong("cut short"))?;
        let (head, rest) = bytes.split_at_checked(count).ok_or_else(|| wrong("cut short"))?;
        *bytes = rest;
        Ok::<_, Failure>(head)
    };
    let wire = match key & 7 {
        0 => Wire::Varint(varint(bytes)?),
        1 => {
            let raw = take(bytes, 8)?;
            Wire::Fixed64(raw.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
        }
        2 => {
            let count = varint(bytes)?;
            Wire::Bytes(take(bytes, count)?)
        }
        5 => {
            take(bytes, 4)?;
            Wire::Fixed32
        }
        _ => return Err(wrong("an unknown type of field")),
    };
    Ok((key >> 3, wire))
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    String::from_utf8(bytes.to_vec()).map_err(|_| wrong("a text that is no UTF-8"))
}

/// Reads an object of a built-in kind (or DeleteOptions).
pub(crate) fn decode(body: &[u8]) -> Result<Value, Failure> {
    let mut bytes = body.strip_prefix(MAGIC).ok_or_else(|| wrong("it does not begin as one"))?;
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &b""[..]);
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Wire::Bytes(mut head)) => {
                while !head.is_empty() {
                    match field(&mut head)? {
                        (1, Wire::Bytes(v)) => version = text(v)?,
                        (2, Wire::Bytes(v)) => kind = text(v)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(inner)) => raw = inner,
            _ => {}
        }
    }
    let group = version.split_once('/').map_or("core", |(group, _)| group);
    let short = group.split('.').next().unwrap_or(group);
    let name = if kind == "DeleteOptions" {
        "meta.DeleteOptions".into()
    } else {
        format!("{short}.v1.{kind}")
    };
    if !messages().contains_key(name.as_str()) {
        return Err(wrong(&format!("the kind {version} {kind} is unknown")));
    }
    let mut object = message(&name, raw, 0)?;
    object.insert("apiVersion".into(), version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

fn message(name: &str, mut bytes: &[u8], depth: usize) -> Result<Map<String, Value>, Failure> {
    if depth > DEPTH_MAX {
        return Err(wrong("too deep"));
    }
    let fields = messages().get(name).ok_or_else(|| wrong("an unknown message"))?;
    let mut out = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = field(&mut bytes)?;
        let Some((json, kind)) = fields.get(&number) else { continue };
        if let Some(kind) = kind.strip_suffix('*') {
            // an empty text in a list is a value: the core group of a role's rule
            let empty = || (kind == "string").then(|| Value::from(""));
            let item = value(kind, &wire, depth)?.or_else(empty);
            let list = out.entry(*json).or_insert_with(|| json!([]));
            if let (Some(list), Some(item)) = (list.as_array_mut(), item) {
                list.push(item);
            }
        } else if let Some(kind) = kind.strip_prefix('{').and_then(|k| k.strip_suffix('}')) {
            let Wire::Bytes(mut entry) = wire else { return Err(wrong("a map that is none")) };
            let (mut key, mut inner) = (String::new(), None);
            while !entry.is_empty() {
                match field(&mut entry)? {
                    (1, Wire::Bytes(v)) => key = text(v)?,
                    (2, wire) => inner = value(kind, &wire, depth)?,
                    _ => {}
                }
            }
            // an empty text in a map is a value
            out.entry(*json).or_insert_with(|| json!({}))[key] = inner.unwrap_or_else(|| "".into());
        } else if let Some(inner) = value(kind, &wire, depth)? {
            match inner {
                Value::Object(inner) if *json == "-" => out.extend(inner),
                inner => {
                    out.insert((*json).to_owned(), inner);
                }
            }
        }
    }
    Ok(out)
}

/// A value; `None` for an empty text or time, which Go writes for absent.
fn value(kind: &str, wire: &Wire<'_>, depth: usize) -> Result<Option<Value>, Failure> {
    Ok(match (kind, wire) {
        ("bool", Wire::Varint(n)) => Some((*n != 0).into()),
        ("int32" | "int64", Wire::Varint(n)) => Some(n.cast_signed().into()),
        ("double", Wire::Fixed64(n)) => Some(json!(f64::from_bits(*n))),
        ("string", Wire::Bytes(b)) => Some(text(b)?).filter(|t| !t.is_empty()).map(Value::from),
        ("bytes", Wire::Bytes(b)) => {
            Some(base64::engine::general_purpose::STANDARD.encode(b).into())
        }
        ("meta.Time" | "meta.MicroTime", Wire::Bytes(b)) => time(kind, b)?,
        ("api.resource.Quantity", Wire::Bytes(b)) => {
            let mut bytes = *b;
            match bytes.is_empty() {
                true => None,
                false => match field(&mut bytes)? {
                    (1, Wire::Bytes(v)) => Some(text(v)?.into()),
                    _ => None,
                },
            }
        }
        ("util.intstr.IntOrString", Wire::Bytes(b)) => Some(int_or_string(b)?),
        ("meta.FieldsV1" | "runtime.RawExtension", Wire::Bytes(b)) => {
            let mut bytes = *b;
            match bytes.is_empty() {
                true => None,
                false => match field(&mut bytes)? {
                    (1, Wire::Bytes(v)) => serde_json::from_slice(v).ok(),
                    _ => None,
                },
            }
        }
        (name, Wire::Bytes(b)) => Some(Value::Object(message(name, b, depth + 1)?)),
        _ => return Err(wrong("a field of another type")),
    })
}

fn time(kind: &str, mut bytes: &[u8]) -> Result<Option<Value>, Failure> {
    let (mut seconds, mut nanos) = (0, 0);
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Wire::Varint(n)) => seconds = n.cast_signed(),
            (2, Wire::Varint(n)) => nanos = i32::try_from(n.cast_signed()).unwrap_or(0),
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(None);
    }
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| wrong("a time out of range"))?;
    let form = if kind == "meta.Time" { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
    Ok(Some(time.strftime(form).to_string().into()))
}

fn int_or_string(mut bytes: &[u8]) -> Result<Value, Failure> {
    let (mut is_text, mut number, mut word) = (false, 0, String::new());
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Wire::Varint(n)) => is_text = n == 1,
            (2, Wire::Varint(n)) => number = n.cast_signed(),
            (3, Wire::Bytes(v)) => word = text(v)?,
            _ => {}
        }
    }
    Ok(if is_text { word.into() } else { number.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
        out.extend_from_slice(bytes);
        out
    }

    fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let head = [put(1, version.as_bytes()), put(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), put(1, &head), put(2, raw)].concat()
    }

    #[test]
    fn a_secret_comes_out_as_its_json() {
        let metadata = put(1, b"s");
        let entry = [put(1, b"key"), put(2, b"value")].concat();
        let raw = [put(1, &metadata), put(2, &entry), put(3, b"Opaque")].concat();
        let want = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
                          "data": {"key": "dmFsdWU="}, "type": "Opaque"});
        assert_eq!(decode(&envelope("v1", "Secret", &raw)), Ok(want));
    }

    #[test]
    fn garbage_is_refused_and_never_panics() {
        let good = envelope("v1", "Secret", &put(1, &put(1, b"s")));
        for cut in 0..good.len() {
            let _ = decode(&good[..cut]);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _ = decode(&bad);
        }
        assert!(decode(b"k8s\0").is_err());
        assert!(decode(&envelope("v1", "Pod", b"")).is_err());
    }

    #[test]
    fn every_message_that_a_field_names_is_in_the_table() {
        const OURS: &[&str] = &[
            "string",
            "bytes",
            "bool",
            "int32",
            "int64",
            "double",
            "meta.Time",
            "meta.MicroTime",
            "api.resource.Quantity",
            "util.intstr.IntOrString",
            "meta.FieldsV1",
            "runtime.RawExtension",
        ];
        for (message, fields) in messages() {
            for (name, kind) in fields.values() {
                let kind = kind.trim_matches(['*', '{', '}']);
                let known = OURS.contains(&kind) || messages().contains_key(kind);
                assert!(known, "{message}.{name}: {kind}");
            }
        }
    }
}
