//! Bodies into objects. Duplicate keys are found here and nowhere else: a plain reader lets the last one win.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::join;
use crate::failure::Failure;

/// An object and what was wrong with its text.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) object: Value,
    /// Paths of keys that stood there more than once.
    pub(crate) duplicates: Vec<String>,
}

/// Reads JSON.
pub(crate) fn json(body: &[u8]) -> Result<Decoded, Failure> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let seed = Seed { path: String::new(), duplicates: &mut duplicates };
    let object = seed
        .deserialize(&mut reader)
        .and_then(|object| reader.end().map(|()| object))
        .map_err(|e| Failure::bad_request(format!("the body is no JSON: {e}")))?;
    Ok(Decoded { object, duplicates })
}

/// Reads YAML, of which JSON is a part.
pub(crate) fn yaml(body: &[u8]) -> Result<Decoded, Failure> {
    if body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
        return json(body);
    }
    let text =
        std::str::from_utf8(body).map_err(|_| Failure::bad_request("the body is no UTF-8 text"))?;
    let mut duplicates = Vec::new();
    let seed = Seed { path: String::new(), duplicates: &mut duplicates };
    let object = seed
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|e| Failure::bad_request(format!("the body is no YAML: {e}")))?;
    Ok(Decoded { object, duplicates })
}

struct Seed<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, items.len());
            match seq.next_element_seed(Seed { path, duplicates: &mut *self.duplicates })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = join(&self.path, &key);
            if fields.contains_key(&key) {
                self.duplicates.push(path.clone());
            }
            let value = map.next_value_seed(Seed { path, duplicates: &mut *self.duplicates })?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_that_stands_twice_is_told_with_its_path_and_the_last_wins() {
        let decoded = json(br#"{"spec":{"a":1,"l":[{"b":1,"b":2}],"a":3}}"#).expect("JSON");
        assert_eq!(decoded.object, json!({"spec": {"a": 3, "l": [{"b": 2}]}}));
        assert_eq!(decoded.duplicates, ["spec.l[0].b", "spec.a"]);
    }

    #[test]
    fn yaml_and_json_give_the_same_object() {
        let a = yaml(b"spec:\n  n: 3\n  on: true\n  s: \"x\"\n").expect("YAML").object;
        let b = yaml(br#" {"spec":{"n":3,"on":true,"s":"x"}}"#).expect("JSON").object;
        assert_eq!(a, b);
    }

    #[test]
    fn garbage_and_bottomless_nesting_are_refused() {
        assert_eq!(json(b"{").map(|_| ()).map_err(|e| e.code), Err(400));
        assert_eq!(json(b"{} {}").map(|_| ()).map_err(|e| e.code), Err(400));
        let deep = "[".repeat(100_000);
        assert_eq!(json(deep.as_bytes()).map(|_| ()).map_err(|e| e.code), Err(400));
    }
}
