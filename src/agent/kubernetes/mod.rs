//! Between this member and the API: intent in, status out.
//!
//! Promises: the API is never waited for by anything that keeps the control plane alive; an API that is away, slow or
//! lying about the past changes nothing but a condition; what is written is written by the coordinator, once, and only
//! when it differs. Never: a decision; a Secret by `list` or `watch`; a BMC's password (the fencer has those).
//!
//! ```text
//!   watches ─▶ feed ─▶ compile ─▶ revision ──▶ ring          (200 ms without a change)
//!   Secret ──▶ keys ────────────▶ ring keys ─▶ ring
//!   FencingRequest, FencingConfirmation ─▶ requests ─▶ ring ─▶ their status   (coordinator only)
//!   ring ─▶ view ─▶ mirror ─▶ status of all objects, FencingOperations        (coordinator only)
//!   no ring ─▶ alone ─▶ one condition of the member's own HANode              (each for itself)
//! ```
//!
//! Follows CLUSTER.md section 7.

pub mod alone;
mod feed;
mod judgements;
mod keys;
pub mod mirror;
mod publish;
mod requests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use api::client::{Store, Which, connect};
use cluster::Status as View;
pub(crate) use judgements::is_of;
use policy::revision::Revision;
use tokio::sync::{mpsc, watch};

use crate::{keys::RingKeys, local::Call, metrics::Metrics};

/// Without a change for this long, objects are compiled (CLUSTER.md section 7).
const QUIET: Duration = Duration::from_millis(200);
/// Between tries to make a connection at all.
const CONNECT_AGAIN: Duration = Duration::from_secs(5);

/// News for the ring.
#[derive(Clone)]
pub enum News {
    /// Whether the API can be reached: a condition, nothing else (CLUSTER.md section 7).
    Api(Result<(), String>),
    /// The highest `observedEra` that any object carries: an era opened from the empty state starts above it.
    Era(u64),
    /// The ring keys.
    Keys(RingKeys),
    /// What stands in place of the ring keys, and what to do.
    KeysWrong(String),
    /// A compiled revision.
    Revision(Box<Revision>),
}

/// What this part starts with.
pub struct Setup<N> {
    /// `--kubeconfig`; without it the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the cluster object.
    pub namespace: String,
    /// Its name.
    pub cluster: String,
    /// The newest revision that this member has seen: what objects turn into that cannot be understood any more.
    pub known: Option<Revision>,
    /// To the ring.
    pub news: mpsc::Sender<N>,
    /// To the ring: what people ask for through the API.
    pub calls: mpsc::Sender<Call>,
    /// From the ring: the engine's view whenever it changed.
    pub views: watch::Receiver<Option<Arc<View>>>,
    /// This member, and why it cannot be in a ring, if so.
    pub lonely: (String, watch::Receiver<Option<String>>),
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Runs until the ring is gone. On a runtime of its own: nothing here may hold the ring's thread up.
pub async fn run<N: From<News> + Send + 'static>(setup: Setup<N>) {
    let client = loop {
        match connect(setup.kubeconfig.as_deref()).await {
            Ok(client) => break client,
            Err(error) => {
                if setup.news.send(News::Api(Err(error.to_string())).into()).await.is_err() {
                    return;
                }
                tokio::time::sleep(CONNECT_AGAIN).await;
            }
        }
    };
    let store = Store::start(&client, &setup.namespace, Which::Agent);
    let shared = Arc::new(Shared {
        client,
        namespace: setup.namespace,
        cluster: setup.cluster,
        revision: watch::Sender::new(setup.known.map(Arc::new)),
        picture: watch::Sender::new(Arc::default()),
        metrics: setup.metrics,
    });
    let parts = (
        feed::run(Arc::clone(&shared), store, setup.news.clone()),
        keys::run(Arc::clone(&shared), setup.news.clone()),
        requests::run(Arc::clone(&shared), setup.calls, setup.views.clone()),
        publish::run(Arc::clone(&shared), setup.views),
        alone::run(Arc::clone(&shared), setup.lonely.0, setup.lonely.1),
    );
    tokio::select! {
        () = parts.0 => {}
        () = parts.1 => {}
        () = parts.2 => {}
        () = parts.3 => {}
        () = parts.4 => {}
        () = setup.news.closed() => {}
    }
}

/// What the parts have in common.
struct Shared {
    client: kube::Client,
    namespace: String,
    cluster: String,
    /// The last compiled revision.
    revision: watch::Sender<Option<Arc<Revision>>>,
    /// The last picture that was complete.
    picture: watch::Sender<Arc<api::client::Picture>>,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// Whether this member is the one that speaks for the cluster in its own view.
    fn speaks(&self, view: &View) -> bool {
        view.me.is_some() && view.coordinator == view.me && !view.stalled
    }
}
