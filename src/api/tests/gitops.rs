//! The health rules of the Argo CD and Flux examples name every kind that people keep in Git.

use std::{collections::BTreeSet, path::Path};

use serde::Deserialize as _;
use serde_json::Value;

fn read(path: &str) -> Vec<Value> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(tree.join(path)).expect("readable");
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents.map(|document| Value::deserialize(document).expect("YAML")).collect()
}

/// Our kinds, as their definitions have them.
fn kinds() -> BTreeSet<String> {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let files = std::fs::read_dir(crds).expect("there");
    let files = files.map(|file| file.expect("readable").path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let kinds: BTreeSet<String> = files
        .flat_map(|path| read(&format!("crds/{}", path.file_name().expect("a name").display())))
        .filter_map(|crd| crd["spec"]["names"]["kind"].as_str().map(str::to_owned))
        .collect();
    assert!(kinds.len() > 8, "{kinds:?}");
    kinds
}

#[test]
fn flux_has_a_health_rule_for_each_kind_that_people_keep_in_git() {
    let flux = read("manifests/gitops/flux/palisade.yaml");
    let rules =
        flux.iter().flat_map(|o| o["spec"]["healthCheckExprs"].as_array().into_iter().flatten());
    let mut named = BTreeSet::new();
    for rule in rules {
        let kind = rule["kind"].as_str().expect("a kind").to_owned();
        for key in ["current", "failed"] {
            let rule = rule[key].as_str().expect("a rule");
            assert!(rule.starts_with("status.conditions.exists(c, "), "{kind}: {rule}");
            let brackets = |b: char| rule.matches(b).count();
            assert_eq!(brackets('('), brackets(')'), "{kind}: {rule}");
        }
        assert!(named.insert(kind.clone()), "{kind} has two");
    }
    // a request is no state to be kept, and a record is not applied by anybody
    let mut wanted = kinds();
    wanted.retain(|kind| !kind.starts_with("Fencing"));
    assert_eq!(named, wanted);
}

#[test]
fn argo_cd_has_one_script_for_each_kind_that_is_not_excluded() {
    let argo = read("manifests/gitops/argocd/argocd-cm.yaml").remove(0);
    let data = argo["data"].as_object().expect("entries");
    let named: BTreeSet<String> = data
        .keys()
        .filter_map(|key| key.strip_prefix("resource.customizations.health.palisade.dev_"))
        .map(str::to_owned)
        .collect();
    let mut wanted = kinds();
    assert!(wanted.remove("FencingOperation"));
    assert_eq!(named, wanted);
}
