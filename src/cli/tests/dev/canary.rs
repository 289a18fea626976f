//! Secrets leave nowhere (SAFETY.md#S27): a box whose BMC passwords are a canary, and whose ring key is known, fails over with
//! logs at their most verbose; then every place where a secret could have gone is searched for both.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::boxed::{Running, address, alone, palisade, program, served_by, status, until};
use crate::scrape::{scrape, targets, unpacked};

/// Quotes, a shell's words, a letter of two bytes and a line end: whatever escapes or splits text meets it.
const CANARY: &str = "Se\u{10d}'r\"$(x)\n";

/// The canary and the key as they may be written: plain, as Rust, as JSON, as a Secret, as bytes.
fn needles(key: &str) -> Vec<String> {
    let key = key.split_whitespace().last().expect("id and key").to_owned();
    let hex: String = CANARY.bytes().map(|b| format!("{b:02x}")).collect();
    let bytes: Vec<String> = CANARY.bytes().take(6).map(|b| b.to_string()).collect();
    let mut all = vec![
        "\u{10d}'r".to_owned(),
        "\\u{10d}'r".to_owned(),
        "\\u{10d}\\'r".to_owned(),
        "\\u010d'r".to_owned(),
        "\\xc4\\x8d'r".to_owned(),
        "%C4%8D%27r".to_owned(),
        hex[..12].to_owned(),
        hex[..12].to_uppercase(),
        bytes.join(", "),
        base64(CANARY.as_bytes()),
        base64(format!("1 {key}").as_bytes()),
    ];
    all.push(key);
    all
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    // the end of the last group depends on what follows: it is left out
    for three in bytes.chunks_exact(3) {
        let n = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        for shift in [18, 12, 6, 0] {
            out.push(char::from(LETTERS[(n >> shift) as usize & 63]));
        }
    }
    out
}

/// Every place, with what stands there.
struct Places(BTreeMap<String, String>);

impl Places {
    fn add(&mut self, place: impl Into<String>, bytes: &[u8]) {
        self.0.insert(place.into(), String::from_utf8_lossy(bytes).into_owned());
    }

    fn processes(&mut self, running: &Running) {
        let below = running.below();
        let pids = below.iter().map(|process| process.pid).chain([running.pid()]);
        for pid in pids {
            for file in ["cmdline", "environ"] {
                let path = format!("/proc/{pid}/{file}");
                if let Ok(bytes) = fs::read(&path) {
                    self.add(path, &bytes);
                }
            }
        }
    }

    /// Every log below; `objects.log` is the API's store, and holds its Secrets.
    fn logs(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).expect("there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                self.logs(&path);
            } else if path.extension().is_some_and(|e| e == "log" || e == "jsonl")
                && path.file_name().is_some_and(|n| n != "objects.log")
            {
                self.add(path.display().to_string(), &fs::read(&path).expect("read"));
            }
        }
    }

    fn bundle(&mut self, dir: &Path) {
        let file = dir.join("bundle.tar.gz");
        let mut command = Command::new(program());
        command.arg("bundle").arg("-o").arg(&file).arg("--agent").arg(dir);
        command.arg("--log").arg(dir.join("box.log"));
        command.arg("--kubeconfig").arg(dir.join("kubeconfig"));
        let done = command.output().expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let entries = unpacked(&file);
        let has = |wanted: &str| entries.keys().any(|name| name.contains(wanted));
        assert!(has("logs/n1.log") && has("objects/events.json"), "{:?}", entries.keys());
        for (name, text) in entries {
            self.add(name, text.as_bytes());
        }
    }

    fn page(&mut self, at: SocketAddr) {
        for path in ["/", "/view.json"] {
            let mut stream = TcpStream::connect(at).expect("the page is there");
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
            let head = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("asked");
            let mut text = Vec::new();
            stream.read_to_end(&mut text).expect("answered");
            self.add(format!("page {path}"), &text);
        }
    }

    /// Every object but the Secrets themselves.
    fn objects(&mut self, kubeconfig: &Path) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let client = api::client::connect(Some(kubeconfig)).await.expect("a client");
            let ours = api::crds();
            let ours = ours.iter().map(|c| {
                format!("/apis/palisade.dev/v1alpha1/namespaces/palisade/{}", c.spec.names.plural)
            });
            let built_in = [
                "/api/v1/events",
                "/api/v1/configmaps",
                "/apis/events.k8s.io/v1/events",
                "/apis/coordination.k8s.io/v1/leases",
            ];
            for path in ours.chain(built_in.map(str::to_owned)) {
                let request = axum::http::Request::get(&path).body(Vec::new()).expect("a request");
                let text = client.request_text(request).await.expect("listed");
                self.add(path, text.as_bytes());
            }
        });
    }
}

