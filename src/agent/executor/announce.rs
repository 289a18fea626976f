//! Announcing an address until a peer on its network reports the new station, then every 10 s for a minute (CLUSTER.md
//! section 8), and the peers' half of it: looking.
//!
//! Invariants: what is not here any more is not announced, because that would take it from whoever has it now; each wait
//! has a bound; a peer that is not on the network says nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::{
    Instant, ResourceId, ResourceKind,
    faulty::{Rule, broken},
};
use cluster::{ExecutorSays, Station};
use drivers::{
    power::BoxFuture,
    resource::{Instance, ResourceDriver as _},
    vip::{Mac, VipDriver},
};
use lifecycle::{Call, Outcome};
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::{clock, messages::FromExecutor};

/// Between the first two announcements; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long nobody has to see it before it is left to the later announcements.
const UNSEEN_MAX: Duration = Duration::from_secs(5);
/// The others are asked again this often: a message may be lost with its configuration.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Then once in this time ...
const AGAIN_EVERY: Duration = Duration::from_secs(10);
/// ... and this often.
const AGAIN_TIMES: u8 = 6;
/// Between two looks of a peer, and how long it looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Looks at one time; a member that asks for more is not answered.
const LOOKS_MAX: usize = 16;

/// What is done on the wire and asked of the kernel.
pub(super) trait Wire: Send + Sync {
    /// The own station on the network of the address.
    fn station<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<Station>>;
    /// Whether the address is here; `None` if that could not be found out.
    fn here<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<bool>>;
    /// Tells the network once. `false` if it cannot be told.
    fn announce<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, bool>;
    /// Whether this machine takes the station for the holder; `None` if it is not on that network.
    fn sees<'a>(&'a self, instance: Instance<'a>, station: Station) -> BoxFuture<'a, Option<bool>>;
}

impl Wire for VipDriver {
    fn station<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<Station>> {
        Box::pin(async move { Some(Self::station(self, instance).await.ok()??.0) })
    }

    fn here<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<bool>> {
        Box::pin(async move {
            match self.monitor(instance).await {
                Outcome::Ok => Some(true),
                Outcome::NotRunning => Some(false),
                other => {
                    tracing::warn!(resource = %instance.resource, ?other, "not announced this time");
                    None
                }
            }
        })
    }

    fn announce<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let said = Self::announce(self, instance, 1).await;
            if let Err(error) = &said {
                tracing::warn!(resource = %instance.resource, %error, "an address was not announced");
            }
            said.is_ok()
        })
    }

    fn sees<'a>(&'a self, instance: Instance<'a>, station: Station) -> BoxFuture<'a, Option<bool>> {
        Box::pin(async move { Self::sees(self, instance, Mac(station)).await.ok() })
    }
}

type Waiting = Arc<Mutex<BTreeMap<ResourceId, (Station, Arc<Notify>)>>>;

/// Everything under way.
pub(super) struct Announcer {
    news: mpsc::Sender<FromExecutor>,
    waiting: Waiting,
    looks: Arc<Semaphore>,
}

