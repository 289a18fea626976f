//! What everybody needs who talks to an API server: a connection, a picture of all objects of a namespace that stays
//! fresh, and writes that happen only when something changes. Feature `client`.
//!
//! Promises: an object that cannot be read does not stop the rest, its last good version stays in the picture; nothing
//! is written that stands there already. Never: a decision. Controller and agent both build on it.

mod store;
mod write;

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

pub use store::{Picture, Store, Which};
pub use write::{Section, WriteError, apply, apply_status, current_status_has, delete_exactly};

/// Between a request and its answer; watches are longer by themselves. An API that hangs must look like one that is
/// away.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Why there is no connection. Nothing was sent; whoever started the process must correct its arguments.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file is missing or no kubeconfig.
    #[error("kubeconfig {path}: {source}; give a readable file with --kubeconfig")]
    Kubeconfig {
        /// Which file.
        path: String,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// No file was given and this is no pod.
    #[error("no --kubeconfig and no service account of a pod: {0}")]
    InCluster(Box<kube::config::InferConfigError>),
    /// What the file says makes no client.
    #[error("cannot make a client from the kubeconfig: {0}; check its certificates")]
    Client(Box<kube::Error>),
}

/// One provider of TLS in the whole program (CRATES.md section 3.7); whoever comes second finds it installed.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client from a kubeconfig, or from the pod's service account.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    install_provider();
    let mut config = match kubeconfig {
        Some(path) => {
            let at = path.display().to_string();
            let wrong = |e| ConnectError::Kubeconfig { path: at.clone(), source: Box::new(e) };
            let file = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(wrong)?
        }
        None => Config::infer().await.map_err(|e| ConnectError::InCluster(Box::new(e)))?,
    };
    config.connect_timeout = Some(REQUEST_TIME_MAX);
    config.write_timeout = Some(REQUEST_TIME_MAX);
    Client::try_from(config).map_err(|e| ConnectError::Client(Box::new(e)))
}