fn tell_passwords(kubeconfig: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = api::client::connect(Some(kubeconfig)).await.expect("a client");
        for node in ["n1", "n2", "n3"] {
            let path = format!("/api/v1/namespaces/palisade/secrets/bmc-{node}");
            let body = serde_json::json!({"stringData": {"password": CANARY}}).to_string();
            let request = axum::http::Request::patch(&path)
                .header("content-type", "application/merge-patch+json")
                .body(body.into_bytes())
                .expect("a request");
            client.request_text(request).await.expect("patched");
        }
    });
}

#[test]
#[ignore = "20 s, and logs of 100 MB: cargo test -p cli --test dev canary -- --ignored"]
fn a_canary_is_found_in_no_argument_environment_log_object_metric_page_or_bundle() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let running = Running::start(&dir);
    running.wait_ready(&dir);
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    drop(running);

    let file = dir.join("box.json");
    let mut plan: Value = serde_json::from_slice(&fs::read(&file).expect("there")).expect("JSON");
    let key = plan["ring_key"].as_str().expect("a key").to_owned();
    for node in plan["nodes"].as_array_mut().expect("machines") {
        assert!(node["bmc_password"].is_string(), "{node}");
        node["bmc_password"] = CANARY.into();
    }
    fs::write(&file, plan.to_string()).expect("written");

    let errors = folder.path().join("errors.log");
    let mut program = Command::new(program());
    program.env("PALISADE_LOG", "trace").stderr(File::create(&errors).expect("a file"));
    let running = Running::start_as(program, &dir);
    running.wait_ready(&dir);
    // the box makes its first objects once: people change a password in the Secret, too
    tell_passwords(&dir.join("kubeconfig"));
    let mut at = address(&dir);
    let holder = until("it is served", || served_by(at));
    let (ok, said) = palisade(&["dev", "kill", &holder, "--dir"], &dir);
    assert!(ok, "{said}");
    until("it is served elsewhere", || served_by(at).filter(|by| *by != holder));
    // the canary is what the BMCs were told: without it nobody would have been powered off
    until("the power-off is proven", || {
        ["n1", "n2", "n3"].iter().filter(|n| **n != holder).find_map(|node| {
            let seen = status(&dir, node)?;
            seen.operations.iter().any(|o| o.evidence.is_some()).then_some(())
        })
    });
    std::thread::sleep(Duration::from_secs(3));

    let mut places = Places(BTreeMap::new());
    places.processes(&running);
    for target in targets(&dir) {
        if let Some(text) = scrape(target) {
            places.add(format!("metrics {target}"), text.as_bytes());
        }
    }
    let SocketAddr::V4(service) = at else { panic!("an IPv4 address: {at}") };
    let [a, b, c, _] = service.ip().octets();
    at.set_ip([a, b, c, 251].into());
    places.page(at);
    places.objects(&dir.join("kubeconfig"));
    places.bundle(&dir);
    for node in ["n1", "n2", "n3"] {
        if let Some(status) = status(&dir, node) {
            places.add(format!("status {node}"), format!("{status:?}").as_bytes());
        }
    }
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    places.logs(folder.path());
    let size: usize = places.0.values().map(String::len).sum();
    eprintln!("{} places, {size} bytes", places.0.len());
    let trace = places.0.iter().any(|(p, text)| p.ends_with(".log") && text.contains("TRACE"));
    assert!(trace, "the logs are at their most verbose: {:?}", places.0.keys());
    assert!(places.0.len() > 25, "{:?}", places.0.keys());

    let mut found = Vec::new();
    for needle in needles(&key) {
        for (place, text) in &places.0 {
            if let Some(i) = text.find(&needle) {
                let line: String = text[i..].chars().take(20).collect();
                found.push(format!("{place}: as {needle:?} in {line:?}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
