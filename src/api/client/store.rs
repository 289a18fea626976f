//! A picture of all objects of a namespace, kept fresh by one watch per kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tracing::{debug, warn};

use crate::{
    FenceDevice, FencingConfirmation, FencingOperation, FencingRequest, HACluster, HANode,
    LoadBalancer, PlacementConstraint, ResourcePlacement, VirtualIP,
};

/// Longest wait for a quiet moment: a stream of changes must not keep the newest from ever being looked at.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(2);

/// Between a version that the server has forgotten and the next list.
const LIST_AGAIN: Duration = Duration::from_secs(1);

/// Objects by name, as they were last seen.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Clusters.
    pub clusters: BTreeMap<String, HACluster>,
    /// Members.
    pub nodes: BTreeMap<String, HANode>,
    /// Fence devices.
    pub devices: BTreeMap<String, FenceDevice>,
    /// Requests to fence.
    pub requests: BTreeMap<String, FencingRequest>,
    /// Confirmations that a machine is off.
    pub confirmations: BTreeMap<String, FencingConfirmation>,
    /// Records of fencing.
    pub operations: BTreeMap<String, FencingOperation>,
    /// What is to run.
    pub placements: BTreeMap<String, ResourcePlacement>,
    /// Where, and in which order.
    pub constraints: BTreeMap<String, PlacementConstraint>,
    /// Addresses.
    pub addresses: BTreeMap<String, VirtualIP>,
    /// Names of the Nodes of the Kubernetes cluster; `None` while nothing is known of them, for example without a right.
    pub machines: Option<BTreeSet<String>>,
    /// Load balancers.
    pub balancers: BTreeMap<String, LoadBalancer>,
    /// Objects that cannot be read, by kind and name, with the reason. Their last good version stays above.
    pub unreadable: BTreeMap<(String, String), String>,
    /// The Nodes were listed, or cannot be.
    machines_tried: bool,
    /// Kinds that were listed at least once since the start.
    listed: BTreeSet<&'static str>,
}

/// Which kinds are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What the controller needs: all but the records of fencing and the requests; and the names of the Nodes.
    Intent,
    /// What an agent needs: all but the addresses, which it knows as placements.
    Agent,
}

impl Which {
    /// Kinds that are watched.
    const fn kinds(self) -> usize {
        match self {
            Self::Intent => 7,
            Self::Agent => 10,
        }
    }
}

/// Keeps the picture. Dropping it ends the watches.
#[derive(Debug)]
pub struct Store {
    picture: Arc<Mutex<Picture>>,
    which: Which,
    changed: watch::Receiver<u64>,
    _watches: JoinSet<()>,
}

/// A kind and its place in the picture.
trait Kept:
    Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    const KIND: &'static str;
    fn place(picture: &mut Picture) -> &mut BTreeMap<String, Self>;
}

macro_rules! kept {
    ($($kind:ident in $field:ident),+ $(,)?) => {$(
        impl Kept for $kind {
            const KIND: &'static str = stringify!($kind);
            fn place(picture: &mut Picture) -> &mut BTreeMap<String, Self> {
                &mut picture.$field
            }
        }
    )+};
}

kept! {
    FenceDevice in devices,
    FencingConfirmation in confirmations,
    FencingOperation in operations,
    FencingRequest in requests,
    HACluster in clusters,
    HANode in nodes,
    LoadBalancer in balancers,
    PlacementConstraint in constraints,
    ResourcePlacement in placements,
    VirtualIP in addresses,
}

impl Store {
    /// Begins to watch. The picture is empty until [`Self::listed`] says otherwise.
    pub fn start(client: &Client, namespace: &str, which: Which) -> Self {
        let picture = Arc::new(Mutex::new(Picture::default()));
        let (tell, changed) = watch::channel(0_u64);
        let mut watches = JoinSet::new();
        let begin = Begin { client, namespace, picture: &picture, tell: &tell };
        begin.watch::<HACluster>(&mut watches);
        begin.watch::<HANode>(&mut watches);
        begin.watch::<FenceDevice>(&mut watches);
        begin.watch::<ResourcePlacement>(&mut watches);
        begin.watch::<PlacementConstraint>(&mut watches);
        begin.watch::<VirtualIP>(&mut watches);
        begin.watch::<LoadBalancer>(&mut watches);
        if which == Which::Agent {
            begin.watch::<FencingRequest>(&mut watches);
            begin.watch::<FencingConfirmation>(&mut watches);
            begin.watch::<FencingOperation>(&mut watches);
        } else {
            begin.machines(&mut watches);
        }
        Self { picture, which, changed, _watches: watches }
    }

    /// Waits for a change and then for `quiet` without another one, but not for ever. False: the watches are gone.
    pub async fn settled(&mut self, quiet: Duration) -> bool {
        if self.changed.changed().await.is_err() {
            return false;
        }
        let give_up = Instant::now() + QUIET_WAIT_MAX;
        loop {
            let until = (Instant::now() + quiet).min(give_up);
            match tokio::time::timeout_at(until, self.changed.changed()).await {
                Ok(Ok(())) if Instant::now() < give_up => {}
                Ok(Ok(())) | Err(_) => return true,
                Ok(Err(_)) => return false,
            }
        }
    }

    /// Whether every kind was listed once: before that, what is missing may only not have been seen.
    pub fn listed(&self) -> bool {
        let machines = self.which == Which::Intent;
        self.look(|p| p.listed.len() == self.which.kinds() && (p.machines_tried || !machines))
    }

