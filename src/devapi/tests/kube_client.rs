//! kube-rs against devapi: what our controller and agents do.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use devapi::{Options, Server};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Error, ResourceExt};
use serde_json::json;

struct World {
    server: Server,
    client: Client,
    _dir: tempfile::TempDir,
}

async fn client(kubeconfig: &Path) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options);
    Client::try_from(config.await.expect("a configuration")).expect("a client")
}

fn options(dir: &Path) -> Options {
    let seed = api::crds().iter().map(|c| serde_json::to_value(c).expect("JSON")).collect();
    Options { seed, ..Options::new(dir) }
}

async fn world_with(window: usize) -> World {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(Options { window, ..options(dir.path()) }).await.expect("starts");
    let client = client(&server.kubeconfig()).await;
    World { server, client, _dir: dir }
}

async fn world() -> World {
    world_with(1000).await
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::core::ObjectMeta { name: Some(name.into()), ..Default::default() },
        data: Some(BTreeMap::from([("k".into(), value.into())])),
        ..Default::default()
    }
}

fn code(error: &Error) -> u16 {
    match error {
        Error::Api(status) => status.code,
        other => panic!("no answer of the API: {other}"),
    }
}

#[tokio::test]
async fn a_watch_tells_each_change_once_and_in_order() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    maps.create(&PostParams::default(), &config_map("before", "0")).await.expect("creates");
    let version = maps.list(&ListParams::default()).await.expect("lists").metadata.resource_version;
    let params = WatchParams::default().timeout(20);
    let stream = maps.watch(&params, &version.expect("a version")).await.expect("watches");
    let mut stream = stream.boxed();
    for i in 0..20 {
        let name = format!("m{}", i % 2);
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                            "data": {"k": i.to_string()}});
        maps.patch(&name, &PatchParams::apply("t").force(), &Patch::Apply(object))
            .await
            .expect("applies");
    }
    maps.delete("m0", &DeleteParams::default()).await.expect("deletes");
    let mut seen = Vec::new();
    while seen.len() < 21 {
        let event = stream.try_next().await.expect("no error").expect("goes on");
        let (kind, object) = match event {
            WatchEvent::Added(o) => ("added", o),
            WatchEvent::Modified(o) => ("modified", o),
            WatchEvent::Deleted(o) => ("deleted", o),
            other => panic!("unexpected {other:?}"),
        };
        seen.push((kind, object.name_any(), object.data.expect("data")["k"].clone()));
    }
    let expected: Vec<_> = (0..20)
        .map(|i| (if i < 2 { "added" } else { "modified" }, format!("m{}", i % 2), i.to_string()))
        .chain([("deleted", "m0".to_owned(), "18".to_owned())])
        .collect();
    assert_eq!(seen, expected);
    world.server.stop().await.expect("stops");
}

#[tokio::test]
async fn a_watch_from_before_the_window_gets_410_and_the_watcher_lists_again() {
    let world = world_with(8).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    let made = maps.create(&PostParams::default(), &config_map("a", "0")).await.expect("creates");
    for i in 0..20 {
        let patch = json!({"data": {"k": i.to_string()}});
        maps.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await.expect("patches");
    }
    let old = made.metadata.resource_version.expect("a version");
    let mut stream = maps.watch(&WatchParams::default(), &old).await.expect("watches").boxed();
    match stream.try_next().await.expect("an event").expect("goes on") {
        WatchEvent::Error(status) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"))
        }
        other => panic!("unexpected {other:?}"),
    }
    let mut objects = watcher(maps, watcher::Config::default()).applied_objects().boxed();
    let first = objects.try_next().await.expect("lists").expect("goes on");
    assert_eq!(first.data.expect("data")["k"], "19");
    world.server.stop().await.expect("stops");
}

