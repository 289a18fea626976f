//! Each behaviour of the API, asked of devapi and compared with what a real API server answered.
//!
//! The answers of a real server stand in `conformance/kubernetes.json`. With `PALISADE_REAL_API=FILE` the
//! same questions go to that server now and its answers are compared with the recorded ones; with
//! `DEVAPI_CONFORMANCE_RECORD=1` beside it they replace them. The server needs its controller manager (garbage
//! collection, namespaces); the lab's kubebox has all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::http::{Request, header};
use devapi::{Options, Server};
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Map, Value, json};

mod page;

const WAIT_MAX: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "devapi-conformance";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn read_yaml(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).expect(name);
    serde_yaml::from_str(&text).expect(name)
}

async fn client(kubeconfig: &Path) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options);
    let mut config = config.await.expect("a configuration");
    // a 504 is an answer here
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

/// One step's request with the variables of earlier answers in it.
struct Asked {
    method: String,
    path: String,
    media: String,
    accept: String,
    /// Who is impersonated.
    who: Value,
    body: Vec<u8>,
}

struct Answered {
    code: u16,
    warnings: Vec<String>,
    body: Value,
}

struct Run {
    client: Client,
    variables: BTreeMap<String, String>,
    widgets: Value,
}

impl Run {
    fn fill(&self, text: &str) -> String {
        let mut text = text.replace("NS", NAMESPACE);
        for (name, value) in &self.variables {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        text
    }

    fn asked(&self, step: &Value) -> Asked {
        let text = |field: &str| step[field].as_str().unwrap_or_default().to_owned();
        let (method, path) =
            step["do"].as_str().and_then(|d| d.split_once(' ')).expect("METHOD PATH");
        let body = if let Some(raw) = step["text"].as_str() {
            raw.to_owned()
        } else if let Some(changes) = step.get("crd") {
            let mut widgets = self.widgets.clone();
            if changes.is_object() {
                merge(&mut widgets, changes);
            }
            widgets.to_string()
        } else {
            step.get("body").map(Value::to_string).unwrap_or_default()
        };
        let media = if text("type").is_empty() { "application/json".into() } else { text("type") };
        Asked {
            method: method.to_owned(),
            path: self.fill(path.trim_matches('"')),
            media,
            accept: text("accept"),
            who: step["as"].clone(),
            body: self.fill(&body).into_bytes(),
        }
    }

    async fn ask(&self, asked: &Asked) -> Answered {
        let mut request = Request::builder().method(asked.method.as_str()).uri(&asked.path);
        if !asked.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, &asked.media);
        }
        let accept = if asked.accept.is_empty() { "application/json" } else { &asked.accept };
        let request = request
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, "conformance/1")
            .body(Body::from(asked.body.clone()))
            .expect("a request");
        let mut request = request;
        let headers = request.headers_mut();
        let value = |v: &Value| v.as_str().expect("a text").parse().expect("a header");
        if let Some(user) = asked.who.get("user") {
            headers.insert("impersonate-user", value(user));
        }
        for group in asked.who["groups"].as_array().into_iter().flatten() {
            headers.append("impersonate-group", value(group));
        }
        for (key, extra) in asked.who["extra"].as_object().into_iter().flatten() {
            let name = format!("impersonate-extra-{key}");
            let name = axum::http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, value(extra));
        }
        let response = self.client.send(request).await.expect("an answer");
        let code = response.status().as_u16();
        let warnings = response
            .headers()
            .get_all(header::WARNING)
            .iter()
            .map(|w| w.to_str().expect("text").to_owned())
            .collect();
        let bytes = response.into_body().collect_bytes().await.expect("a body");
        let text = String::from_utf8_lossy(&bytes);
        let body = if asked.path.contains("watch=1") && code == 200 {
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("an event"))
                .collect()
        } else {
            serde_json::from_str(&text).unwrap_or_else(|_| text.as_ref().into())
        };
        Answered { code, warnings, body }
    }

    async fn step(&mut self, step: &Value) -> Value {
        let asked = self.asked(step);
        let began = Instant::now();
        let mut answered = self.ask(&asked).await;
        if let Some(code) = step["wait"].as_u64() {
            while u64::from(answered.code) != code && began.elapsed() < WAIT_MAX {
                tokio::time::sleep(Duration::from_millis(200)).await;
                answered = self.ask(&asked).await;
            }
        }
        eprintln!(
            "{} {} {} ({} ms)",
            answered.code,
            asked.method,
            asked.path,
            began.elapsed().as_millis()
        );
        for (name, pointer) in step["save"].as_object().into_iter().flatten() {
            let value = answered.body.pointer(pointer.as_str().expect("a pointer"));
            let value = value.and_then(Value::as_str).unwrap_or_default().to_owned();
            self.variables.insert(name.clone(), value);
        }
        if let Some([one, two]) = step["same"].as_array().map(Vec::as_slice) {
            let value = |v: &Value| self.variables.get(v.as_str().expect("a name")).cloned();
            return json!({"same": value(one) == value(two)});
        }
        self.normal(&answered, step.get("expect").and_then(Value::as_array))
    }

    /// An answer without what differs between any two servers.
    fn normal(&self, answered: &Answered, expect: Option<&Vec<Value>>) -> Value {
        let mut body = answered.body.clone();
        scrub(&mut body);
        let Some(expect) = expect else {
            let whole = json!({"code": answered.code, "warnings": answered.warnings, "body": body});
            return self.named(whole);
        };
        let mut out = Map::new();
        for path in expect.iter().filter_map(Value::as_str) {
            let value = match path {
                "code" => answered.code.into(),
                "warnings" => answered.warnings.clone().into(),
                _ => pick(&body, &path.split('.').collect::<Vec<_>>()),
            };
            out.insert(path.to_owned(), value);
        }
        self.named(Value::Object(out))
    }

    /// Values of this run under their names.
    fn named(&self, value: Value) -> Value {
        let mut text = value.to_string().replace(NAMESPACE, "NS");
        for (name, value) in self.variables.iter().filter(|(_, v)| v.len() > 8) {
            text = text.replace(value.as_str(), &format!("<{name}>"));
        }
        serde_json::from_str(&text).expect("still JSON")
    }
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
        (into, changes) => *into = changes.clone(),
    }
}

