//! The first objects of a box: the quickstart's manifests with the addresses of this machine's loopback, and their Secrets.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::client::connect;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::plan::{BMC_USER, Plan, RING_PORT};

/// As the manifests say.
pub(super) const NAMESPACE: &str = "palisade";
pub(super) const CLUSTER: &str = "quickstart";
/// The network of the manifests; a name only, because there is no interface.
const INTERFACE: &str = "stand-in";
const MANAGER: &str = "palisade-dev";

const CLUSTER_YAML: &str = include_str!("../../../manifests/quickstart/10-cluster.yaml");
const DEVICES_YAML: &str = include_str!("../../../manifests/quickstart/20-fence-devices.yaml");
const SERVICE_YAML: &str = include_str!("../../../manifests/quickstart/30-service.yaml");

/// Objects that a person can apply, by file.
const EXAMPLES: [(&str, &str); 1] =
    [("load-balancer.yaml", include_str!("../../../manifests/dev/load-balancer.yaml"))];
/// In the examples, in place of the network of this box.
const EXAMPLE_NETWORK: &str = "127.77.0.";

/// Examples with the addresses of this box, by file.
pub(super) fn examples(plan: &Plan) -> impl Iterator<Item = (&'static str, String)> {
    let network = format!("127.77.{}.", plan.subnet);
    EXAMPLES.into_iter().map(move |(file, text)| (file, text.replace(EXAMPLE_NETWORK, &network)))
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    let read = serde_yaml::Deserializer::from_str(yaml).map(Value::deserialize);
    read.collect::<Result<_, _>>().context("a manifest of the quickstart")
}

/// For one whole operation, where a BMC needs `power_off` to cut the power. As long is waited for a command of which nobody
/// knows, because whoever sent it died with the box (CLUSTER.md section 6, *Closing*): so no longer than these BMCs need.
fn fence_timeout_ms(power_off: Duration) -> u128 {
    /// The least that a FenceDevice takes.
    const LEAST: Duration = Duration::from_secs(5);
    /// Logging in, commanding, reading back, on a laptop that compiles something meanwhile.
    const REST: Duration = Duration::from_secs(3);
    (power_off * 2 + REST).max(LEAST).as_millis()
}

/// In the order in which they are applied; BMCs of this box need `power_off` to cut the power.
pub(super) fn first(plan: &Plan, power_off: Duration) -> Result<Vec<Value>> {
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        secret("ring-key", &[("key", &plan.ring_key)]),
    ];
    for node in &plan.nodes {
        let entries = [("username", BMC_USER), ("password", &node.bmc_password)];
        all.push(secret(&format!("bmc-{}", node.name), &entries));
    }
    for mut cluster in documents(CLUSTER_YAML)? {
        let members = plan.nodes.iter().map(|node| {
            json!({"name": node.name.as_str(), "nodeId": node.id, "links": [plan.link(node)]})
        });
        cluster["spec"]["members"] = members.collect();
        cluster["spec"]["networks"] = json!([{"name": "public", "interface": INTERFACE}]);
        cluster["spec"]["totem"] = json!({"port": RING_PORT});
        // Somebody plays: three power-offs in ten minutes would be enough for `FencingSuspended`.
        cluster["spec"]["fencing"] = json!({"budget": {"max": 20, "window": "1m"}});
        all.push(cluster);
    }
    let device = documents(DEVICES_YAML)?;
    let device = device.first().context("the quickstart has a fence device")?;
    for node in &plan.nodes {
        let mut device = device.clone();
        let name = format!("bmc-{}", node.name);
        device["metadata"]["name"] = json!(name);
        device["spec"]["timeout"] = json!(format!("{}ms", fence_timeout_ms(power_off)));
        let bmc = plan.bmc(node);
        let (ip, port) = (bmc.ip(), bmc.port());
        match &node.redfish {
            None => device["spec"]["ipmi"] = json!({"address": ip, "port": port}),
            Some(kept) => {
                if let Some(spec) = device["spec"].as_object_mut() {
                    spec.remove("ipmi");
                }
                let pin = kept.certificate()?.pin();
                device["spec"]["driver"] = json!("Redfish");
                device["spec"]["redfish"] = json!({
                    "address": ip, "port": port, "systemId": node.name.as_str(), "certificateSha256": pin,
                });
            }
        }
        device["spec"]["credentialsRef"]["name"] = json!(name);
        device["spec"]["targets"] = json!([node.name.as_str()]);
        all.push(device);
    }
    for mut object in documents(SERVICE_YAML)? {
        if object["kind"] == "VirtualIP" {
            object["spec"]["address"] = json!(plan.vip());
        }
        all.push(object);
    }
    Ok(all)
}

fn secret(name: &str, entries: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> =
        entries.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": data,
    })
}

/// One after the other, by server-side apply.
pub(super) async fn apply(kubeconfig: &std::path::Path, objects: &[Value]) -> Result<()> {
    let client = connect(Some(kubeconfig)).await?;
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        apply_one(&client, object).await.with_context(|| format!("{kind} {name} was not made"))?;
    }
    Ok(())
}

async fn apply_one(client: &Client, object: &Value) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let plural = match kind.as_str() {
        "CustomResourceDefinition" => "customresourcedefinitions",
        "FenceDevice" => "fencedevices",
        "HACluster" => "haclusters",
        "LoadBalancer" => "loadbalancers",
        "Namespace" => "namespaces",
        "ResourcePlacement" => "resourceplacements",
        "Secret" => "secrets",
        "VirtualIP" => "virtualips",
        other => bail!("the box makes no {other}"),
    };
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = text(&object["metadata"]["name"]);
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(object)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickstart_becomes_one_for_loopback() {
        let plan = {
            let claim = super::super::plan::Claim::any().expect("free");
            super::super::plan::new(&claim, 5, 1).expect("a plan")
        };
        let all = first(&plan, Duration::from_millis(300)).expect("objects");
        let of = |kind: &str| all.iter().filter(|o| o["kind"] == kind).collect::<Vec<_>>();
        assert_eq!((of("Secret").len(), of("FenceDevice").len()), (6, 5));
        let cluster = of("HACluster")[0];
        assert_eq!(cluster["metadata"]["name"], CLUSTER);
        assert_eq!(cluster["spec"]["members"].as_array().map(Vec::len), Some(5));
        let drivers: Vec<_> =
            of("FenceDevice").iter().map(|o| o["spec"]["driver"].clone()).collect();
        assert_eq!(drivers, ["Ipmi", "Ipmi", "Ipmi", "Ipmi", "Redfish"]);
        for device in of("FenceDevice") {
            assert_eq!(api::check::faults(device), [], "{device}");
            assert_eq!(device["spec"]["timeout"], "5000ms");
        }
        // the slowest that a box takes
        let slow = first(&plan, Duration::from_secs(60)).expect("objects");
        for device in slow.iter().filter(|o| o["kind"] == "FenceDevice") {
            assert_eq!(api::check::faults(device), [], "{device}");
        }
        let outside = all.iter().filter(|o| o.to_string().contains("\"10.9")).count();
        assert_eq!(outside, 0, "an address of the lab was left in");
        for (file, text) in examples(&plan) {
            for object in documents(&text).expect(file) {
                assert_eq!(api::check::faults(&object), [], "{file}: {object}");
            }
        }
        let mut names: Vec<_> =
            all.iter().map(|o| format!("{}/{}", o["kind"], o["metadata"]["name"])).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }
}
