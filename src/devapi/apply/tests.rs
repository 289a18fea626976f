//! The laws of apply.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::managers;
use super::*;
use crate::schema::Schema;

fn schema() -> Schema {
    Schema::new(
        json!({"type": "object", "properties": {
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "atomic": {"type": "array", "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                     "items": {"type": "object", "properties": {"name": {"type": "string"}, "x": {"type": "integer"},
                                                                "y": {"type": "integer"}}}},
            "spec": {"type": "object", "properties": {"n": {"type": "integer"},
                     "deep": {"type": "object", "properties": {"m": {"type": "integer"}}}}},
        }}),
        Arc::default(),
    )
}

fn writer<'a>(name: &'a str, time: &'a str) -> Writer<'a> {
    static NOTHING: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({}));
    Writer { name, api_version: "v1", subresource: "", time, ignored: &[], nothing: &NOTHING }
}

fn applied(live: Option<&Value>, who: &str, what: &Value, force: bool) -> Result<Value, Failure> {
    apply(live, what, schema().root(), &writer(who, "t"), force)
}

/// The object without its bookkeeping.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("metadata");
    }
    object
}

fn owners(object: &Value) -> Vec<(String, Vec<String>)> {
    managers::read(object)
        .into_iter()
        .map(|(m, o)| (m.name, o.set.paths().iter().map(|p| shown(p)).collect()))
        .collect()
}

#[test]
fn what_the_last_owner_drops_goes_and_what_another_owns_stays() {
    let one = applied(None, "one", &json!({"data": {"a": "1", "b": "1"}}), false).expect("applies");
    let two = applied(Some(&one), "two", &json!({"data": {"b": "1", "c": "2"}}), false)
        .expect("no conflict");
    let less = applied(Some(&two), "one", &json!({"data": {}}), false).expect("applies");
    assert_eq!(plain(&less), json!({"data": {"b": "1", "c": "2"}}));
    let none = applied(Some(&less), "two", &json!({}), false).expect("applies");
    // the empty map that the first one still applies is what is left
    assert_eq!(plain(&none), json!({"data": {}}));
    let gone = applied(Some(&none), "one", &json!({}), false).expect("applies");
    assert_eq!(plain(&gone), json!({}));
}

#[test]
fn a_changed_value_of_another_is_a_conflict_with_kubectls_words() {
    let one = applied(None, "one", &json!({"data": {"a": "1", "b": "1"}}), false).expect("applies");
    let failure =
        applied(Some(&one), "two", &json!({"data": {"a": "2"}}), false).expect_err("conflicts");
    assert_eq!(failure.code, 409);
    assert_eq!(failure.message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let failure = applied(Some(&one), "two", &json!({"data": {"a": "2", "b": "2"}}), false)
        .expect_err("conflicts");
    assert_eq!(
        failure.message,
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b"
    );
    let forced = applied(Some(&one), "two", &json!({"data": {"a": "2"}}), true).expect("forced");
    assert_eq!(
        owners(&forced),
        [
            ("one".to_owned(), vec![".data.b".to_owned()]),
            ("two".to_owned(), vec![".data.a".to_owned()]),
        ]
    );
}

#[test]
fn the_same_value_is_shared_without_a_conflict() {
    let one = applied(None, "one", &json!({"spec": {"n": 1}}), false).expect("applies");
    let both = applied(Some(&one), "two", &json!({"spec": {"n": 1}}), false).expect("shares");
    let left = applied(Some(&both), "one", &json!({}), false).expect("gives up");
    assert_eq!(plain(&left), json!({"spec": {"n": 1}}), "the other still owns it");
}

#[test]
fn items_merge_by_key_and_keep_their_order() {
    let one = json!({"list": [{"name": "a", "x": 1}, {"name": "b", "x": 1}]});
    let live = applied(None, "one", &one, false).expect("applies");
    let two = json!({"list": [{"name": "c"}, {"name": "b", "y": 2}]});
    let live = applied(Some(&live), "two", &two, false).expect("no conflict");
    assert_eq!(
        plain(&live),
        json!({"list": [{"name": "a", "x": 1}, {"name": "c"}, {"name": "b", "x": 1, "y": 2}]})
    );
    let less = applied(Some(&live), "one", &json!({"list": [{"name": "a", "x": 1}]}), false)
        .expect("applies");
    assert_eq!(
        plain(&less),
        json!({"list": [{"name": "a", "x": 1}, {"name": "c"}, {"name": "b", "y": 2}]}),
        "b stays, as two owns it, without the field that only one owned"
    );
}

#[test]
fn sets_are_owned_value_by_value_and_atomic_lists_as_one() {
    let one =
        applied(None, "one", &json!({"set": ["a", "b"], "atomic": ["x"]}), false).expect("applies");
    let two = applied(Some(&one), "two", &json!({"set": ["b", "c"]}), false).expect("no conflict");
    assert_eq!(plain(&two), json!({"set": ["a", "b", "c"], "atomic": ["x"]}));
    let less = applied(Some(&two), "one", &json!({"set": []}), false).expect("applies");
    assert_eq!(plain(&less), json!({"set": ["b", "c"]}));
    let failure =
        applied(Some(&one), "two", &json!({"atomic": ["x", "y"]}), false).expect_err("conflicts");
    assert!(failure.message.ends_with(".atomic"), "{}", failure.message);
}

#[test]
fn an_update_takes_what_it_changes() {
    let live =
        applied(None, "one", &json!({"data": {"a": "1", "b": "1"}}), false).expect("applies");
    let mut new = live.clone();
    new["data"]["a"] = json!("9");
    track_update(Some(&live), &mut new, schema().root(), &writer("upd", "t")).expect("tracks");
    assert_eq!(
        owners(&new),
        [
            ("upd".to_owned(), vec![".data.a".to_owned()]),
            ("one".to_owned(), vec![".data.b".to_owned()]),
        ]
    );
    let failure =
        applied(Some(&new), "one", &json!({"data": {"a": "1"}}), false).expect_err("conflicts");
    assert_eq!(
        failure.message,
        "Apply failed with 1 conflict: conflict with \"upd\" using v1: .data.a"
    );
}

#[test]
fn fields_v1_reads_what_it_writes() {
    let text = json!({"f:data": {".": {}, "f:a": {}}, "f:list": {"k:{\"name\":\"x\"}": {".": {}, "f:y": {}}},
                      "f:set": {"v:\"a\"": {}}});
    assert_eq!(Set::from_json(&text).to_json(), text);
}

/// Empty lists are left out: nobody owns one, as in Kubernetes.
fn documents() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec!["a", "b", "c"]);
    let data = prop::collection::btree_map(key.clone(), prop::sample::select(vec!["1", "2"]), 0..3);
    let set = prop::collection::btree_set(key.clone(), 1..3);
    let item = (prop::option::of(0..2), prop::option::of(0..2));
    let list = prop::collection::btree_map(key, item, 1..3);
    (prop::option::of(data), prop::option::of(set), prop::option::of(list), prop::option::of(0..2))
        .prop_map(|(data, set, list, n)| {
            let mut out = json!({});
            if let Some(data) = data {
                out["data"] = json!(data);
            }
            if let Some(set) = set {
                out["set"] = json!(set);
            }
            if let Some(list) = list {
                out["list"] = list
                    .into_iter()
                    .map(|(name, (x, y))| {
                        let mut item = json!({"name": name});
                        if let Some(x) = x {
                            item["x"] = json!(x);
                        }
                        if let Some(y) = y {
                            item["y"] = json!(y);
                        }
                        item
                    })
                    .collect();
            }
            if let Some(n) = n {
                out["spec"] = json!({"n": n, "deep": {"m": n}});
            }
            out
        })
}

