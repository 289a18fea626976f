//! Objects from minimal YAML, through the same check that a server makes.

use api::check::check;
use compile::Objects;
use serde::Deserialize;
use serde_json::Value;

/// Reads documents into objects, with the defaults that a server fills in. Kinds that are not ours are left out.
pub(crate) fn objects(yaml: &str) -> Objects {
    let mut out = Objects::default();
    for (i, document) in serde_yaml::Deserializer::from_str(yaml).enumerate() {
        let mut value = Value::deserialize(document).expect("YAML");
        if value["apiVersion"] != "palisade.dev/v1alpha1" {
            continue;
        }
        assert_eq!(check(&mut value, None), [], "document {i}: {value}");
        let n = u32::try_from(i).expect("few");
        value["metadata"]["uid"] = format!("uid-{i}").into();
        value["metadata"]["generation"] = 1.into();
        value["metadata"]["creationTimestamp"] = format!("2026-01-01T00:{n:02}:00Z").into();
        add(&mut out, value);
    }
    out
}

fn add(out: &mut Objects, value: Value) {
    let kind = value["kind"].as_str().expect("a kind").to_owned();
    fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("what the check takes can be read")
    }
    match kind.as_str() {
        "FenceDevice" => out.devices.push(typed(value)),
        "HACluster" => out.cluster = Some(typed(value)),
        "HANode" => out.nodes.push(typed(value)),
        "PlacementConstraint" => out.constraints.push(typed(value)),
        "ResourcePlacement" => out.placements.push(typed(value)),
        "LoadBalancer" => out.balancers.push(typed(value)),
        "VirtualIP" => out.addresses.push(typed(value)),
        other => panic!("{other} is not compiled"),
    }
}

/// Three members, three devices, an address and a process that follows it; addresses expanded.
pub(crate) fn main() -> Objects {
    expanded(include_str!("main.yaml"))
}

/// The quickstart's objects, addresses expanded.
pub(crate) fn quickstart() -> Objects {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/quickstart");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the quickstart is there")
        .map(|e| e.expect("readable").path())
        .collect();
    files.sort();
    let texts: Vec<String> =
        files.iter().map(|f| std::fs::read_to_string(f).expect("UTF-8")).collect();
    expanded(&texts.join("\n---\n"))
}

fn expanded(yaml: &str) -> Objects {
    let mut objects = objects(yaml);
    compile::expand::services_in(&mut objects);
    objects
}
