//! Whom `palisade status` asks: the local agent, or the API (DESIGN.md section 7).
//!
//! A machine's own agent knows more than the API, and knows it earlier, so it is asked where there is one. Whoever names a
//! kubeconfig, or comes as kubectl's plugin, asks the API; if that is away and there is a local agent, the agent.

use std::{path::PathBuf, time::Duration};

use agent::status::Status;
use anyhow::{Context as _, Result, bail};
use api::{FenceDevice, FencingOperation, HACluster, HANode, ResourcePlacement};
use kube::{
    Api, Client, Config, Resource,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    mirrored::{Objects, status},
    view::View,
};
use crate::local::Socket;

/// For all lists together.
const PATIENCE: Duration = Duration::from_secs(8);
/// Objects of one kind that are read.
const OBJECTS_MAX: u32 = 1000;

/// How the API is reached; as kubectl's own flags.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Reach {
    /// Ask the API by this file, in place of the local agent.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the cluster; the context's when left out.
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
    /// The HACluster, where a namespace has several.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// Who is asked, the second one if the first does not answer.
pub(crate) struct Source<'a> {
    socket: &'a Socket,
    reach: &'a Reach,
    api_first: bool,
}

impl<'a> Source<'a> {
    /// `plugin`: called as kubectl's.
    pub(super) fn choose(socket: &'a Socket, reach: &'a Reach, plugin: bool) -> Self {
        let named = reach.kubeconfig.is_some() || reach.context.is_some();
        let named = named || reach.namespace.is_some() || reach.cluster.is_some();
        let api_first = !socket.is_named() && (named || plugin || !socket.is_there());
        Self { socket, reach, api_first }
    }

    pub(super) const fn asks_api(&self) -> bool {
        self.api_first
    }

    pub(super) fn status(&self) -> Result<Status> {
        if !self.api_first {
            return self.socket.status();
        }
        match self.reach.status() {
            Err(away) if self.socket.is_there() => {
                eprintln!("palisade: the API does not answer ({away:#}): as the local agent sees it");
                self.socket.status()
            }
            Err(away) if !self.socket.is_named() => Err(away.context(
                "no agent runs on this machine and the API cannot be asked: name it by --kubeconfig, or an agent's socket by --agent",
            )),
            answer => answer,
        }
    }

    pub(super) fn look(&self) -> Result<View> {
        if self.api_first {
            Ok(View::new(&self.status()?, Vec::new()))
        } else {
            View::look(self.socket)
        }
    }
}

impl Reach {
    fn status(&self) -> Result<Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = async { tokio::time::timeout(PATIENCE, self.ask()).await };
        runtime.block_on(asked).context("it does not answer in time")?
    }

    async fn config(&self) -> Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        Ok(match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let file = Kubeconfig::read_from(path)
                    .with_context(|| format!("{}: no kubeconfig", path.display()))?;
                Config::from_custom_kubeconfig(file, &options).await?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await?,
            (None, None) => Config::infer().await?,
        })
    }

    /// A client and the namespace that is meant.
    pub(crate) async fn client(&self) -> Result<(Client, String)> {
        api::client::install_provider();
        let config = self.config().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok((Client::try_from(config)?, namespace))
    }

    async fn ask(&self) -> Result<Status> {
        let (client, namespace) = self.client().await?;
        let mut clusters = list::<HACluster>(&client, &namespace).await?;
        if let Some(name) = &self.cluster {
            clusters.retain(|cluster| cluster["metadata"]["name"] == name.as_str());
        }
        let [cluster] = clusters.as_slice() else {
            let names: Vec<&str> =
                clusters.iter().filter_map(|c| c["metadata"]["name"].as_str()).collect();
            if names.is_empty() {
                bail!("no HACluster in namespace {namespace}: choose another by --namespace");
            }
            bail!(
                "several clusters in namespace {namespace}: choose one by --cluster ({})",
                names.join(", ")
            );
        };
        let objects = Objects {
            cluster,
            nodes: &list::<HANode>(&client, &namespace).await?,
            placements: &list::<ResourcePlacement>(&client, &namespace).await?,
            operations: &list::<FencingOperation>(&client, &namespace).await?,
            devices: &list::<FenceDevice>(&client, &namespace).await?,
        };
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let at_ms = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or_default();
        Ok(status(&objects, at_ms))
    }
}

/// All objects of a kind as they came.
pub(crate) async fn list<K>(client: &Client, namespace: &str) -> Result<Vec<Value>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let found = api.list(&ListParams::default().limit(OBJECTS_MAX)).await?;
    Ok(found.items.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}
