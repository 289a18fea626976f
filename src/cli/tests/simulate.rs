//! `palisade simulate` as people call it: what it refuses, and how; what it says of manifests.

use std::{fs, path::Path};

use assert_cmd::Command;
use tempfile::TempDir;

fn palisade(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("palisade").expect("the binary of this package");
    command.arg("simulate").args(arguments);
    command
}

/// Exit code and standard error; standard output must be empty.
fn refused(arguments: &[&str]) -> String {
    let output = palisade(arguments).assert().code(1).get_output().clone();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "a refusal prints no plan");
    let text = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn refused_cib(text: &[u8]) -> String {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("cib.xml");
    fs::write(&file, text).expect("written");
    refused(&["--cib", file.to_str().expect("UTF-8")])
}

const HEAD: &str =
    "<cib validate-with=\"pacemaker-3.9\">\n<configuration>\n<crm_config/>\n<nodes/>\n";

#[test]
fn a_truncated_cib_is_refused_with_the_line_where_it_ends() {
    let text = refused_cib(b"<cib>\n<configuration>\n<nodes>\n<node id=\"1\"");
    assert!(text.contains("line 4, column 13") && text.contains("<node id=\"1\">"), "{text}");
}

#[test]
fn an_oversized_cib_is_refused_before_it_is_parsed() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cib.xml");
    let file = fs::File::create(&path).expect("made");
    // a hole takes no room on the disk
    file.set_len(cib::BYTES_MAX as u64 + 10).expect("longer");
    let text = refused(&["--cib", path.to_str().expect("UTF-8")]);
    assert!(text.contains(&cib::BYTES_MAX.to_string()) && text.contains("line 1"), "{text}");
}

#[test]
fn a_cib_nested_too_deep_is_refused_with_the_line() {
    let text = refused_cib(format!("{HEAD}{}", "\n<a>".repeat(100_000)).as_bytes());
    assert!(text.contains("nest deeper") && text.contains("line "), "{text}");
}

#[test]
fn a_cib_that_contradicts_itself_is_refused_with_line_and_element() {
    let one = "<primitive id=\"db\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\"/>";
    let text = refused_cib(
        format!("{HEAD}<resources>\n{one}\n{one}\n</resources>\n</configuration></cib>").as_bytes(),
    );
    assert!(text.contains("line 7") && text.contains("primitive id=\"db\""), "{text}");
}

#[test]
fn a_cib_of_an_unknown_version_says_how_to_convert() {
    let text = refused_cib(b"<cib validate-with=\"pacemaker-7.0\"><configuration/></cib>");
    assert!(text.contains("line 1") && text.contains("cibadmin --upgrade"), "{text}");
}

#[test]
fn bytes_that_are_no_text_and_files_that_are_not_there_are_named() {
    let text = refused_cib(&[0x3c, 0xff, 0xfe]);
    assert!(text.contains("UTF-8"), "{text}");
    let text = refused(&["--cib", "/nowhere/cib.xml"]);
    assert!(text.contains("cannot open /nowhere/cib.xml"), "{text}");
}

#[test]
fn a_time_that_cannot_be_read_shows_how_to_write_it() {
    let text = refused(&["--cib", "/nowhere/cib.xml", "--now", "yesterday"]);
    assert!(text.contains("2026-01-31T12:00:00Z"), "{text}");
}

#[test]
fn neither_cib_nor_manifests_is_wrong_usage() {
    palisade(&[]).assert().code(2);
    palisade(&["--cib", "a", "--down", "n1"]).assert().code(2);
}

fn quickstart() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/quickstart");
    folder.to_str().expect("UTF-8").to_owned()
}

fn planned(arguments: &[&str]) -> String {
    let output = palisade(arguments).assert().success().get_output().clone();
    String::from_utf8(output.stdout).expect("plans are UTF-8")
}