/// Whether everything that `what` says stands in `object`.
fn holds(object: &Value, what: &Value) -> bool {
    match (object, what) {
        (Value::Object(o), Value::Object(w)) => {
            w.iter().all(|(k, v)| o.get(k).is_some_and(|inner| holds(inner, v)))
        }
        (Value::Array(o), Value::Array(w)) => {
            w.iter().all(|v| o.iter().any(|inner| holds(inner, v)))
        }
        _ => object == what,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn applying_twice_changes_nothing(a in documents(), b in documents()) {
        let live = applied(None, "one", &a, true).expect("applies");
        let live = applied(Some(&live), "two", &b, true).expect("applies");
        let again = applied(Some(&live), "two", &b, true).expect("applies");
        prop_assert_eq!(again, live);
    }

    #[test]
    fn what_is_applied_is_there(a in documents(), b in documents()) {
        let live = applied(None, "one", &a, true).expect("applies");
        let live = applied(Some(&live), "two", &b, true).expect("applies");
        prop_assert!(holds(&live, &b), "{} lacks {}", live, b);
    }

    #[test]
    fn a_single_applier_gets_exactly_what_it_applies(a in documents(), b in documents()) {
        let live = applied(None, "one", &a, false).expect("applies");
        let live = applied(Some(&live), "one", &b, false).expect("applies");
        prop_assert_eq!(plain(&live), b);
    }

    #[test]
    fn who_gives_everything_up_leaves_the_others_as_if_never_there(a in documents(), b in documents()) {
        let live = applied(None, "one", &a, true).expect("applies");
        let both = applied(Some(&live), "two", &b, true).expect("applies");
        let left = applied(Some(&both), "one", &json!({}), true).expect("applies");
        prop_assert!(holds(&left, &b));
        prop_assert!(holds(&both, &plain(&left)), "nothing new comes of giving up");
        let none = applied(Some(&left), "two", &json!({}), true).expect("applies");
        prop_assert_eq!(plain(&none), json!({}));
    }

    #[test]
    fn without_force_nothing_of_another_changes(a in documents(), b in documents()) {
        let live = applied(None, "one", &a, false).expect("applies");
        if let Ok(both) = applied(Some(&live), "two", &b, false) {
            prop_assert!(holds(&both, &a), "{} lacks {}", both, a);
        }
    }

    #[test]
    fn a_set_of_fields_survives_its_text(a in documents()) {
        let set = walk::field_set(&a, Some(schema().root())).expect("a set");
        prop_assert_eq!(Set::from_json(&set.to_json()), set);
    }
}
