//! Running the programs that the lab is made with, with errors that name them.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs to the end and gives its standard output. A failure shows the command and what it said.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = attempt(program, args)?;
    if !output.status.success() {
        bail!("`{program} {}` failed: {}", args.join(" "), said(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end and gives everything, success or not.
pub fn attempt(program: &str, args: &[&str]) -> Result<Output> {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{program}`: `cargo lab install` installs what lacks"))
}

/// Runs with `input` on standard input; a failure shows both.
pub fn run_with_input(program: &str, args: &[&str], input: &str) -> Result<String> {
    let output = attempt_with_input(program, args, input)?;
    if !output.status.success() {
        bail!("`{program} {}` failed on\n{input}: {}", args.join(" "), said(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs with `input` on standard input and gives everything, success or not.
pub fn attempt_with_input(program: &str, args: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("cannot run `{program}`: `cargo lab install` installs what lacks")
        })?;
    let mut stdin = child.stdin.take().context("a pipe was asked for")?;
    stdin.write_all(input.as_bytes()).with_context(|| format!("writing to `{program}`"))?;
    drop(stdin);
    Ok(child.wait_with_output()?)
}

/// Several `ip` commands in one process, in the named network namespace.
pub fn ip_batch(namespace: &str, lines: &str) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    run_with_input("ip", &["-n", namespace, "-batch", "-"], lines).map(drop)
}

/// What a finished program complained about, or its exit code where it kept silent.
#[must_use]
pub fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = if stderr.trim().is_empty() {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    } else {
        stderr.trim().to_owned()
    };
    if text.is_empty() { output.status.to_string() } else { format!("{text} ({})", output.status) }
}