#[test]
fn the_quickstart_starts_its_address_and_then_what_goes_with_it() {
    let folder = quickstart();
    let text = planned(&["-f", &folder, "--output", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(plan["format"], "sched-sim/1");
    assert_eq!(plan["status"], "ok");
    let (web, public) = (&plan["placements"]["web"], &plan["placements"]["public"]);
    assert_eq!(web[0]["node"], public[0]["node"], "{text}");
    assert!(web[0]["node"].is_string(), "{text}");
    for output in ["text", "dot", "svg"] {
        assert!(planned(&["-f", &folder, "--output", output]).contains("web"), "{output}");
    }
}

#[test]
fn losing_a_member_fences_it_and_brings_everything_up_elsewhere() {
    let folder = quickstart();
    let before = planned(&["-f", &folder]);
    let before: serde_json::Value = serde_json::from_str(&before).expect("one object");
    let node = before["placements"]["web"][0]["node"].as_str().expect("it runs").to_owned();
    let after = planned(&["-f", &folder, "--down", &node]);
    let after: serde_json::Value = serde_json::from_str(&after).expect("one object");
    assert_eq!(after["fenced"], serde_json::json!([node]), "{after}");
    let now = after["placements"]["web"][0]["node"].as_str().expect("it runs again");
    assert_ne!(now, node);
    assert_eq!(after["placements"]["public"][0]["node"], now);
}

#[test]
fn losing_the_majority_starts_nothing() {
    let text = planned(&["-f", &quickstart(), "--down", "n1", "--down", "n2"]);
    let plan: serde_json::Value = serde_json::from_str(&text).expect("one object");
    let starts = |a: &&serde_json::Value| a["op"] == "start" && a["type"] != "sync";
    assert_eq!(
        plan["actions"].as_array().expect("a list").iter().filter(starts).count(),
        0,
        "{text}"
    );
}

#[test]
fn losing_a_member_that_is_none_names_those_that_are() {
    let text = refused(&["-f", &quickstart(), "--down", "n9"]);
    assert!(text.contains("n1, n2, n3"), "{text}");
}

fn refused_manifest(yaml: &str) -> String {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.yaml"), yaml).expect("written");
    refused(&["-f", folder.path().to_str().expect("UTF-8")])
}

#[test]
fn a_misspelt_field_is_named_with_its_path_and_the_right_word() {
    let yaml = "apiVersion: palisade.dev/v1alpha1\nkind: HACluster\nmetadata: {name: main}\nspec:\n  \
                quorom: {}\n  members:\n    - {name: n1, nodeId: 1, links: [\"10.0.0.1\"]}\n  \
                keySecretRef: {name: k}\n";
    let text = refused_manifest(yaml);
    assert!(text.contains("spec.quorom") && text.contains("did you mean"), "{text}");
    assert!(text.contains("document 1: HACluster \"main\""), "{text}");
}

#[test]
fn every_fault_of_every_document_is_said_at_once() {
    let yaml = "apiVersion: palisade.dev/v1alpha1\nkind: HAClutser\nmetadata: {name: main}\n---\n\
                apiVersion: palisade.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: vip}\nspec: {clusterRef: {name: main}}\n";
    let text = refused_manifest(yaml);
    assert!(text.contains("document 1") && text.contains("did you mean \"HACluster\""), "{text}");
    assert!(text.contains("document 2: VirtualIP"), "{text}");
}

#[test]
fn manifests_without_a_cluster_and_broken_yaml_are_refused() {
    assert!(
        refused_manifest("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n")
            .contains("HACluster")
    );
    assert!(refused_manifest("a: [1, 2\n").contains("not YAML"));
}

#[test]
fn a_reference_to_nothing_is_said_of_its_object() {
    let folder = TempDir::new().expect("a folder");
    let text = fs::read_to_string(Path::new(&quickstart()).join("20-fence-devices.yaml"));
    let text = text.expect("the quickstart").replacen("targets: [n1]", "targets: [n7]", 1);
    fs::write(folder.path().join("b.yaml"), text).expect("written");
    let cluster = Path::new(&quickstart()).join("10-cluster.yaml");
    let files =
        ["-f", cluster.to_str().expect("UTF-8"), "-f", folder.path().to_str().expect("UTF-8")];
    let text = refused(&files);
    assert!(text.contains("FenceDevice \"bmc-n1\"") && text.contains("n7"), "{text}");
}
