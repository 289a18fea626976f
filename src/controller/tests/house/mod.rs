//! An API server for tests: devapi in this process, or a real one whose kubeconfig `PALISADE_SPECS_KUBECONFIG` names
//! (the definitions of `crds/` are applied there); and the controller's own loop, turned by hand.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{path::Path, time::Duration};

use api::client::{Picture, Store, Which};
use axum::http::{Request, header};
use controller::{Metrics, apply::Writer, dereference, desired, lease};
use devapi::{Options, Server};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Client, client::Body};
use serde::Deserialize as _;
use serde_json::{Value, json};

pub(crate) const API: &str = "palisade.dev/v1alpha1";
/// On a machine that compiles something else meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What a server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    pub(crate) fn taken(&self) -> bool {
        self.code < 300
    }

    pub(crate) fn message(&self) -> String {
        self.body["message"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) real: bool,
    plurals: Vec<(String, String)>,
    server: Option<(Server, tempfile::TempDir)>,
}

impl Api {
    pub(crate) async fn start() -> Self {
        match std::env::var("PALISADE_SPECS_KUBECONFIG") {
            Ok(file) => Self::at(Path::new(&file), None, true).await,
            Err(_) => {
                let dir = tempfile::tempdir().expect("a folder");
                let seed = api::crds().iter().map(|c| json!(c)).collect();
                let options = Options { seed, ..Options::new(dir.path()) };
                let server = Server::start(options).await.expect("devapi starts");
                let file = server.kubeconfig();
                Self::at(&file, Some((server, dir)), false).await
            }
        }
    }

    async fn at(file: &Path, server: Option<(Server, tempfile::TempDir)>, real: bool) -> Self {
        let client = api::client::connect(Some(file)).await.expect("a client");
        let names = |c: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
            (c.spec.names.kind, c.spec.names.plural)
        };
        Self { client, real, plurals: api::crds().into_iter().map(names).collect(), server }
    }

    pub(crate) fn path(&self, kind: &str, namespace: &str, name: &str) -> String {
        match kind {
            "Namespace" => format!("/api/v1/namespaces/{name}"),
            "Node" => format!("/api/v1/nodes/{name}"),
            _ => {
                let plural = self.plurals.iter().find(|(k, _)| k == kind);
                let plural = &plural.unwrap_or_else(|| panic!("{kind}")).1;
                let path = format!("/apis/{API}/namespaces/{namespace}/{plural}/{name}");
                path.trim_end_matches('/').to_owned()
            }
        }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, media: &str, body: &Value) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, media)
            .header(header::ACCEPT, "application/json")
            .body(Body::from(bytes))
            .expect("a request");
        let response = self.client.send(request).await.expect("an answer");
        let code = response.status().as_u16();
        let all = response.headers().get_all(header::WARNING);
        let warnings = all.iter().map(|w| w.to_str().unwrap_or_default().to_owned()).collect();
        let bytes = response.into_body().collect_bytes().await.expect("a body");
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { code, body, warnings }
    }

    pub(crate) async fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        self.ask("GET", &self.path(kind, namespace, name), "application/json", &Value::Null)
            .await
            .body
    }

    /// As kubectl creates and replaces: unknown fields are refused.
    pub(crate) async fn create(&self, namespace: &str, object: &Value, dry: bool) -> Answer {
        let kind = object["kind"].as_str().unwrap_or_default();
        let dry = if dry { "&dryRun=All" } else { "" };
        let path = self.path(kind, namespace, "");
        let path = format!("{path}?fieldValidation=Strict{dry}");
        self.ask("POST", &path, "application/json", object).await
    }

    pub(crate) async fn replace(&self, namespace: &str, object: &Value) -> Answer {
        let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default();
        let path = self.path(text("/kind"), namespace, text("/metadata/name"));
        let path = format!("{path}?fieldValidation=Strict");
        self.ask("PUT", &path, "application/json", object).await
    }

    /// As a person's server-side apply.
    pub(crate) async fn apply(&self, namespace: &str, object: &Value) -> Answer {
        let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default();
        let path = self.path(text("/kind"), namespace, text("/metadata/name"));
        let path = format!("{path}?fieldManager=person&force=true&fieldValidation=Strict");
        self.ask("PATCH", &path, "application/apply-patch+yaml", object).await
    }

    pub(crate) async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Answer {
        self.ask("DELETE", &self.path(kind, namespace, name), "application/json", &Value::Null)
            .await
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let made = self.ask("POST", "/api/v1/namespaces", "application/json", &object).await;
        assert!(made.taken() || made.code == 409, "{made:?}");
    }

    pub(crate) async fn stop(self) {
        if let Some((server, dir)) = self.server {
            server.stop().await.expect("stops");
            drop(dir);
        }
    }

    /// kubeconfig of the devapi.
    pub(crate) fn kubeconfig(&self) -> Option<std::path::PathBuf> {
        self.server.as_ref().map(|(s, _)| s.kubeconfig())
    }
}

