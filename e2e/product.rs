//! The programs that the lab runs: the product, the observer, its own.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's root.
pub const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where they are, built as this program was.
#[derive(Debug, Clone)]
pub struct Programs {
    /// This crate's program.
    pub e2e: PathBuf,
    /// The observer.
    pub observer: PathBuf,
    /// The product.
    pub palisade: PathBuf,
}

/// Builds the product (unless one is given) and the observer; with `built` it takes what lies beside
/// this program.
pub fn build(palisade: Option<&Path>, built: bool) -> Result<Programs> {
    let e2e = std::env::current_exe().context("where this program is")?;
    let dir = e2e.parent().context("a program lies in a folder")?.to_owned();
    let release = dir.file_name().is_some_and(|n| n == "release");
    let mut arguments = vec!["build", "--locked", "--package", "e2e", "--bin", "observer"];
    if palisade.is_none() && !built {
        arguments.extend(["--package", "cli", "--bin", "palisade"]);
        eprintln!("lab: building palisade");
    }
    if release {
        arguments.push("--release");
    }
    if !built {
        cargo(&arguments)?;
    }
    let palisade = palisade.map_or_else(|| dir.join("palisade"), Path::to_owned);
    for program in [&palisade, &dir.join("observer")] {
        if !program.is_file() {
            bail!(
                "{} is not there after the build: build it, or leave --built out",
                program.display()
            );
        }
    }
    Ok(Programs { observer: dir.join("observer"), e2e, palisade })
}

/// Runs cargo in the workspace; its output is the person's.
pub fn cargo(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(TREE)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed: its output stands above", arguments.join(" "));
    }
    Ok(())
}
