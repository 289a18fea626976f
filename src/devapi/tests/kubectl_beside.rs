//! kubectl's own verbs, typed beside devapi and beside a real API server: what is said is compared.
//!
//! `cargo lab test devapi` starts the server and runs this; with `DEVAPI_CONFORMANCE_RECORD=1` the table in docs/devapi.md is
//! written anew. `DEVAPI_KUBECTL_ONLY=TEXT` types only the groups whose name has TEXT in it, after `create`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use devapi::{Options, Server};
use regex::Regex;
use serde_json::Value;

mod page;

const NAMESPACE: &str = "devapi-kubectl";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl")
}

struct Line {
    typed: String,
    differs: Option<String>,
}

struct Group {
    about: String,
    lines: Vec<Line>,
}

fn groups() -> Vec<Group> {
    let text = std::fs::read_to_string(folder().join("cases.yaml")).expect("cases");
    let all: Value = serde_yaml::from_str(&text).expect("cases");
    let line = |line: &Value| Line {
        typed: line.as_str().or_else(|| line["type"].as_str()).expect("a line").to_owned(),
        differs: line["differs"].as_str().map(str::to_owned),
    };
    let group = |group: &Value| Group {
        about: group["about"].as_str().expect("a name").to_owned(),
        lines: group["lines"].as_array().expect("lines").iter().map(line).collect(),
    };
    all.as_array().expect("groups").iter().map(group).collect()
}

/// What kubectl says and how it ends, without what differs between any two servers.
struct Terminal {
    kubeconfig: PathBuf,
    cache: tempfile::TempDir,
    normal: Vec<(Regex, &'static str)>,
}

impl Terminal {
    fn new(kubeconfig: PathBuf) -> Self {
        let normal = [
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
            (r#"(?i)(resource ?version"?): +"?\d+"?"#, "$1: VERSION"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC)?", "TIME"),
            (r"\b([A-Z][a-z]{2}, )?\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
            (r"\b(\d+[dhms])+\b|<invalid>", "AGE"),
            (r"https?://127\.0\.0\.1:\d+", "SERVER"),
            (r"/tmp/[A-Za-z0-9_./-]+", "FILE"),
            (r"\b[EWI]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", ""),
            // the client library tells of watches that a timeout cut, as its clock will have it
            (r"(?m)^reflector\.go:\d+\].*\n", ""),
            // columns are as wide as ages are long
            (r" +", " "),
            (r" +\n", "\n"),
        ];
        let normal = normal.map(|(from, to)| (Regex::new(from).expect("an expression"), to)).into();
        Self { kubeconfig, cache: tempfile::tempdir().expect("a folder"), normal }
    }

    fn typed(&self, line: &str) -> String {
        let words = line.split(' ').map(|word| match word {
            "WIDGETS-CRD" => folder().join("../conformance/widgets.yaml").display().to_string(),
            word => word.replace("NS", NAMESPACE).replace('~', " "),
        });
        let output = Command::new("kubectl")
            .args(words)
            .current_dir(folder())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.cache.path())
            .env("KUBE_EDITOR", folder().join("editor"))
            .env("TMPDIR", "/tmp")
            .stdin(Stdio::null())
            .output()
            .expect("kubectl runs");
        let mut said = format!(
            "{}{}({})\n",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status.code().unwrap_or(-1)
        );
        // JSON has no order of fields
        if let Ok(mut object) = serde_json::from_slice::<Value>(&output.stdout)
            && object.is_object()
        {
            volatile(&mut object);
            said = format!(
                "{object:#}\n{}({:?})\n",
                String::from_utf8_lossy(&output.stderr),
                output.status.code()
            );
        }
        for (from, to) in &self.normal {
            said = from.replace_all(&said, *to).into_owned();
        }
        said
    }
}

fn volatile(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("resourceVersion");
            // a fingerprint for migrations of storage, which is optional
            fields.remove("storageVersionHash");
            fields.values_mut().for_each(volatile);
        }
        Value::Array(items) => items.iter_mut().for_each(volatile),
        _ => {}
    }
}