#[tokio::test]
async fn the_streaming_list_of_kube_works() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    for name in ["a", "b"] {
        maps.create(&PostParams::default(), &config_map(name, "0")).await.expect("creates");
    }
    let mut events = watcher(maps.clone(), watcher::Config::default().streaming_lists()).boxed();
    let mut names = Vec::new();
    loop {
        match events.try_next().await.expect("no error").expect("goes on") {
            watcher::Event::InitApply(o) => names.push(o.name_any()),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(names, ["a", "b"]);
    maps.create(&PostParams::default(), &config_map("c", "0")).await.expect("creates");
    match events.try_next().await.expect("no error").expect("goes on") {
        watcher::Event::Apply(o) => assert_eq!(o.name_any(), "c"),
        other => panic!("unexpected {other:?}"),
    }
    world.server.stop().await.expect("stops");
}

#[tokio::test]
async fn our_own_kinds_are_applied_by_two_managers_and_checked() {
    let world = world().await;
    let resource = kube::api::ApiResource::erase::<api::VirtualIP>(&());
    let vips: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), "default", &resource);
    let vip = |address: &str| {
        json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "VirtualIP", "metadata": {"name": "public"},
               "spec": {"clusterRef": {"name": "main"}, "address": address, "prefix": 24, "network": "public"}})
    };
    let person = PatchParams::apply("person");
    let made =
        vips.patch("public", &person, &Patch::Apply(vip("10.0.0.9"))).await.expect("applies");
    assert_eq!(made.metadata.generation, Some(1));
    let bad = vips.patch("public", &person, &Patch::Apply(vip("10.0.0.9/24"))).await;
    let error = bad.expect_err("refused");
    assert_eq!(code(&error), 422, "{error}");
    assert!(error.to_string().contains("spec.address"), "{error}");
    let mut moved = vip("10.0.0.10");
    moved["spec"]["clusterRef"]["name"] = json!("other");
    let error = vips.patch("public", &person, &Patch::Apply(moved)).await.expect_err("immutable");
    assert_eq!(code(&error), 422, "{error}");
    let controller = PatchParams::apply("controller");
    let error = vips
        .patch("public", &controller, &Patch::Apply(vip("10.0.0.11")))
        .await
        .expect_err("two writers");
    assert_eq!(code(&error), 409, "{error}");
    assert!(error.to_string().contains(".spec.address"), "{error}");
    let status = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "VirtualIP",
        "metadata": {"name": "public"}, "status": {"observedGeneration": 1}});
    let after = vips
        .patch_status("public", &controller, &Patch::Apply(status))
        .await
        .expect("status has its own door");
    assert_eq!(after.data["status"]["observedGeneration"], 1);
    assert_eq!(after.metadata.generation, Some(1), "a status is no intent");
    assert_eq!(after.data["spec"]["address"], "10.0.0.9");
    let managers: Vec<String> = after
        .managed_fields()
        .iter()
        .map(|m| {
            format!(
                "{} {}",
                m.manager.clone().unwrap_or_default(),
                m.subresource.clone().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(managers.len(), 2, "{managers:?}");
    world.server.stop().await.expect("stops");
}

#[tokio::test]
async fn of_two_leaders_one_gets_the_lease() {
    let world = world().await;
    let leases: Api<Lease> = Api::default_namespaced(world.client.clone());
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lead"},
        "spec": {"holderIdentity": "", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.123456Z"}});
    let lease: Lease = serde_json::from_value(lease).expect("a lease");
    let made = leases.create(&PostParams::default(), &lease).await.expect("creates");
    let tries = (0..8).map(|i| {
        let (leases, mut mine) = (leases.clone(), made.clone());
        async move {
            mine.spec.as_mut().expect("a spec").holder_identity = Some(format!("c{i}"));
            leases.replace("lead", &PostParams::default(), &mine).await
        }
    });
    let results = futures::future::join_all(tries).await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.into_iter().all(|r| code(&r.expect_err("lost")) == 409));
    world.server.stop().await.expect("stops");
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(options(dir.path())).await.expect("starts");
    let first = client(&server.kubeconfig()).await;
    let secrets: Api<Secret> = Api::default_namespaced(first.clone());
    let secret: Secret = serde_json::from_value(
        json!({"metadata": {"name": "ring-key"}, "stringData": {"key": "k"}}),
    )
    .expect("a secret");
    let made = secrets.create(&PostParams::default(), &secret).await.expect("creates");
    let address = server.address();
    server.stop().await.expect("stops");
    drop(first);
    let again = Options { listen: address, ..options(dir.path()) };
    // the engine is let go by the last open connection
    let mut tries = 0;
    let server = loop {
        match Server::start(again.clone()).await {
            Ok(server) => break server,
            Err(error) if tries < 50 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert!(tries < 50, "{error}");
            }
            Err(error) => panic!("{error}"),
        }
    };
    let secrets: Api<Secret> = Api::default_namespaced(client(&server.kubeconfig()).await);
    let found = secrets.get("ring-key").await.expect("is there");
    assert_eq!(found, made, "with its uid and its version");
    server.stop().await.expect("stops");
}

#[tokio::test]
async fn a_stranger_gets_nothing() {
    let world = world().await;
    let mut config = Kubeconfig::read_from(world.server.kubeconfig()).expect("a kubeconfig");
    let user = config.auth_infos[0].auth_info.as_mut().expect("a user");
    user.token = Some("wrong".to_owned().into());
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let stranger = Client::try_from(config.expect("a configuration")).expect("a client");
    let secrets: Api<Secret> = Api::default_namespaced(stranger);
    let error = secrets.list(&ListParams::default()).await.expect_err("unauthorized");
    assert_eq!(code(&error), 401);
    let outside = Options {
        listen: "0.0.0.0:0".parse().expect("an address"),
        ..options(Path::new("/nowhere"))
    };
    let error = Server::start(outside).await.expect_err("loopback only").to_string();
    assert!(error.contains("loopback only"), "{error}");
    world.server.stop().await.expect("stops");
}

#[tokio::test]
async fn events_of_the_recorder_are_seen_by_kubectl_get_events() {
    use kube::runtime::events::{Event as News, EventType, Recorder, Reporter};
    let world = world().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    let made = maps.create(&PostParams::default(), &config_map("a", "0")).await.expect("creates");
    let reporter = Reporter { controller: "palisade".into(), instance: None };
    let recorder = Recorder::new(world.client.clone(), reporter);
    let news = News {
        type_: EventType::Warning,
        reason: "Fenced".into(),
        note: Some("ctl-2 is off".into()),
        action: "Fence".into(),
        secondary: None,
    };
    let mut about = kube::Resource::object_ref(&made, &());
    about.namespace = Some("default".into());
    recorder.publish(&news, &about).await.expect("publishes");
    let events: Api<Event> = Api::default_namespaced(world.client.clone());
    let found =
        events.list(&ListParams::default().fields("involvedObject.name=a")).await.expect("lists");
    assert_eq!(found.items[0].message.as_deref(), Some("ctl-2 is off"));
    assert_eq!(found.items[0].reason.as_deref(), Some("Fenced"));
    world.server.stop().await.expect("stops");
}
