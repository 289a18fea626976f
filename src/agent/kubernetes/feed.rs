//! Objects into revisions: the picture after a quiet moment, compiled over the last one.

use std::{sync::Arc, time::Duration};

use api::client::{Picture, Store};
use compile::{Objects, compile};
use kube::ResourceExt;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::{News, QUIET, Shared};
use crate::metrics::unix_now;

/// The API counts as away when a plain look takes longer than that, or fails.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether the API is there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run<N: From<News>>(
    shared: Arc<Shared>,
    mut store: Store,
    news: mpsc::Sender<N>,
) {
    let mut reached: Option<Result<(), String>> = None;
    let mut look_at = Instant::now();
    let mut highest_era = 0;
    loop {
        tokio::select! {
            alive = store.settled(QUIET) => if !alive { return },
            () = tokio::time::sleep_until(look_at) => {
                look_at = Instant::now() + LOOK_EVERY;
                let now = look(&shared).await;
                shared.metrics.api.reachable.set(now.is_ok().into());
                if now.is_ok() {
                    shared.metrics.api.last_contact.set(unix_now());
                }
                if reached.as_ref() != Some(&now) {
                    reached = Some(now.clone());
                    if news.send(News::Api(now).into()).await.is_err() { return }
                }
                continue;
            }
        }
        if !store.listed() {
            continue;
        }
        let picture = Arc::new(store.picture());
        shared.picture.send_replace(Arc::clone(&picture));
        let era = eras(&picture);
        if era > highest_era {
            highest_era = era;
            if news.send(News::Era(era).into()).await.is_err() {
                return;
            }
        }
        let known = shared.revision.borrow().clone();
        let compiled = compile(&objects(&picture, &shared.cluster), known.as_deref());
        for (key, verdict) in compiled.verdicts.iter().filter(|(_, v)| !v.accepted()) {
            let why = verdict.judgement().message;
            warn!(kind = key.kind, name = key.name, why, "not taken");
        }
        let Some(revision) = compiled.revision else { continue };
        if known.as_deref() == Some(&revision) {
            continue;
        }
        info!(
            objects = revision.objects.len(),
            placements = revision.placements.len(),
            "objects changed: a new revision"
        );
        shared.revision.send_replace(Some(Arc::new(revision.clone())));
        if news.send(News::Revision(Box::new(revision)).into()).await.is_err() {
            return;
        }
    }
}

/// The objects of one cluster. Addresses and balancers count as the placements that the controller made of them.
pub(super) fn objects(picture: &Picture, cluster: &str) -> Objects {
    let found = picture.clusters.get(cluster).filter(|c| c.metadata.deletion_timestamp.is_none());
    Objects {
        cluster: found.cloned(),
        nodes: picture.nodes.values().cloned().collect(),
        devices: picture.devices.values().cloned().collect(),
        placements: picture.placements.values().cloned().collect(),
        constraints: picture.constraints.values().cloned().collect(),
        addresses: Vec::new(),
        balancers: Vec::new(),
    }
    .of_cluster(cluster)
}

/// The highest era that anything was mirrored in.
fn eras(picture: &Picture) -> u64 {
    let clusters = picture.clusters.values().filter_map(|o| o.status.as_ref()?.observed_era);
    let nodes = picture.nodes.values().filter_map(|o| o.status.as_ref()?.observed_era);
    let placements = picture.placements.values().filter_map(|o| o.status.as_ref()?.observed_era);
    let operations = picture.operations.values().filter_map(|o| o.status.as_ref()?.observed_era);
    let devices = picture.devices.values().filter_map(|o| o.status.as_ref()?.observed_era);
    let all = clusters.chain(nodes).chain(placements).chain(operations).chain(devices);
    let highest = all.max();
    u64::try_from(highest.unwrap_or_default()).unwrap_or_default()
}

/// One cheap request. Its answer is a condition and nothing else.
async fn look(shared: &Shared) -> Result<(), String> {
    let api = kube::Api::<api::HACluster>::namespaced(shared.client.clone(), &shared.namespace);
    match timeout(LOOK_TIME_MAX, api.get_metadata_opt(&shared.cluster)).await {
        Ok(Ok(Some(found))) if found.name_any() == shared.cluster => Ok(()),
        Ok(Ok(_)) => Err(format!(
            "HACluster {}/{} does not exist: apply it, or correct --namespace and --cluster",
            shared.namespace, shared.cluster
        )),
        Ok(Err(error)) => Err(format!("the API cannot be used: {error}")),
        Err(_) => Err("the API does not answer".into()),
    }
}
