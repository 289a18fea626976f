//! Completion in the shells themselves, and what kubectl is told.

use std::{os::unix::fs::symlink, path::Path, process::Command};

fn palisade() -> &'static str {
    env!("CARGO_BIN_EXE_palisade")
}

fn script(shell: &str) -> String {
    let done = Command::new(palisade()).args(["completion", shell]).output().expect("it runs");
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).expect("text")
}

/// What a shell says of a command of its own.
fn said(program: &str, words: &[&str], path: &Path) -> String {
    let old = std::env::var("PATH").unwrap_or_default();
    let done = Command::new(program)
        .args(words)
        .env("PATH", format!("{}:{old}", path.display()))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{program} {words:?}: {text}");
    text
}

/// A folder with the script and with the program by each of its names.
fn installed(shell: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("script"), script(shell)).expect("written");
    for name in ["palisade", "kubectl-palisade", "kubectl_complete-palisade"] {
        symlink(palisade(), folder.path().join(name)).expect("linked");
    }
    folder
}

#[test]
fn bash_completes_verbs_and_options() {
    let folder = installed("bash");
    let file = folder.path().join("script");
    let asked = format!(
        "set -eu; source {}; COMP_WORDS=(palisade stat); COMP_CWORD=1; COMPREPLY=(); \
         _palisade palisade stat palisade; echo \"${{COMPREPLY[@]}}\"; \
         COMP_WORDS=(palisade status --wa); COMP_CWORD=2; COMPREPLY=(); \
         _palisade palisade --wa status; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let text = said("bash", &["--norc", "-c", &asked], folder.path());
    assert_eq!(text, "status\n--watch\n");
}

#[test]
fn each_shell_has_a_script_that_knows_the_verbs() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let text = script(shell);
        for word in ["status", "timeline", "completion", "--watch"] {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn kubectl_is_answered_by_the_name_that_it_calls() {
    let folder = installed("bash");
    let ask = |words: &[&str]| said("kubectl_complete-palisade", words, folder.path());
    assert_eq!(ask(&["stat"]), "status\n:4\n");
    assert_eq!(ask(&["status", "--kubeconfig", ""]), ":0\n");
    let help = said("kubectl-palisade", &["status", "--help"], folder.path());
    assert!(help.contains("Usage: kubectl palisade status"), "{help}");
}

#[test]
fn the_plugin_asks_the_api_and_says_what_is_missing() {
    let folder = installed("bash");
    let done = Command::new(folder.path().join("kubectl-palisade"))
        .args(["status", "--kubeconfig", "/nowhere/config"])
        .env("HOME", folder.path())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.contains("/nowhere/config: no kubeconfig"), "{text}");
}

#[test]
#[ignore = "needs zsh and fish: apt install zsh fish && cargo test -p cli --test completion -- --ignored zsh_and_fish"]
fn zsh_and_fish_load_their_scripts_and_complete() {
    let folder = installed("zsh");
    let file = folder.path().join("script").display().to_string();
    let asked =
        format!("autoload -U compinit && compinit -u -D && source {file} && whence -w _palisade");
    assert_eq!(said("zsh", &["-f", "-c", &asked], folder.path()).trim(), "_palisade: function");
    let folder = installed("fish");
    let file = folder.path().join("script").display().to_string();
    let asked =
        format!("source {file}; complete -C 'palisade stat'; complete -C 'palisade status --wa'");
    let text = said("fish", &["--no-config", "-c", &asked], folder.path());
    assert!(text.contains("status\t") && text.contains("--watch"), "{text}");
}

#[test]
#[ignore = "needs kubectl: cargo test -p cli --test completion -- --ignored kubectl"]
fn kubectl_finds_the_plugin_and_completes_it() {
    let folder = installed("bash");
    let listed = said("kubectl", &["plugin", "list"], folder.path());
    assert!(
        listed.contains(&folder.path().join("kubectl-palisade").display().to_string()),
        "{listed}"
    );
    let offered = said("kubectl", &["__complete", "palisade", "stat"], folder.path());
    assert!(offered.starts_with("status\n"), "{offered}");
    let version = said("kubectl", &["palisade", "--version"], folder.path());
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}