/// One replica: the steps of `controller::run`, with a shorter quiet moment.
pub(crate) struct Replica {
    store: Store,
    writer: Writer,
    leader: lease::Elected,
    quiet: Duration,
}

impl Replica {
    pub(crate) fn start(client: &Client, namespace: &str, identity: &str, quiet: Duration) -> Self {
        let times = lease::Times::default();
        let writer = Writer::new(client.clone(), namespace, identity, Metrics::new());
        let leader =
            lease::Elected::start(client.clone(), namespace.into(), identity.into(), times);
        let store = Store::start(client, namespace, Which::Intent);
        Self { store, writer, leader, quiet }
    }

    /// One turn of the loop; whether there was nothing to write.
    async fn turn(&mut self) -> bool {
        let _ = tokio::time::timeout(self.quiet * 5, self.store.settled(self.quiet)).await;
        if !self.store.listed() || !self.leader.is_held() {
            return false;
        }
        let picture = self.store.picture();
        let now = Time(Timestamp::now());
        let actions: Vec<_> = dereference::clusters(&picture)
            .into_iter()
            .flat_map(|(name, objects)| desired::actions(&name, &objects, &picture, &now))
            .collect();
        if !actions.is_empty() {
            let _ = self.writer.carry_out(&actions, &self.leader).await;
        }
        actions.is_empty()
    }

    /// Turns until the picture is as wanted and nothing is to be written; false: it did not come to that.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Picture) -> bool) -> bool {
        let began = std::time::Instant::now();
        while began.elapsed() < WAIT_MAX {
            if self.turn().await && wanted(&self.store.picture()) {
                return true;
            }
        }
        false
    }

    /// Turns for a while.
    pub(crate) async fn turn_for(&mut self, time: Duration) {
        let began = std::time::Instant::now();
        while began.elapsed() < time {
            self.turn().await;
        }
    }

    pub(crate) fn picture(&self) -> Picture {
        self.store.picture()
    }
}

/// The quickstart's objects of ours.
pub(crate) fn quickstart() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/quickstart");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("there").map(|e| e.expect("readable").path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).expect("UTF-8");
        all.extend(documents(&text));
    }
    all
}

/// Our kinds among the documents, without their namespace.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|d| Value::deserialize(d).expect("YAML"))
        .filter(|v| v["apiVersion"] == API)
        .map(|mut v| {
            v["metadata"].as_object_mut().expect("metadata").remove("namespace");
            v
        })
        .collect()
}

/// `object` with values at JSON pointers; null removes.
pub(crate) fn spoil(good: &Value, set: &[(String, Value)]) -> Value {
    let mut bad = good.clone();
    for (pointer, value) in set {
        let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
        let mut at = &mut bad;
        for step in parent.split('/').skip(1) {
            at = match at {
                Value::Array(items) => &mut items[step.parse::<usize>().expect("an index")],
                other => &mut other[step],
            };
            if at.is_null() {
                *at = json!({});
            }
        }
        match at {
            Value::Array(items) => {
                let i: usize = last.parse().expect("an index");
                if i == items.len() { items.push(value.clone()) } else { items[i] = value.clone() }
            }
            Value::Object(fields) if value.is_null() => drop(fields.remove(last)),
            other => other[last] = value.clone(),
        }
    }
    bad
}

/// `KIND/NAME` of an object.
pub(crate) fn key_of(object: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Kind and name.
pub(crate) fn key(text: &str) -> (&str, &str) {
    text.split_once('/').expect("KIND/NAME")
}

/// The status of an object in a picture.
pub(crate) fn status_of(picture: &Picture, key: (&str, &str)) -> Value {
    let (kind, name) = key;
    match kind {
        "FenceDevice" => picture.devices.get(name).map(|o| json!(o.status)),
        "HACluster" => picture.clusters.get(name).map(|o| json!(o.status)),
        "HANode" => picture.nodes.get(name).map(|o| json!(o.status)),
        "PlacementConstraint" => picture.constraints.get(name).map(|o| json!(o.status)),
        "ResourcePlacement" => picture.placements.get(name).map(|o| json!(o.status)),
        "VirtualIP" => picture.addresses.get(name).map(|o| json!(o.status)),
        other => panic!("{other} is not judged"),
    }
    .unwrap_or_default()
}