fn open(waiting: &Waiting) -> MutexGuard<'_, BTreeMap<ResourceId, (Station, Arc<Notify>)>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Announcer {
    pub(super) fn new(news: mpsc::Sender<FromExecutor>) -> Self {
        Self { news, waiting: Waiting::default(), looks: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }

    /// The address of this call was added just now.
    pub(super) fn begin(&self, wire: Arc<dyn Wire>, call: &Call) {
        let (call, news) = (call.clone(), self.news.clone());
        let (waiting, since) = (Arc::clone(&self.waiting), clock::now());
        tokio::spawn(async move {
            let instance = Instance {
                resource: &call.resource,
                kind: &call.kind,
                lifetime: Some(call.lifetime),
            };
            let Some(station) = wire.station(instance).await else { return };
            let seen = Arc::new(Notify::new());
            open(&waiting).insert(call.resource.clone(), (station, Arc::clone(&seen)));
            let found = until_seen(&*wire, instance, station, since, &seen, &news).await;
            open(&waiting).retain(|_, (_, notify)| !Arc::ptr_eq(notify, &seen));
            let Some(seen) = found else { return };
            if broken(Rule::AnnouncedOnce) {
                return;
            }
            let took = clock::now().since(since);
            let _ = news
                .send(FromExecutor::Announced { resource: call.resource.clone(), took, seen })
                .await;
            for _ in 0..AGAIN_TIMES {
                tokio::time::sleep(AGAIN_EVERY).await;
                // What could not be said this time is said the next time.
                match wire.here(instance).await {
                    Some(true) => _ = wire.announce(instance).await,
                    Some(false) => return,
                    None => {}
                }
            }
        });
    }

    /// A peer has said where it sees the address.
    pub(super) fn seen_at(&self, resource: &ResourceId, station: Station) {
        if let Some((here, seen)) = open(&self.waiting).get(resource)
            && *here == station
        {
            seen.notify_one();
        }
    }

    /// Another member announces: looks, and says what it sees.
    pub(super) fn look_for(
        &self,
        wire: Arc<dyn Wire>,
        resource: &ResourceId,
        kind: &ResourceKind,
        station: Station,
    ) {
        let Ok(place) = Arc::clone(&self.looks).try_acquire_owned() else { return };
        let (resource, kind, news) = (resource.clone(), kind.clone(), self.news.clone());
        tokio::spawn(async move {
            let _place = place;
            let instance = Instance { resource: &resource, kind: &kind, lifetime: None };
            let until = clock::now() + LOOK_MAX;
            while clock::now() < until {
                match wire.sees(instance, station).await {
                    Some(true) => {
                        let sees = ExecutorSays::Sees { resource: resource.clone(), station };
                        let _ = news.send(FromExecutor::Says(sees)).await;
                        return;
                    }
                    Some(false) => tokio::time::sleep(LOOK_EVERY).await,
                    None => return,
                }
            }
        });
    }
}

