//! The watchdog: held by the fencer, fed by proof (CLUSTER.md section 8).
//!
//! Invariants: a feed follows a pass of the ring's loop that is younger than a third of the timeout *and* an answer of
//! the executor to a question that was asked after the last feed; a timer alone never feeds (SAFETY.md 2.5, item 20);
//! disarmed on `detach` and `suspend`, and then no evidence.

use std::{sync::Arc, time::Duration};

use base::{
    Instant,
    faulty::{Rule, broken},
};
use drivers::watchdog::{Armed, Watchdog, WatchdogError};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use crate::{
    clock,
    ipc::Port,
    messages::{Ping, Pong},
};

/// A watchdog of the machine and how long it waits.
pub struct Watched {
    /// The kernel's device, or the lab's socket.
    pub dog: Box<dyn Watchdog>,
    /// The machine is reset when it is not fed for so long.
    pub timeout: Duration,
}

#[derive(Debug)]
enum Tell {
    Pass(Instant),
    Detach(Duration),
    Suspend(bool),
}

/// Handle of the task that holds it.
#[derive(Debug)]
pub struct Watch {
    tell: mpsc::Sender<Tell>,
    said: mpsc::Receiver<Option<Duration>>,
    armed: Option<Duration>,
    task: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the task. Without a dog nothing is ever armed.
    pub fn start(
        dog: Option<Watched>,
        executors: mpsc::Receiver<Port<Ping, Pong>>,
        lost: Arc<Notify>,
    ) -> Self {
        let (tell, told) = mpsc::channel(64);
        let (say, said) = mpsc::channel(4);
        let task = dog.map(|dog| tokio::spawn(hold(dog, executors, lost, told, say)));
        Self { tell, said, armed: None, task }
    }

    /// The ring's loop began a turn.
    pub fn ring_passed(&self, at: Instant) {
        // Full means that the task hangs, and then nothing shall feed.
        let _ = self.tell.try_send(Tell::Pass(at));
    }

    /// A planned absence of the agent.
    pub fn detach(&self, span: Duration) {
        let _ = self.tell.try_send(Tell::Detach(span));
    }

    /// The cluster is suspended, or no longer: disarmed until then.
    pub fn suspend(&self, yes: bool) {
        let _ = self.tell.try_send(Tell::Suspend(yes));
    }

    /// The timeout as last read from the device, if it is armed and fed.
    pub const fn armed(&self) -> Option<Duration> {
        self.armed
    }

