//! Who of several replicas writes: a Lease of coordination.k8s.io.
//!
//! It elects a writer and is no evidence of anything (SAFETY.md 1.3): two that both believe to be it must do no harm, and
//! do none, because both write the same. Every write of the Lease names the resourceVersion that was read before. Own
//! clock only: another's Lease has run out when *we* have seen it unchanged for its duration.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, task::AbortHandle, time::Instant};
use tracing::{debug, info};

/// Name of the Lease.
pub const NAME: &str = "palisade-controller";

/// Times of the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// For how long it holds after it was renewed.
    pub duration: Duration,
    /// Between renewals; less than a third of `duration`.
    pub renew: Duration,
}

impl Default for Times {
    /// As client-go has them: 15 s and, in place of its 2 s retries, a renewal each 4 s.
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), renew: Duration::from_secs(4) }
    }
}

/// The Lease as it was seen, and since when without a change.
#[derive(Clone, Debug)]
struct Seen {
    holder: String,
    version: String,
    duration: Duration,
    since: Instant,
}

/// Takes part in the election. Dropping it ends that, and the Lease runs out.
#[derive(Debug)]
pub struct Elected {
    held_until: watch::Receiver<Option<Instant>>,
    claim: Arc<Claim>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Claim {
    api: Api<Lease>,
    identity: String,
    times: Times,
}

impl Elected {
    /// Begins.
    pub fn start(client: Client, namespace: String, identity: String, times: Times) -> Self {
        let api = Api::namespaced(client, &namespace);
        let claim = Arc::new(Claim { api, identity, times });
        let (tell, held_until) = watch::channel(None);
        let task = tokio::spawn(Arc::clone(&claim).take_part(tell)).abort_handle();
        Self { held_until, claim, task }
    }

    /// Whether this replica holds the Lease by its own clock.
    pub fn is_held(&self) -> bool {
        self.held_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until that may have changed.
    pub async fn changed(&self) {
        let mut watch = self.held_until.clone();
        let before = self.is_held();
        loop {
            let until = *watch.borrow_and_update();
            if before != self.is_held() {
                return;
            }
            let sleep = until.filter(|u| *u > Instant::now());
            tokio::select! {
                changed = watch.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = async { match sleep {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }} => {}
            }
        }
    }

    /// Reads the Lease again: whether the server, too, says that it is ours (STYLE.md 16).
    pub async fn confirm(&self) -> bool {
        if !self.is_held() {
            return false;
        }
        match self.claim.api.get_opt(NAME).await {
            Ok(Some(lease)) => holder(&lease) == self.claim.identity && self.is_held(),
            Ok(None) | Err(_) => false,
        }
    }
}

impl Drop for Elected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Claim {
    async fn take_part(self: Arc<Self>, tell: watch::Sender<Option<Instant>>) {
        let mut seen: Option<Seen> = None;
        loop {
            // counted from before the request: a slow answer must not make the Lease longer
            let asked = Instant::now();
            match self.turn(&mut seen).await {
                Ok(true) => {
                    let until = asked + self.times.duration;
                    let was = tell.send_replace(Some(until));
                    if was.is_none_or(|w| w < asked) {
                        info!(identity = self.identity, "holds the Lease");
                    }
                }
                Ok(false) => {
                    if tell.send_replace(None).is_some() {
                        info!(identity = self.identity, "lost the Lease");
                    }
                }
                // away: what was held runs out by itself
                Err(error) => debug!(%error, "Lease"),
            }
            tokio::time::sleep(self.times.renew).await;
        }
    }

    /// One look and, where it is ours or free, one write. True: ours from before this turn began.
    async fn turn(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(NAME).await? else {
            let lease = self.written(None);
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let now = Instant::now();
        let version = lease.resource_version().unwrap_or_default();
        if seen.as_ref().is_none_or(|s| s.version != version) {
            let seconds = lease.spec.as_ref().and_then(|s| s.lease_duration_seconds);
            let seconds = u64::try_from(seconds.unwrap_or_default()).unwrap_or_default();
            let duration = Duration::from_secs(seconds.max(1));
            *seen = Some(Seen { holder: holder(&lease).to_owned(), version, duration, since: now });
        }
        let free = seen.as_ref().is_some_and(|s| {
            s.holder.is_empty() || s.holder == self.identity || now >= s.since + s.duration
        });
        if !free {
            return Ok(false);
        }
        let lease = self.written(Some(&lease));
        // the body carries the resourceVersion that was read: whoever was faster wins
        won(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn written(&self, old: Option<&Lease>) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let spec = old.and_then(|l| l.spec.clone()).unwrap_or_default();
        let same = spec.holder_identity.as_deref() == Some(self.identity.as_str());
        let acquire_time = if same { spec.acquire_time.clone() } else { now.clone() };
        let transitions = spec.lease_transitions.unwrap_or_default() + i32::from(!same);
        let seconds = i32::try_from(self.times.duration.as_secs()).unwrap_or(i32::MAX);
        Lease {
            metadata: ObjectMeta {
                name: Some(NAME.into()),
                resource_version: old.and_then(ResourceExt::resource_version),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(seconds),
                acquire_time,
                renew_time: now,
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// A conflict is no error: somebody else was faster.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref()).unwrap_or_default()
}
