//! `cargo lab api -- COMMAND`: a command beside a real API server that was started for it.
//!
//! For tests of other crates that ask devapi and Kubernetes the same. They find the server under two names: `KUBECONFIG`, as
//! everything does, and `PALISADE_REAL_API`, which nobody has set by accident.

use crate::kubebox::{KubeBox, Parts};
use crate::lab::{self, Lab, LabSpec};
use crate::product::TREE;
use crate::{chart, kubebox};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where tests find the kubeconfig of a real API server.
pub const REAL_API: &str = "PALISADE_REAL_API";

/// A real API server without machines, as long as this lives.
#[derive(Debug)]
pub struct Beside {
    lab: Lab,
    api: KubeBox,
    tools: PathBuf,
    _lock: fs::File,
}

impl Beside {
    /// Starts it in a lab of its own; its kubectl and a helm are made ready.
    pub fn start(name: &str) -> Result<Self> {
        let dir = Lab::default_dir(name);
        let lock = lab::lock(&dir)?;
        let lab = Lab::create(&dir, LabSpec::three(name), &std::env::current_exe()?)?;
        let parts = Parts { controllers: true, scheduler: false };
        let api = match KubeBox::start(&lab, parts) {
            Ok(api) => api,
            Err(error) => {
                lab.down()?;
                return Err(error);
            }
        };
        let tools = tools(lab.dir())?;
        Ok(Self { lab, api, tools, _lock: lock })
    }

    /// Runs a command in the tree, with the server and its tools in the environment.
    pub fn run(&self, argv: &[&str]) -> Result<()> {
        let (program, arguments) = argv.split_first().context("no command")?;
        let mut folders = vec![self.tools.clone()];
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let kubeconfig = self.api.kubeconfig("host");
        let status = Command::new(program)
            .args(arguments)
            .current_dir(TREE)
            .env("PATH", std::env::join_paths(folders)?)
            .env("KUBECONFIG", &kubeconfig)
            .env(REAL_API, &kubeconfig)
            .status()
            .with_context(|| format!("running {program}"))?;
        if !status.success() {
            bail!("`{}`: {status}", argv.join(" "));
        }
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Err(error) = self.lab.down().and_then(|()| self.lab.purge()) {
            eprintln!("lab: the API server's lab is not all down: {error:#}");
        }
    }
}

/// A folder with `kubectl` (the server's own version) and `helm`.
fn tools(dir: &Path) -> Result<PathBuf> {
    let folder = dir.join("tools");
    fs::create_dir_all(&folder)?;
    let programs = [
        ("kubectl", format!("{} kubectl", kubebox::build()?.display())),
        ("helm", chart::helm()?.display().to_string()),
    ];
    for (name, command) in programs {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\nexec {command} \"$@\"\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}
