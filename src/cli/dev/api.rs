//! The API of a box: devapi in this process, or a real one that the person named; kubeconfigs for people and machines.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    objects::{self, NAMESPACE},
    plan::{Folder, Plan, write_private},
};

/// A real API server takes a moment to serve a new definition.
const DEFINITIONS_PATIENCE: u32 = 20;

/// Running, with its kubeconfig written.
pub(super) enum ApiServer {
    /// Ours, in this process.
    Dev(devapi::Server),
    /// Somebody else's; this is how it is reached.
    Given(PathBuf),
}

impl ApiServer {
    pub(super) async fn start(folder: &Folder, given: Option<&Path>) -> Result<Self> {
        let definitions: Vec<Value> =
            api::crds().iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let this = match given {
            Some(path) => {
                let path = std::path::absolute(path)?;
                objects::apply(&path, &definitions).await?;
                Self::Given(path)
            }
            None => {
                let mut options = devapi::Options::new(folder.api());
                options.seed = definitions;
                Self::Dev(devapi::Server::start(options).await?)
            }
        };
        let config = this.config()?;
        write_private(&folder.kubeconfig(), &serde_json::to_vec_pretty(&in_namespace(config))?)?;
        Ok(this)
    }

    /// Ours only: a real one is reached directly, and its way is not cut with a machine's cables.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Dev(server) => Some(server.address()),
            Self::Given(_) => None,
        }
    }

    fn config(&self) -> Result<Value> {
        let path = match self {
            Self::Dev(server) => server.kubeconfig(),
            Self::Given(path) => path.clone(),
        };
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_yaml::from_str(&text).with_context(|| format!("{}: no kubeconfig", path.display()))
    }

    /// One for each machine, by its own way where it has one.
    pub(super) fn write_for_machines(
        &self,
        folder: &Folder,
        plan: &Plan,
        relays: &[SocketAddr],
    ) -> Result<()> {
        for (index, node) in plan.nodes.iter().enumerate() {
            let mut config = self.config()?;
            if let Some(relay) = relays.get(index) {
                config["clusters"][0]["cluster"]["server"] = json!(format!("https://{relay}"));
            }
            let path = folder.machine(&node.name).join("kubeconfig");
            write_private(&path, &serde_json::to_vec_pretty(&config)?)?;
        }
        Ok(())
    }

    /// The first objects, once.
    pub(super) async fn make_objects(
        &self,
        folder: &Folder,
        plan: &mut Plan,
        power_off: Duration,
    ) -> Result<()> {
        if plan.objects_made {
            return Ok(());
        }
        let all = objects::first(plan, power_off)?;
        let mut tries = 0;
        while let Err(error) = objects::apply(&folder.kubeconfig(), &all).await {
            tries += 1;
            if tries == DEFINITIONS_PATIENCE || matches!(self, Self::Dev(_)) {
                bail!(error.context("the first objects were not made"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        plan.objects_made = true;
        folder.store(plan)
    }

    pub(super) async fn stop(self) -> Result<()> {
        match self {
            Self::Dev(server) => server.stop().await.context("stopping the API server"),
            Self::Given(_) => Ok(()),
        }
    }
}

/// So that `kubectl get palisade` needs no `-n`.
fn in_namespace(mut config: Value) -> Value {
    let current = config["current-context"].clone();
    for context in config["contexts"].as_array_mut().into_iter().flatten() {
        if context["name"] == current {
            context["context"]["namespace"] = json!(NAMESPACE);
        }
    }
    config
}