/// `Some(true)` when a peer has seen it, `Some(false)` when none has in time, `None` when it went away.
async fn until_seen(
    wire: &dyn Wire,
    instance: Instance<'_>,
    station: Station,
    since: Instant,
    seen: &Notify,
    news: &mpsc::Sender<FromExecutor>,
) -> Option<bool> {
    let mut pause = FIRST_PAUSE;
    let mut ask_at = since;
    loop {
        let now = clock::now();
        if now >= since + UNSEEN_MAX {
            return Some(false);
        }
        if now >= ask_at {
            ask_at = now + ASK_AGAIN;
            let (resource, kind) = (instance.resource.clone(), instance.kind.clone());
            let asked = ExecutorSays::Announcing { resource, kind, station };
            let _ = news.send(FromExecutor::Says(asked)).await;
        }
        let here = wire.here(instance).await;
        if here == Some(false) {
            return None;
        }
        // Faulty rule: the word that the driver said when it added the address is the only one.
        if broken(Rule::AnnouncedOnce) {
            return Some(false);
        }
        // One that could not be said is tried again: what hinders it may pass.
        if here == Some(true) {
            wire.announce(instance).await;
        }
        tokio::select! {
            () = seen.notified() => return Some(true),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

    use lifecycle::{CallId, Operation};

    use super::*;

    const HERE: Station = [2, 0, 0, 0, 0, 1];

    #[derive(Default)]
    struct Toy {
        announced: AtomicU32,
        gone: AtomicBool,
        sees_after: u32,
        looked: AtomicU32,
    }

    impl Wire for Toy {
        fn station<'a>(&'a self, _: Instance<'a>) -> BoxFuture<'a, Option<Station>> {
            Box::pin(std::future::ready(Some(HERE)))
        }

        fn here<'a>(&'a self, _: Instance<'a>) -> BoxFuture<'a, Option<bool>> {
            Box::pin(std::future::ready(Some(!self.gone.load(Relaxed))))
        }

        fn announce<'a>(&'a self, _: Instance<'a>) -> BoxFuture<'a, bool> {
            self.announced.fetch_add(1, Relaxed);
            Box::pin(std::future::ready(true))
        }

        fn sees<'a>(&'a self, _: Instance<'a>, station: Station) -> BoxFuture<'a, Option<bool>> {
            let looks = self.looked.fetch_add(1, Relaxed);
            Box::pin(std::future::ready(Some(station == HERE && looks >= self.sees_after)))
        }
    }

    fn kind() -> ResourceKind {
        let address = "10.9.0.7".parse().expect("valid");
        ResourceKind::Address { address, prefix: 24, network: "public".parse().expect("valid") }
    }

    fn vip() -> ResourceId {
        "vip".parse().expect("valid")
    }

    fn begin(announcer: &Announcer, toy: &Arc<Toy>) {
        let call = Call {
            id: CallId(1),
            resource: vip(),
            kind: kind(),
            operation: Operation::Start,
            interval: None,
            timeout: Duration::from_secs(1),
            lifetime: Duration::from_secs(9),
            order: None,
        };
        announcer.begin(Arc::clone(toy) as Arc<dyn Wire>, &call);
    }

    async fn next(news: &mut mpsc::Receiver<FromExecutor>) -> FromExecutor {
        let next = tokio::time::timeout(UNSEEN_MAX * 2, news.recv()).await;
        next.expect("in time").expect("open")
    }

    #[tokio::test]
    async fn it_is_announced_until_a_peer_sees_it_at_this_station() {
        let (tx, mut news) = mpsc::channel(8);
        let announcer = Announcer::new(tx);
        let toy = Arc::new(Toy::default());
        begin(&announcer, &toy);
        let asked = next(&mut news).await;
        let expected = ExecutorSays::Announcing { resource: vip(), kind: kind(), station: HERE };
        assert_eq!(asked, FromExecutor::Says(expected));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = toy.announced.load(Relaxed);
        assert!(before >= 3, "announced again and again: {before}");
        announcer.seen_at(&vip(), [9; 6]);
        announcer.seen_at(&"other".parse().expect("valid"), HERE);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(toy.announced.load(Relaxed) > before, "nobody has seen it here yet");
        announcer.seen_at(&vip(), HERE);
        let FromExecutor::Announced { seen: true, took, .. } = next(&mut news).await else {
            panic!("not announced")
        };
        assert!(took < UNSEEN_MAX);
        let after = toy.announced.load(Relaxed);
        tokio::time::sleep(LONGEST_PAUSE * 2).await;
        assert_eq!(toy.announced.load(Relaxed), after, "silence once it was seen");
    }

    #[tokio::test]
    async fn where_no_peer_is_it_ends_after_a_while_and_says_so() {
        let (tx, mut news) = mpsc::channel(8);
        let toy = Arc::new(Toy::default());
        begin(&Announcer::new(tx), &toy);
        let mut asked = 0;
        loop {
            match next(&mut news).await {
                FromExecutor::Says(ExecutorSays::Announcing { .. }) => asked += 1,
                FromExecutor::Announced { seen, took, .. } => {
                    assert!(!seen && took >= UNSEEN_MAX);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(asked >= 4, "the others are asked again: {asked}");
    }

    #[tokio::test]
    async fn what_is_not_here_any_more_is_not_announced() {
        let (tx, mut news) = mpsc::channel(8);
        let toy = Arc::new(Toy::default());
        begin(&Announcer::new(tx), &toy);
        next(&mut news).await;
        toy.gone.store(true, Relaxed);
        assert_eq!(news.recv().await, None, "it ends and says nothing");
        let after = toy.announced.load(Relaxed);
        tokio::time::sleep(LONGEST_PAUSE).await;
        assert_eq!(toy.announced.load(Relaxed), after, "silence");
    }

    #[tokio::test]
    async fn a_peer_looks_until_it_sees_the_station() {
        let (tx, mut news) = mpsc::channel(8);
        let announcer = Announcer::new(tx);
        let toy = Arc::new(Toy { sees_after: 3, ..Toy::default() });
        announcer.look_for(Arc::clone(&toy) as Arc<dyn Wire>, &vip(), &kind(), HERE);
        let sees = ExecutorSays::Sees { resource: vip(), station: HERE };
        assert_eq!(next(&mut news).await, FromExecutor::Says(sees));
        assert!(toy.looked.load(Relaxed) >= 4);
    }
}
