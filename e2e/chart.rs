//! The programs that judge the chart: helm, promtool, Lua. Found on PATH, or brought.

use crate::command::run;
use crate::{install, kubebox};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Of which helm, where none is on PATH.
const HELM: &str = "v3.22.0";

/// Where they are.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Helm 3.
    pub helm: PathBuf,
    /// Of Prometheus, for rules and their tests.
    pub promtool: PathBuf,
    /// Lua 5.1, as Argo CD's.
    pub lua: PathBuf,
}

impl Tools {
    /// Finds them. Installs Debian's promtool and Lua, builds helm once, where they are missing.
    pub fn find() -> Result<Self> {
        let wanted = [("promtool", "prometheus"), ("lua5.1", "lua5.1")];
        let missing: Vec<&str> =
            wanted.iter().filter(|(p, _)| on_path(p).is_none()).map(|(_, p)| *p).collect();
        install::debian(&missing)?;
        let found = |program: &str| on_path(program).with_context(|| format!("no {program}"));
        Ok(Self { helm: helm()?, promtool: found("promtool")?, lua: found("lua5.1")? })
    }

    /// PATH with these in front.
    pub fn path(&self) -> Result<OsString> {
        let mut folders: Vec<PathBuf> = [&self.helm, &self.promtool, &self.lua]
            .iter()
            .filter_map(|tool| tool.parent().map(Path::to_owned))
            .collect();
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        Ok(std::env::join_paths(folders)?)
    }

    /// `helm ARGS`, its standard output.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        run(&self.helm.display().to_string(), args)
    }
}

/// Helm: that of PATH, or built once.
pub fn helm() -> Result<PathBuf> {
    on_path("helm").map_or_else(build_helm, Ok)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn build_helm() -> Result<PathBuf> {
    let folder = kubebox::cache_dir()?.join(format!("helm-{HELM}"));
    let helm = folder.join("helm");
    if helm.is_file() {
        return Ok(helm);
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    eprintln!("chart: building helm {HELM} (some minutes, once)");
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/go/bin";
    let status = Command::new("go")
        .env("PATH", path)
        .env("GOBIN", &folder)
        .args(["install", &format!("helm.sh/helm/v3/cmd/helm@{HELM}")])
        .stdin(Stdio::null())
        .status()
        .context("cannot run `go`: install helm 3, or Go 1.26 to build it")?;
    if !status.success() {
        bail!("building helm failed: its output stands above");
    }
    Ok(helm)
}
