//! `cargo lab kubelets`: the chart on three machines with real kubelets, containerd and runc; its pods from the image
//! that `cargo lab image` makes. Install, a power cut, `helm test`, upgrade and rollback, uninstall, install again.
//!
//! Machines, BMCs, networks, observer and API server are those of every lab; a machine boots containerd and a kubelet
//! in place of an agent.

mod cluster;
mod life;
mod node;
mod programs;
mod static_pod;

use crate::records::write_json;
use crate::scenario::report::{self, Checks, Outcome};
use crate::scenario::stack::Options;
use anyhow::Result;
use cluster::Cluster;
use std::path::{Path, PathBuf};

/// As what an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// The chart's.
    Pods,
    /// A unit of the machine.
    Unit,
    /// A static pod of the machine's kubelet.
    StaticPod,
}

/// What `cargo lab kubelets` is given.
#[derive(Debug, Clone)]
pub struct Given {
    /// An image that was made before; none: it is made now.
    pub image: Option<PathBuf>,
    /// The commit of an earlier version: its chart and image are installed first, then upgraded from and rolled back to.
    pub before: Option<String>,
    /// As what agents run. Outside of the chart's pods: and then a power cut of all machines with the API away.
    pub agent: Agent,
    /// The service comes as an image.
    pub containers: bool,
    /// Only these parts of the whole; empty: all.
    pub only: Vec<String>,
}

/// Runs it in a fresh lab; writes `OUT/kubelets/verdict.json`. Answers whether all passed.
pub fn run(given: &Given, options: &Options, out: &Path) -> Result<bool> {
    let dir = out.join("kubelets");
    std::fs::create_dir_all(&dir)?;
    let mut checks = Checks::default();
    let cluster = Cluster::up(given, options, &dir)?;
    let ran = life::run(&cluster, given, &mut checks);
    let report = report::judge("kubelets", cluster.stack(), checks, ran);
    write_json(&dir.join("verdict.json"), &report)?;
    report.print();
    let passed = report.outcome == Outcome::Pass;
    cluster.end(&dir, passed, options)?;
    Ok(passed)
}
