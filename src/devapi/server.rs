//! The running server.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::http::{self, Shared, tls};
use crate::limits;
use crate::storage::file::OpenError;

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where objects, keys, token and kubeconfig lie. Only its owner can read what is made there.
    pub dir: PathBuf,
    /// Where to listen: an address of loopback. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Objects that are applied at each start, for example definitions.
    pub seed: Vec<Value>,
    /// Changes that watches can go back. Tests take few to meet 410 soon.
    pub window: usize,
}

impl Options {
    /// In `dir`, on a free port.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: Vec::new(),
            window: limits::HISTORY_EVENTS,
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Files or sockets.
    #[error("starting devapi: {0}")]
    Io(#[from] io::Error),
    /// It would be reachable from outside, with a token that lies in a file.
    #[error(
        "devapi listens on loopback only: give an address of 127.0.0.0/8 or ::1 instead of {0}"
    )]
    NotLoopback(SocketAddr),
    /// The store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An object of the seed was refused.
    #[error("seeding devapi: {0}")]
    Seed(String),
}

/// A running server. Dropping it does not stop it: [`Server::stop`] does.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    dir: PathBuf,
    engine: Arc<Engine>,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Opens the store and serves it.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        if !options.listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(options.listen));
        }
        let dir = options.dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let engine = Engine::open(&options.dir, options.window)?;
            if let Some(path) = engine.set_aside() {
                tracing::warn!(
                    path = %path.display(),
                    "the log ended in a half-written record, as after a crash: it was put aside; nothing that was \
                     acknowledged is missing"
                );
            }
            engine
                .seed(&options.seed)
                .map_err(|Failure { message, .. }| StartError::Seed(message))?;
            let identity = tls::identity(&options.dir)?;
            Ok::<_, StartError>((engine, identity))
        });
        let (engine, identity) =
            opened.await.map_err(|_| io::Error::other("opening the store panicked"))??;
        let engine = Arc::new(engine);
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        write_kubeconfig(&dir, address, &identity)?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            engine: Arc::clone(&engine),
            token: identity.token,
            address: address.to_string(),
            stop: stopped.clone(),
        });
        let listener = tls::TlsListener::new(listener, identity.config)?;
        let task = tokio::spawn(async move {
            let mut stopped = stopped;
            axum::serve(listener, http::router(shared))
                .with_graceful_shutdown(async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                })
                .await
        });
        Ok(Self { address, dir, engine, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig for kubectl, Helm and kube-rs.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The server without its sockets.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Ends watches, answers what is open, stops listening.
    pub async fn stop(self) -> io::Result<()> {
        self.stop.send_replace(true);
        // an idle connection that its client keeps does not hold us up
        let task = self.task;
        let abort = task.abort_handle();
        match tokio::time::timeout(limits::STOP_MAX, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(io::Error::other("the server panicked")),
            Err(_) => {
                abort.abort();
                Ok(())
            }
        }
    }
}

fn write_kubeconfig(dir: &Path, address: SocketAddr, identity: &tls::Identity) -> io::Result<()> {
    use base64::Engine as _;
    let authority = base64::engine::general_purpose::STANDARD.encode(&identity.authority_pem);
    // JSON is YAML
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "devapi",
        "clusters": [{"name": "devapi", "cluster": {
            "server": format!("https://{address}"), "certificate-authority-data": authority}}],
        "users": [{"name": "devapi", "user": {"token": identity.token}}],
        "contexts": [{"name": "devapi",
                      "context": {"cluster": "devapi", "user": "devapi", "namespace": "default"}}],
    });
    let text = serde_json::to_string_pretty(&config).map_err(io::Error::other)?;
    tls::write_private(&dir.join("kubeconfig"), &text)
}
