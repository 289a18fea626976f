//! Cases of our own for the custom resources' door (POLICY.md section 4): `src/cli/tests/door/*.txt`. Each is a sentence, the
//! options of `palisade simulate`, the objects beside those of `door/cluster.yaml` in short form, and under `----` scores,
//! summary and graph, or what is refused and how. `PALISADE_BLESS=1 cargo test -p cli --test door` writes the results anew.
//!
//! ```text
//!   # a sentence
//!   --down n1
//!   VirtualIP vip: {address: 10.92.0.100, prefix: 24, network: public}       (kind, name, spec without clusterRef)
//! ```

use std::{fmt::Write as _, fs, path::PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const CASES_MIN: usize = 15;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/door"))
}

/// Options and manifests of a case.
fn input(head: &str) -> (Vec<String>, String) {
    let mut options = Vec::new();
    let mut yaml = String::new();
    for line in head.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if line.starts_with("--") {
            options.extend(line.split_whitespace().map(str::to_owned));
            continue;
        }
        let (object, spec) = line.split_once(": ").expect("KIND NAME: {SPEC}");
        let (kind, name) = object.split_once(' ').expect("KIND NAME");
        let spec = spec.trim().strip_prefix('{').expect("a spec in braces");
        let _ = write!(
            yaml,
            "---\napiVersion: palisade.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n\
             spec: {{clusterRef: {{name: main}}, {spec}\n"
        );
    }
    (options, yaml)
}

fn simulate(options: &[String], yaml: &str, output: &str) -> Result<String, String> {
    let own = TempDir::new().expect("a folder");
    let file = own.path().join("case.yaml");
    fs::write(&file, yaml).expect("written");
    let mut command = Command::cargo_bin("palisade").expect("the binary of this package");
    command.arg("simulate").args(options).args(["--scores", "--now", "2026-01-31T12:00:00Z"]);
    command.args(["--output", output, "-f"]).arg(folder().join("cluster.yaml"));
    command.arg("-f").arg(&file);
    let result = command.output().expect("it runs");
    let error = String::from_utf8(result.stderr).expect("UTF-8");
    let error = error.replace(&file.display().to_string(), "case.yaml");
    assert!(!error.contains("panicked"), "{error}");
    match result.status.code() {
        Some(0) => Ok(String::from_utf8(result.stdout).expect("UTF-8")),
        Some(1) => Err(error),
        code => panic!("exit code {code:?}: {error}"),
    }
}

fn result(head: &str) -> String {
    let (options, yaml) = input(head);
    let json = match simulate(&options, &yaml, "json") {
        Ok(text) => text,
        Err(error) => return format!("refused, exit code 1\n{error}"),
    };
    let plan: Value = serde_json::from_str(&json).expect("one object");
    let mut out = String::from("scores\n");
    scores(&mut out, &plan);
    out.push_str("summary\n");
    for line in simulate(&options, &yaml, "text").expect("the same in words").lines() {
        let _ = writeln!(out, "  {line}");
    }
    out.push_str("graph\n");
    graph(&mut out, &plan);
    out
}

/// One line for each computation.
fn scores(out: &mut String, plan: &Value) {
    let mut last = String::new();
    for row in plan["scores"].as_array().expect("a list") {
        let text = |at: usize| row[at].as_str().unwrap_or_default();
        let score = match row[3].as_i64().unwrap_or_default() {
            ..=-1_000_000 => "-inf".to_owned(),
            1_000_000.. => "inf".to_owned(),
            score => score.to_string(),
        };
        let key = format!("{} {}", text(0).to_lowercase(), text(1));
        if key == last {
            let _ = write!(out, " {}={score}", text(2));
        } else {
            let end = if last.is_empty() { "" } else { "\n" };
            let _ = write!(out, "{end}  {key}: {}={score}", text(2));
        }
        last = key;
    }
    out.push_str(if last.is_empty() { "" } else { "\n" });
}

fn graph(out: &mut String, plan: &Value) {
    let order = plan["order"].as_array().expect("a list");
    for action in plan["actions"].as_array().expect("a list") {
        let field = |name: &str| action[name].as_str().unwrap_or_default();
        let before: Vec<&str> = order
            .iter()
            .filter(|pair| pair[1] == action["id"])
            .filter_map(|pair| pair[0].as_str())
            .collect();
        let waits =
            if before.is_empty() { String::new() } else { format!(" after {}", before.join(" ")) };
        let every = match action["interval_ms"].as_u64() {
            Some(ms) if ms > 0 => format!(" every {ms} ms"),
            _ => String::new(),
        };
        let words = [field("id"), field("op"), field("rsc"), field("node")];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let sync = if field("type") == "sync" { " (ordering point)" } else { "" };
        let _ = writeln!(out, "  {}{every}{sync}{waits}", words.join(" "));
    }
}

#[test]
fn every_case_is_planned_as_it_is_written_down() {
    let bless = std::env::var_os("PALISADE_BLESS").is_some();
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .expect("the cases are there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).expect("UTF-8");
        let mut blessed = Vec::new();
        for case in text.split("\n====\n").filter(|case| !case.trim().is_empty()) {
            let (head, expected) = case.split_once("\n----\n").unwrap_or((case, ""));
            let got = result(head);
            count += 1;
            if got.trim() != expected.trim() && !bless {
                wrong.push(format!("{}:\n{head}\n---- got\n{got}", file.display()));
            }
            blessed.push(format!("{}\n----\n{}\n", head.trim(), got.trim()));
        }
        if bless {
            fs::write(&file, blessed.join("\n====\n\n")).expect("written");
        }
    }
    assert!(count >= CASES_MIN, "only {count} cases");
    assert!(wrong.is_empty(), "{} cases differ\n{}", wrong.len(), wrong.join("\n\n"));
}
