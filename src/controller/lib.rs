//! The controller: intent in, placements out (DESIGN.md section 2).
//!
//! Promises: it compiles and says what it understood, and takes no part in failover; two of it do no harm, because one
//! holds the Lease, reads it again before it writes, and every write is by server-side apply of what follows from the
//! objects alone; settled, it writes nothing but that Lease. Never: an order to a machine, a stop of a service, a
//! decision about where something runs.
//!
//! ```text
//!   watches ─▶ dereference ─▶ validate, compile ─▶ desired ─▶ apply, status ─▶ API
//!   (client)    (picture)       (no client: crate compile, desired)   (client, Lease)
//! ```
//!
//! The middle is a function of the picture: `desired::actions`. The simulator uses it as it is.

pub mod apply;
pub mod dereference;
pub mod desired;
pub mod failures;
pub mod lease;
mod metrics;
mod serve;

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use api::client::{Store, Which};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use tracing::{info, warn};

pub use metrics::Metrics;

/// Without a change for this long, a picture is looked at (CLUSTER.md section 7).
pub const QUIET: Duration = Duration::from_millis(200);
/// What failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(2);

/// What `palisade controller` was called with.
#[derive(Clone, Debug)]
pub struct Args {
    /// `--kubeconfig`; without it the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// `--namespace` that is looked after.
    pub namespace: String,
    /// `--identity`: who holds the Lease; unique per replica.
    pub identity: String,
    /// `--listen`: metrics and health. `None`: not served.
    pub listen: Option<SocketAddr>,
    /// Times of the Lease.
    pub lease: lease::Times,
}

/// Why the controller ended. Nothing that runs is touched by that.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection can be made from the arguments.
    #[error(transparent)]
    Connect(#[from] api::client::ConnectError),
    /// The address for metrics is taken or not allowed.
    #[error("--listen {address}: {source}; choose another address")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The watches ended by themselves, which they never should.
    #[error("the watches ended; start the controller again")]
    WatchesEnded,
}

/// Runs until something ends it. Cancel by dropping.
pub async fn run(args: Args) -> Result<(), Error> {
    let client = api::client::connect(args.kubeconfig.as_deref()).await?;
    let metrics = Metrics::new();
    let _server = match args.listen {
        Some(address) => Some(serve::start(address, metrics.clone()).await?),
        None => None,
    };
    let mut store = Store::start(&client, &args.namespace, Which::Intent);
    let leader = lease::Elected::start(
        client.clone(),
        args.namespace.clone(),
        args.identity.clone(),
        args.lease,
    );
    let mut writer = apply::Writer::new(client, &args.namespace, &args.identity, metrics.clone());
    info!(namespace = args.namespace, identity = args.identity, "controller started");
    let mut failures = failures::Failures::default();
    let mut again = true;
    loop {
        // woken by a change, by a change of leadership, or to try again what failed
        tokio::select! {
            alive = store.settled(QUIET) => if !alive { return Err(Error::WatchesEnded) },
            () = leader.changed() => {}
            () = tokio::time::sleep(RETRY), if again => {}
        }
        metrics.leader(leader.is_held());
        metrics.listed(store.listed());
        again = !store.listed();
        if !store.listed() {
            continue;
        }
        let begun = Instant::now();
        let picture = store.picture();
        // looked at without the Lease too: whoever takes it over tells nothing twice
        let news = failures.news(&picture);
        if !leader.is_held() {
            continue;
        }
        let now = Time(Timestamp::now());
        let actions: Vec<_> = dereference::clusters(&picture)
            .into_iter()
            .flat_map(|(name, objects)| desired::actions(&name, &objects, &picture, &now))
            .chain(news)
            .collect();
        metrics.compiled(actions.len());
        let done = writer.carry_out(&actions, &leader).await;
        metrics.reconciled(done.is_ok(), begun.elapsed());
        if let Err(error) = done {
            warn!(%error, "not everything was written, it is tried again");
            again = true;
        }
    }
}
