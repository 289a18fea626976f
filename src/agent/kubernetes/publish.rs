//! Writes the mirror: what differs, in one batch, when this member speaks for the cluster.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{
    FenceDevice, FencingOperation, HACluster, HANode, LoadBalancer, ResourcePlacement, VirtualIP,
    client::{WriteError, apply, apply_status, delete_exactly},
    names::manager,
};
use cluster::Status as View;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, warn};

use super::{Shared, mirror};
use crate::{
    kubernetes::mirror::{Kind, Write},
    metrics,
};

/// A batch is to be written once more.
#[derive(Clone, Copy)]
struct Again {
    pause: Duration,
    /// The API could not be reached; else it refused something. One that has just started refuses what it will allow: it
    /// knows objects before it knows roles.
    away: bool,
}

/// Between two batches: a failover in progress is not told step by step.
const PAUSE: Duration = Duration::from_millis(300);
/// After a batch that the API did not take, or not whole; twice as long after each further one, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// What was written counts as standing there for this long, until the watch has brought it back.
const ECHO: Duration = Duration::from_secs(10);

pub(super) async fn run(shared: Arc<Shared>, mut views: watch::Receiver<Option<Arc<View>>>) {
    let mut pictures = shared.picture.subscribe();
    let mut written: BTreeMap<(Kind, String), (Value, Instant)> = BTreeMap::new();
    let mut refused: BTreeMap<(Kind, String), String> = BTreeMap::new();
    let mut again: Option<Again> = None;
    loop {
        tokio::select! {
            // while the API is away a failover may change the view often: that is no reason to ask it more often
            changed = views.changed(), if again.is_none_or(|again| !again.away) => if changed.is_err() { return },
            changed = pictures.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again.map_or(Duration::ZERO, |a| a.pause)), if again.is_some() => {}
        }
        tokio::time::sleep(PAUSE).await;
        let pause = again.take().map_or(AGAIN.0, |waited| (waited.pause * 2).min(AGAIN.1));
        let view = views.borrow_and_update().clone();
        let Some(view) = view.filter(|v| shared.speaks(v)) else { continue };
        let picture = Arc::clone(&*pictures.borrow_and_update());
        let revision = shared.revision.borrow().clone();
        let Some(revision) = revision else { continue };
        let now = Time(Timestamp::now());
        written.retain(|_, (_, at)| at.elapsed() < ECHO);
        for write in mirror::writes(&view, &revision, &picture, &now) {
            let key = write.key();
            if let (Write::Status { status, .. }, Some((last, _))) = (&write, written.get(&key))
                && mirror::same(last, status)
            {
                continue;
            }
            let done = carry_out(&shared, &write).await;
            count(&shared.metrics.api, key.0, &done);
            match done {
                Ok(()) => {
                    refused.remove(&key);
                    if let Write::Status { status, .. } = write {
                        written.insert(key, (status, Instant::now()));
                    }
                }
                Err(error) if error.is_gone() => {}
                // the rest waits: one unreachable API is one line, not one for each object
                Err(WriteError::Away(error)) => {
                    debug!(%error, "status cannot be written");
                    again = Some(Again { pause, away: true });
                    break;
                }
                Err(error) => {
                    let why = error.to_string();
                    // one line, however often it is tried
                    if refused.get(&key) != Some(&why) {
                        warn!(%error, kind = ?key.0, name = key.1, "status is refused");
                        refused.insert(key, why);
                    }
                    again = Some(Again { pause, away: false });
                }
            }
        }
        if again.is_none() {
            refused.clear();
        }
    }
}

/// One that is gone in the meantime is no failure.
fn count(api: &metrics::Api, kind: Kind, done: &Result<(), WriteError>) {
    let family = match done {
        Ok(()) => &api.writes,
        Err(error) if error.is_gone() => return,
        Err(_) => &api.failures,
    };
    family.get_or_create(&metrics::Kind { kind: kind.word() }).inc();
}

async fn carry_out(shared: &Shared, write: &Write) -> Result<(), WriteError> {
    let (client, namespace) = (&shared.client, shared.namespace.as_str());
    match write {
        Write::Operation { body, .. } => {
            let own = manager::COORDINATOR;
            apply::<FencingOperation>(client, namespace, own, body).await.map(drop)
        }
        Write::Forget(operation) => delete_exactly(client, namespace, &**operation).await,
        Write::Status { kind, name, status } => {
            let own = mirror::section(*kind).manager;
            match kind {
                Kind::FencingOperation => {
                    apply_status::<FencingOperation>(client, namespace, own, name, status).await
                }
                Kind::FenceDevice => {
                    apply_status::<FenceDevice>(client, namespace, own, name, status).await
                }
                Kind::HACluster => {
                    apply_status::<HACluster>(client, namespace, own, name, status).await
                }
                Kind::HANode => apply_status::<HANode>(client, namespace, own, name, status).await,
                Kind::ResourcePlacement => {
                    apply_status::<ResourcePlacement>(client, namespace, own, name, status).await
                }
                Kind::LoadBalancer => {
                    apply_status::<LoadBalancer>(client, namespace, own, name, status).await
                }
                Kind::VirtualIP => {
                    apply_status::<VirtualIP>(client, namespace, own, name, status).await
                }
            }
        }
    }
}