/// Everything typed, on one server.
fn session(terminal: &Terminal, groups: &[Group]) -> Vec<Vec<String>> {
    let only = std::env::var("DEVAPI_KUBECTL_ONLY").ok();
    let wanted =
        |g: &Group| only.as_ref().is_none_or(|o| g.about.contains(o) || g.about == "create");
    let lines = |g: &Group| g.lines.iter().map(|l| terminal.typed(&l.typed)).collect();
    groups.iter().map(|g| if wanted(g) { lines(g) } else { Vec::new() }).collect()
}

fn differences(groups: &[Group], ours: &[Vec<String>], theirs: &[Vec<String>]) -> String {
    let mut report = String::new();
    for (group, (ours, theirs)) in groups.iter().zip(ours.iter().zip(theirs)) {
        for (line, (ours, theirs)) in group.lines.iter().zip(ours.iter().zip(theirs)) {
            match (&line.differs, ours == theirs) {
                (None, false) => {
                    let typed = &line.typed;
                    let _ = writeln!(
                        report,
                        "=== kubectl {typed}\n--- devapi\n{ours}--- kubernetes\n{theirs}"
                    );
                }
                (Some(_), true) => {
                    let _ = writeln!(
                        report,
                        "=== kubectl {} is said to differ, and is equal:\n{ours}",
                        line.typed
                    );
                }
                _ => {}
            }
        }
    }
    report
}

fn table(groups: &[Group]) -> String {
    let mut table = String::from("| kubectl | lines | devapi and Kubernetes |\n|---|---|---|\n");
    for group in groups {
        let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
        for line in &group.lines {
            let Some(why) = &line.differs else { continue };
            let typed = line.typed.replace("-n NS ", "").replace('~', " ");
            match reasons.iter_mut().find(|(w, _)| w == why) {
                Some((_, lines)) => lines.push(format!("`{typed}`")),
                None => reasons.push((why.clone(), vec![format!("`{typed}`")])),
            }
        }
        let differ: usize = reasons.iter().map(|(_, lines)| lines.len()).sum();
        let verdict = if differ == 0 {
            "equal".to_owned()
        } else {
            let reasons: Vec<String> =
                reasons.iter().map(|(why, lines)| format!("{}: {why}", lines.join(", "))).collect();
            let equal = group.lines.len() - differ;
            format!("{equal} equal; {}", reasons.join("; "))
        };
        let _ = writeln!(table, "| {} | {} | {verdict} |", group.about, group.lines.len());
    }
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a real API server: cargo lab test devapi"]
async fn kubectl_says_the_same_beside_devapi_and_beside_kubernetes() {
    let real = std::env::var_os("PALISADE_REAL_API").expect("PALISADE_REAL_API: a kubeconfig");
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(Options::new(dir.path())).await.expect("starts");
    let (ours, theirs) = (Terminal::new(server.kubeconfig()), Terminal::new(real.into()));
    let typing =
        |terminal: Terminal| tokio::task::spawn_blocking(move || session(&terminal, &groups()));
    let (ours, theirs) = (typing(ours), typing(theirs));
    let (ours, theirs) = (ours.await.expect("typed"), theirs.await.expect("typed"));
    server.stop().await.expect("stops");
    let groups = groups();
    if let Some(file) = std::env::var_os("DEVAPI_KUBECTL_TRANSCRIPT") {
        let mut text = String::new();
        for (group, said) in groups.iter().zip(&theirs) {
            for (line, said) in group.lines.iter().zip(said) {
                let _ = writeln!(text, "$ kubectl {}\n{said}", line.typed);
            }
        }
        std::fs::write(file, text).expect("writes");
    }
    let report = differences(&groups, &ours, &theirs);
    assert!(report.is_empty(), "\n{report}");
    assert!(theirs.iter().all(|said| !said.is_empty()), "only some groups were typed");
}

/// The table of docs/devapi.md is that of the lines.
#[test]
fn the_page_has_every_line() {
    page::holds("kubectl", &table(&groups()));
}