    /// The picture as it is.
    pub fn picture(&self) -> Picture {
        self.look(Picture::clone)
    }

    /// A look at the picture without a copy.
    pub fn look<T>(&self, at: impl FnOnce(&Picture) -> T) -> T {
        at(&lock(&self.picture))
    }
}

/// A server that answers the start of a watch itself with 410, and not within its stream: the watcher would ask for the
/// same version for ever. It is to list again.
fn is_expired(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

/// A watch that panicked left whole objects behind: each change is one insert or remove.
fn lock(picture: &Mutex<Picture>) -> MutexGuard<'_, Picture> {
    picture.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Begin<'a> {
    client: &'a Client,
    namespace: &'a str,
    picture: &'a Arc<Mutex<Picture>>,
    tell: &'a watch::Sender<u64>,
}

impl Begin<'_> {
    fn watch<K: Kept>(&self, watches: &mut JoinSet<()>) {
        let api = Api::<DeserializeGuard<K>>::namespaced(self.client.clone(), self.namespace);
        let (picture, tell) = (Arc::clone(self.picture), self.tell.clone());
        watches.spawn(async move {
            loop {
                let mut listing = None;
                let events = watcher(api.clone(), watcher::Config::default()).default_backoff();
                let mut events = events.into_stream().boxed();
                loop {
                    match events.try_next().await {
                        Ok(Some(event)) => {
                            if take::<K>(&mut lock(&picture), &mut listing, event) {
                                tell.send_modify(|n| *n += 1);
                            }
                        }
                        Ok(None) => return,
                        Err(error) => {
                            // the API is away or refuses: the picture stays as it is, the backoff waits
                            debug!(kind = K::KIND, %error, "watch interrupted");
                            if is_expired(&error) {
                                break;
                            }
                        }
                    }
                }
                tokio::time::sleep(LIST_AGAIN).await;
            }
        });
    }
}

impl Begin<'_> {
    /// Names of Nodes, nothing else of them: their statuses change every few seconds.
    fn machines(&self, watches: &mut JoinSet<()>) {
        let api = Api::<PartialObjectMeta<Node>>::all(self.client.clone());
        let (picture, tell) = (Arc::clone(self.picture), self.tell.clone());
        watches.spawn(async move {
            let mut listing = BTreeSet::new();
            let events = watcher(api, watcher::Config::default()).default_backoff();
            let mut events = events.into_stream().boxed();
            loop {
                let event = events.try_next().await;
                let mut picture = lock(&picture);
                let before = (picture.machines_tried, picture.machines.clone());
                match event {
                    Ok(Some(watcher::Event::Init)) => listing.clear(),
                    Ok(Some(watcher::Event::InitApply(node))) => {
                        listing.insert(node.name_any());
                    }
                    Ok(Some(watcher::Event::InitDone)) => {
                        picture.machines = Some(std::mem::take(&mut listing));
                        picture.machines_tried = true;
                    }
                    Ok(Some(watcher::Event::Apply(node))) => {
                        picture.machines.get_or_insert_default().insert(node.name_any());
                    }
                    Ok(Some(watcher::Event::Delete(node))) => {
                        picture.machines.get_or_insert_default().remove(&node.name_any());
                    }
                    Ok(None) => return,
                    // no right to look, or the API is away: what was seen last stays, and nobody waits for this
                    Err(error) => {
                        debug!(%error, "the watch of Nodes is interrupted");
                        picture.machines_tried = true;
                    }
                }
                if before != (picture.machines_tried, picture.machines.clone()) {
                    tell.send_modify(|n| *n += 1);
                }
            }
        });
    }
}

/// Takes one event into the picture; true if something changed.
fn take<K: Kept>(
    picture: &mut Picture,
    listing: &mut Option<BTreeSet<String>>,
    event: watcher::Event<DeserializeGuard<K>>,
) -> bool {
    match event {
        watcher::Event::Init => {
            *listing = Some(BTreeSet::new());
            false
        }
        watcher::Event::InitApply(object) => {
            if let Some(seen) = listing {
                seen.insert(object.name_any());
            }
            put(picture, object)
        }
        watcher::Event::InitDone => {
            let seen = listing.take().unwrap_or_default();
            K::place(picture).retain(|name, _| seen.contains(name));
            picture.unreadable.retain(|(kind, name), _| kind != K::KIND || seen.contains(name));
            picture.listed.insert(K::KIND);
            true
        }
        watcher::Event::Apply(object) => put(picture, object),
        watcher::Event::Delete(object) => {
            let name = object.name_any();
            picture.unreadable.remove(&(K::KIND.to_owned(), name.clone()));
            K::place(picture).remove(&name).is_some()
        }
    }
}

fn put<K: Kept>(picture: &mut Picture, object: DeserializeGuard<K>) -> bool {
    let name = object.name_any();
    let key = (K::KIND.to_owned(), name.clone());
    match object.0 {
        Ok(object) => {
            picture.unreadable.remove(&key);
            let version = object.resource_version();
            let old = K::place(picture).insert(name, object);
            old.is_none_or(|old| old.resource_version() != version)
        }
        Err(invalid) => {
            warn!(kind = K::KIND, name, error = %invalid.error, "cannot be read");
            picture.unreadable.insert(key, invalid.error).is_none()
        }
    }
}
