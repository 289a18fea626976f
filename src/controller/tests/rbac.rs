//! The roles of the chart, as `manifests/install` has them: small, and what is separate stays separate (SAFETY.md 4.2).

use serde::Deserialize;
use serde_json::Value;

fn roles() -> Vec<(String, Vec<Value>)> {
    let text = include_str!("../../../manifests/install/palisade.yaml");
    serde_yaml::Deserializer::from_str(text)
        .map(|d| Value::deserialize(d).expect("YAML"))
        .filter(|v| v["kind"] == "Role" || v["kind"] == "ClusterRole")
        .map(|v| {
            let name = v["metadata"]["name"].as_str().expect("named").to_owned();
            (name, v["rules"].as_array().expect("rules").clone())
        })
        .collect()
}

fn has(rule: &Value, key: &str, value: &str) -> bool {
    rule[key].as_array().is_some_and(|list| list.iter().any(|v| v == value))
}

#[test]
fn no_role_has_a_wildcard_or_a_way_to_become_another() {
    for (role, rules) in roles() {
        for rule in rules {
            for key in ["apiGroups", "resources", "verbs"] {
                assert!(!has(&rule, key, "*"), "{role}: {rule}");
            }
            for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
                assert!(!has(&rule, "verbs", verb), "{role}: {rule}");
            }
            for resource in ["pods/exec", "nodes/proxy", "serviceaccounts/token", "namespaces"] {
                assert!(!has(&rule, "resources", resource), "{role}: {rule}");
            }
        }
    }
}

/// Names of BMC Secrets come from the values; by default there are none, and the fencer may read nothing.
#[test]
fn secrets_are_read_by_name_only_and_the_ring_key_by_one_account() {
    let mut readers = Vec::new();
    for (role, rules) in roles() {
        for rule in rules.iter().filter(|r| has(r, "resources", "secrets")) {
            assert_eq!(rule["verbs"], serde_json::json!(["get"]), "{role}");
            readers.push((role.clone(), rule["resourceNames"].clone()));
        }
    }
    assert_eq!(readers, [("palisade-agent".to_owned(), serde_json::json!(["ring-key"]))]);
    let (_, fencer) = roles().into_iter().find(|(n, _)| n == "palisade-fencer").expect("there");
    assert!(fencer.is_empty(), "{fencer:?}");
}

#[test]
fn asking_and_confirming_are_two_rights_and_no_machine_has_either() {
    let may = |resource: &str| -> Vec<String> {
        let creates = |r: &Value| has(r, "resources", resource) && has(r, "verbs", "create");
        roles().into_iter().filter(|(_, rules)| rules.iter().any(creates)).map(|(n, _)| n).collect()
    };
    assert_eq!(may("fencingrequests"), ["palisade-may-fence"]);
    assert_eq!(may("fencingconfirmations"), ["palisade-may-confirm-off"]);
}

/// SAFETY.md#S26: what runs is never stopped by a controller that deletes.
#[test]
fn the_controller_cannot_delete_a_placement_an_address_or_a_cluster() {
    let (_, rules) = roles().into_iter().find(|(n, _)| n == "palisade-controller").expect("there");
    for rule in rules.iter().filter(|r| has(r, "verbs", "delete")) {
        for resource in ["resourceplacements", "virtualips", "haclusters", "fencedevices"] {
            assert!(!has(rule, "resources", resource), "{rule}");
        }
    }
}