    /// The next change of [`Self::armed`]. Cancel-safe.
    pub async fn changed(&mut self) -> Option<Option<Duration>> {
        loop {
            match self.said.recv().await {
                Some(armed) if armed != self.armed => {
                    self.armed = armed;
                    return Some(armed);
                }
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Disarms and ends. For the clean end of the part.
    pub async fn finish(self) {
        drop(self.tell);
        drop(self.said);
        if let Some(task) = self.task {
            let _ = task.await;
        }
    }
}

async fn hold(
    watched: Watched,
    mut executors: mpsc::Receiver<Port<Ping, Pong>>,
    lost: Arc<Notify>,
    mut told: mpsc::Receiver<Tell>,
    say: mpsc::Sender<Option<Duration>>,
) {
    let Watched { mut dog, timeout } = watched;
    let fresh = timeout / 3;
    let mut executor: Option<Port<Ping, Pong>> = None;
    let mut pass: Option<Instant> = None;
    let mut answered = false;
    let mut armed: Option<Duration> = None;
    let mut detached_until: Option<Instant> = None;
    let mut suspended = false;
    let mut asks = tokio::time::interval((timeout / 10).max(Duration::from_millis(100)));
    asks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = told.recv() => match message {
                Some(Tell::Pass(at)) => pass = Some(at),
                Some(Tell::Detach(span)) => {
                    detached_until = Some(clock::now() + span);
                    stood("disarm", dog.disarm());
                    armed = read(dog.as_mut());
                    let _ = say.try_send(armed);
                }
                Some(Tell::Suspend(yes)) => {
                    suspended = yes;
                    if yes {
                        stood("disarm", dog.disarm());
                        armed = read(dog.as_mut());
                        let _ = say.try_send(armed);
                    }
                }
                None => {
                    // The clean end of this part: a planned one.
                    stood("disarm", dog.disarm());
                    return;
                }
            },
            Some(port) = executors.recv() => executor = Some(port),
            pong = answer(&mut executor) => match pong {
                Some(Pong) => answered = true,
                None => {
                    executor = None;
                    lost.notify_one();
                }
            },
            _ = asks.tick() => {
                let now = clock::now();
                if let Some(port) = &executor
                    && !port.send(Ping)
                {
                    executor = None;
                    lost.notify_one();
                }
                if suspended || detached_until.is_some_and(|until| now < until) {
                    continue;
                }
                let proof = (answered && pass.is_some_and(|at| now.since(at) <= fresh))
                    || broken(Rule::WatchdogByTimer);
                if proof {
                    answered = false;
                    let was = armed;
                    if armed.is_none() {
                        detached_until = None;
                        stood("arm", dog.arm(timeout));
                    }
                    armed = stood("feed", dog.feed()).then(|| read(dog.as_mut())).flatten();
                    if armed != was {
                        tracing::info!(?armed, "watchdog");
                    }
                    let _ = say.try_send(armed);
                }
            }
        }
    }
}

async fn answer(port: &mut Option<Port<Ping, Pong>>) -> Option<Pong> {
    match port {
        Some(port) => port.rx.recv().await,
        None => std::future::pending().await,
    }
}

/// What the device itself says, never what it was told.
fn read(dog: &mut dyn Watchdog) -> Option<Duration> {
    match dog.armed() {
        Ok(Armed::For(timeout)) => Some(timeout),
        Ok(Armed::Not) => None,
        Err(error) => {
            tracing::error!(%error, "the watchdog does not say whether it is armed");
            None
        }
    }
}

fn stood(what: &'static str, result: Result<(), WatchdogError>) -> bool {
    if let Err(error) = &result {
        tracing::error!(%error, "watchdog: cannot {what}");
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::ipc::pair;

    #[derive(Clone, Default)]
    struct Toy(Arc<Mutex<Vec<&'static str>>>);

    impl Toy {
        fn note(&self, what: &'static str) -> Result<(), WatchdogError> {
            self.0.lock().expect("not poisoned").push(what);
            Ok(())
        }
        fn feeds(&self) -> usize {
            self.0.lock().expect("not poisoned").iter().filter(|what| **what == "feed").count()
        }
    }

    impl Watchdog for Toy {
        fn arm(&mut self, _: Duration) -> Result<(), WatchdogError> {
            self.note("arm")
        }
        fn feed(&mut self) -> Result<(), WatchdogError> {
            self.note("feed")
        }
        fn armed(&mut self) -> Result<Armed, WatchdogError> {
            let done = self.0.lock().expect("not poisoned");
            let arms = done.iter().rev().find(|what| **what != "feed");
            Ok(if arms == Some(&"arm") { Armed::For(TIMEOUT) } else { Armed::Not })
        }
        fn disarm(&mut self) -> Result<(), WatchdogError> {
            self.note("disarm")
        }
    }

    const TIMEOUT: Duration = Duration::from_millis(600);

    #[tokio::test]
    async fn it_is_fed_only_while_ring_and_executor_both_prove_that_they_live() {
        let toy = Toy::default();
        let (executors, connections) = mpsc::channel(1);
        let mut watch = Watch::start(
            Some(Watched { dog: Box::new(toy.clone()), timeout: TIMEOUT }),
            connections,
            Arc::default(),
        );
        let (ours, mut executor) = pair::<Ping, Pong>();
        executors.send(ours).await.expect("connected");
        let (stop, mut stopped) = mpsc::channel::<()>(1);
        let lives = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(Ping) = executor.rx.recv() => assert!(executor.send(Pong)),
                    _ = stopped.recv() => return executor,
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(350)).await;
        assert_eq!(toy.feeds(), 0, "the executor alone is no proof");
        for _ in 0..8 {
            watch.ring_passed(clock::now());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let fed = toy.feeds();
        assert!(fed >= 1, "both prove it");
        assert_eq!(watch.changed().await, Some(Some(TIMEOUT)));
        drop(stop);
        let _executor = lives.await.expect("no panic");
        tokio::time::sleep(Duration::from_millis(250)).await;
        let fed = toy.feeds();
        for _ in 0..8 {
            watch.ring_passed(clock::now());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(toy.feeds() <= fed + 1, "the ring alone is no proof");
        watch.suspend(true);
        assert_eq!(watch.changed().await, Some(None));
        let fed = toy.feeds();
        let (stop, mut stopped) = mpsc::channel::<()>(1);
        let mut executor = _executor;
        let lives = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(Ping) = executor.rx.recv() => assert!(executor.send(Pong)),
                    _ = stopped.recv() => return executor,
                }
            }
        });
        for _ in 0..8 {
            watch.ring_passed(clock::now());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(toy.feeds(), fed, "suspended: no proof arms it");
        watch.suspend(false);
        for _ in 0..8 {
            watch.ring_passed(clock::now());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(watch.changed().await, Some(Some(TIMEOUT)), "armed again by proof");
        drop(stop);
        let _executor = lives.await.expect("no panic");
        watch.detach(Duration::from_secs(1));
        assert_eq!(watch.changed().await, Some(None));
        watch.finish().await;
        assert_eq!(toy.0.lock().expect("not poisoned").last(), Some(&"disarm"));
    }
}