fn pick(value: &Value, path: &[&str]) -> Value {
    match path {
        [] => value.clone(),
        ["*", rest @ ..] => {
            value.as_array().into_iter().flatten().map(|item| pick(item, rest)).collect()
        }
        [step, rest @ ..] => value.get(*step).map_or(Value::Null, |inner| pick(inner, rest)),
    }
}

fn scrub(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for volatile in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "selfLink",
                "time",
                "lastTransitionTime",
            ] {
                fields.remove(volatile);
            }
            // descriptions of columns are prose
            if fields.contains_key("jsonPath") || fields.contains_key("priority") {
                fields.remove("description");
            }
            if let Some(value) = fields.get_mut("deletionTimestamp") {
                *value = json!("SET");
            }
            // managers of one second stand in any order
            if let Some(managers) = fields.get_mut("managedFields").and_then(Value::as_array_mut) {
                managers.sort_by_key(|m| {
                    format!("{} {} {}", m["manager"], m["operation"], m["subresource"])
                });
            }
            fields.values_mut().for_each(scrub);
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        // ages in tables
        Value::String(text)
            if (2..5).contains(&text.len())
                && text.ends_with('s')
                && text[..text.len() - 1].chars().all(|c| c.is_ascii_digit()) =>
        {
            *text = "AGE".into();
        }
        _ => {}
    }
}

/// Asks everything. Answers by case and step.
async fn answers(client: Client) -> BTreeMap<String, Value> {
    let mut run = Run { client, variables: BTreeMap::new(), widgets: read_yaml("widgets.yaml") };
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let make = json!({"do": "POST /api/v1/namespaces", "body": namespace, "wait": 201, "expect": ["code"]});
    assert_eq!(run.step(&make).await["code"], 201, "the namespace {NAMESPACE} is free");
    let mut out = BTreeMap::new();
    for case in read_yaml("cases.yaml").as_array().expect("cases") {
        let name = case["case"].as_str().expect("a name");
        for (i, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
            let answer = run.step(step).await;
            let asked = step["do"].as_str().unwrap_or_default();
            out.insert(format!("{name} / {:02} {asked}", i + 1), answer);
        }
    }
    let gone = json!({"do": "DELETE /api/v1/namespaces/NS", "expect": ["code"]});
    run.step(&gone).await;
    out
}

fn recorded() -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder().join("kubernetes.json")).expect("recorded answers");
    serde_json::from_str(&text).expect("recorded answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devapi_answers_what_kubernetes_answers() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(Options::new(dir.path())).await.expect("starts");
    let ours = answers(client(&server.kubeconfig()).await).await;
    server.stop().await.expect("stops");
    let theirs = match std::env::var_os("PALISADE_REAL_API") {
        Some(kubeconfig) => {
            let live = answers(client(Path::new(&kubeconfig)).await).await;
            if std::env::var_os("DEVAPI_CONFORMANCE_RECORD").is_some() {
                let text = serde_json::to_string_pretty(&live).expect("JSON") + "\n";
                std::fs::write(folder().join("kubernetes.json"), text).expect("writes");
            } else {
                let (old, new) = (recorded(), &live);
                let moved: Vec<&String> =
                    new.keys().filter(|k| old.get(*k) != new.get(*k)).collect();
                assert!(moved.is_empty(), "the server does not say what was recorded: {moved:#?}");
            }
            live
        }
        None => recorded(),
    };
    let mut report = String::new();
    for case in read_yaml("cases.yaml").as_array().expect("cases") {
        let name = case["case"].as_str().expect("a name");
        let differs = case["differs"].as_str();
        let prefix = format!("{name} / ");
        let steps = ours.iter().filter(|(k, _)| k.starts_with(&prefix));
        let different: Vec<_> = steps.filter(|(k, v)| theirs.get(*k) != Some(v)).collect();
        match differs {
            None => {
                for (step, answer) in different {
                    let wanted = theirs.get(step).unwrap_or(&Value::Null);
                    let _ =
                        writeln!(report, "{step}\n  devapi     {answer}\n  kubernetes {wanted}");
                }
            }
            Some(_) if different.is_empty() => {
                let _ = writeln!(report, "{name}: is said to differ, and is equal");
            }
            Some(_) => {}
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The table of docs/devapi.md is that of the cases.
#[test]
fn the_page_has_every_case() {
    let mut table = String::from("| behaviour | steps | devapi and Kubernetes |\n|---|---|---|\n");
    for case in read_yaml("cases.yaml").as_array().expect("cases") {
        let name = case["case"].as_str().expect("a name");
        let steps = case["steps"].as_array().expect("steps").len();
        let verdict =
            case["differs"].as_str().map_or_else(|| "equal".into(), |why| format!("differ: {why}"));
        let _ = writeln!(table, "| {name} | {steps} | {verdict} |");
    }
    page::holds("behaviours", &table);
}
