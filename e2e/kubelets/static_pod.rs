//! The agent as a static pod, as docs/install.md tells it: credentials that are bound to the machine, then the file.

use super::cluster::{Cluster, RELEASE};
use crate::machine::Machine;
use crate::network::{API_SERVER_HOST, Network};
use crate::records::write_json;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Where the machines' kubelets look for them.
pub(super) const FOLDER: &str = "/etc/kubernetes/manifests";
/// Name of the file.
const FILE: &str = "palisade-agent.yaml";
/// Who speaks to the API, and where it finds its kubeconfig.
const PARTS: [(&str, &str); 2] =
    [("agent", "/etc/palisade/ring"), ("fencer", "/etc/palisade/fencer")];

/// A kubeconfig for each part that speaks to the API, with a token that is bound to this machine's Node.
pub(super) fn credentials(cluster: &Cluster, machine: &Machine) -> Result<()> {
    let lab = cluster.stack().lab();
    for (part, folder) in PARTS {
        let account = format!("{RELEASE}-{part}");
        let bound = ["--bound-object-kind=Node", "--bound-object-name", machine.name()];
        let token = cluster
            .kubectl(&[&["create", "token", &account, "--duration=24h"], &bound[..]].concat())?;
        let here = on(machine, folder)?;
        fs::create_dir_all(&here)?;
        fs::copy(lab.dir().join("kube/ca.crt"), here.join("ca.crt"))?;
        fs::write(here.join("token"), token.trim())?;
        let server = format!("https://{}:6443", Network::Api.address(API_SERVER_HOST));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "palisade",
            "clusters": [{"name": "palisade", "cluster": {
                "server": server, "certificate-authority": format!("{folder}/ca.crt")}}],
            "users": [{"name": part, "user": {"tokenFile": format!("{folder}/token")}}],
            "contexts": [{"name": "palisade", "context": {"cluster": "palisade", "user": part}}],
        });
        write_json(&here.join("kubeconfig"), &config)?;
    }
    Ok(())
}

/// Puts the file there, whole: in place of the one before.
pub(super) fn put(machine: &Machine, text: &str) -> Result<()> {
    let beside = on(machine, "/etc/kubernetes")?.join(FILE);
    fs::write(&beside, text)?;
    fs::rename(&beside, on(machine, FOLDER)?.join(FILE)).context("the static pod's file")
}

/// A path of a machine that is on.
fn on(machine: &Machine, path: &str) -> Result<std::path::PathBuf> {
    Ok(machine.root()?.join(Path::new(path).strip_prefix("/")?))
}
