//! The servers: what is known of each, and who is next.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base::{
    Label, NodeName,
    proxy::{self, Balance, Frontend},
};
use drivers::{haproxy::Intent, stand_in::Kernel};
use tokio::sync::{Semaphore, watch};

use super::health::{Health, Turn};

/// One server of one backend. Lives over reloads that leave it where it is.
pub(super) struct Server {
    pub(super) backend: Label,
    pub(super) node: NodeName,
    pub(super) at: SocketAddr,
    known: Mutex<Known>,
    sessions: AtomicUsize,
    /// Counts up when its sessions shall end.
    cut: watch::Sender<u64>,
}

#[derive(Clone, Copy)]
struct Known {
    maintenance: bool,
    health: Health,
}

impl Server {
    fn new(backend: &proxy::Backend, server: &proxy::Server, gone: bool) -> Self {
        let health = Health::new(backend.rise, backend.fall);
        Self {
            backend: backend.name.clone(),
            node: server.node.clone(),
            at: SocketAddr::new(server.address, server.port),
            known: Mutex::new(Known { maintenance: gone, health }),
            sessions: AtomicUsize::new(0),
            cut: watch::Sender::new(0),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one step: what a panic left is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As `BACKEND/NODE`.
    pub(super) fn is(&self, name: &str) -> bool {
        let words = name.split_once('/');
        words.is_some_and(|(b, n)| b == self.backend.as_str() && n == self.node.as_str())
    }

    pub(super) fn usable(&self) -> bool {
        let known = *self.known();
        !known.maintenance && known.health.up()
    }

    pub(super) fn maintained(&self) -> bool {
        self.known().maintenance
    }

    pub(super) fn in_doubt(&self) -> bool {
        self.known().health.in_doubt()
    }

    /// Nothing is sent there; or again, and then it counts as a fresh one.
    pub(super) fn maintain(&self, maintenance: bool) {
        let mut known = self.known();
        if known.maintenance && !maintenance {
            known.health = known.health.afresh();
        }
        known.maintenance = maintenance;
    }

    /// A look. Those that are connected to one that went down would hang: they end (SERVICES.md 4.1).
    pub(super) fn saw(&self, good: bool) -> Turn {
        let turn = self.known().health.saw(good);
        if turn == Turn::Down {
            self.end_sessions();
        }
        turn
    }

    pub(super) fn end_sessions(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// A session begins here; it asks this when it has to end.
    pub(super) fn take(self: &Arc<Self>) -> Taken {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        Taken { server: Arc::clone(self), cut: self.cut.subscribe() }
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// For people, as HAProxy says it.
    pub(super) fn state(&self) -> &'static str {
        let known = *self.known();
        match (known.maintenance, known.health.up()) {
            (true, _) => "MAINT",
            (false, true) => "UP",
            (false, false) => "DOWN",
        }
    }
}

/// A session of a server.
pub(super) struct Taken {
    server: Arc<Server>,
    cut: watch::Receiver<u64>,
}

impl Taken {
    /// Ends when the session has to.
    pub(super) async fn cut(&mut self) {
        // The sender lives as long as the server.
        let _ = self.cut.changed().await;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.server.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Servers that do the same.
pub(super) struct Backend {
    pub(super) told: proxy::Backend,
    /// In the order of the object.
    pub(super) servers: Vec<Arc<Server>>,
    turn: AtomicUsize,
}

impl Backend {
    pub(super) fn connect_within(&self) -> Duration {
        Duration::from_millis(self.told.connect_timeout_ms.into())
    }

    /// Who gets the next connection, of those that were not tried for it.
    pub(super) fn choose(&self, client: IpAddr, tried: &[Arc<Server>]) -> Option<&Arc<Server>> {
        let can = |server: &&Arc<Server>| {
            server.usable() && !tried.iter().any(|other| Arc::ptr_eq(other, server))
        };
        let all = self.told.servers.iter().zip(&self.servers);
        let (backup, active): (Vec<_>, Vec<_>) = all.partition(|(told, _)| told.backup);
        let active: Vec<_> = active.into_iter().map(|(_, server)| server).filter(can).collect();
        if active.is_empty() {
            return backup.into_iter().map(|(_, server)| server).find(can);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let next = match self.told.balance {
            Balance::RoundRobin => turn,
            Balance::Source => spread(client),
            Balance::LeastConnections => {
                let least = active.iter().map(|server| server.sessions()).min()?;
                let least: Vec<_> =
                    active.into_iter().filter(|server| server.sessions() == least).collect();
                return least.get(turn % least.len()).copied();
            }
        };
        active.get(next % active.len()).copied()
    }
}

/// The same number for the same client, other ones for its neighbours.
fn spread(client: IpAddr) -> usize {
    let octets = match client {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    octets.iter().fold(0, |sum: usize, octet| sum.wrapping_mul(31).wrapping_add((*octet).into()))
}

/// The parameters in force.
pub(super) struct Live {
    pub(super) intent: Intent,
    pub(super) kernel: Kernel,
    pub(super) backends: Vec<Backend>,
    /// As the frontends: connections at once.
    rooms: Vec<Arc<Semaphore>>,
}

impl Live {
    pub(super) fn new(intent: Intent, before: Option<&Self>) -> Self {
        let known = |fresh: &Server| {
            let mut all = before?.servers();
            all.find(|old| {
                (&old.backend, &old.node, old.at) == (&fresh.backend, &fresh.node, fresh.at)
            })
        };
        let backends = intent.proxy.backends.iter().map(|told| {
            let servers = told.servers.iter().map(|server| {
                let gone = intent.gone.contains(&server.node);
                let fresh = Server::new(told, server, gone);
                let Some(old) = known(&fresh) else { return Arc::new(fresh) };
                let health = old.known().health.with(told.rise, told.fall);
                *old.known() = Known { maintenance: gone, health };
                Arc::clone(old)
            });
            Backend { servers: servers.collect(), told: told.clone(), turn: AtomicUsize::new(0) }
        });
        let backends = backends.collect();
        let rooms = intent.proxy.frontends.iter().map(|frontend| {
            let most = usize::try_from(frontend.connections_max).unwrap_or(super::SESSIONS_MAX);
            Arc::new(Semaphore::new(most.min(super::SESSIONS_MAX)))
        });
        Self { rooms: rooms.collect(), backends, kernel: Kernel::new(&intent.kernel), intent }
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.backends.iter().flat_map(|backend| &backend.servers)
    }

    /// Who serves that address and port.
    pub(super) fn at(&self, at: SocketAddr) -> Option<(&Frontend, &Arc<Semaphore>, &Backend)> {
        let mut all = self.intent.proxy.frontends.iter().zip(&self.rooms);
        let (frontend, room) = all.find(|(f, _)| (f.address, f.port) == (at.ip(), at.port()))?;
        let backend = self.backends.iter().find(|b| b.told.name == frontend.backend)?;
        Some((frontend, room, backend))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A balancer `web` with one backend of these; a name with `*` is a backup.
    pub(in super::super) fn intent(balance: &str, servers: &[&str], gone: &[&str]) -> Intent {
        let server = |name: &&str| {
            serde_json::json!({
                "node": name.trim_end_matches('*'), "address": "127.0.0.1", "port": 80,
                "backup": name.ends_with('*'),
            })
        };
        serde_json::from_value(serde_json::json!({
            "resource": "web", "fingerprint": "palisade-0", "kernel": "/k", "gone": gone,
            "proxy": {
                "connections_max": 10,
                "frontends": [{
                    "name": "web", "address": "127.0.0.9", "port": 80, "mode": "Http", "backend": "web",
                    "client_timeout_ms": 1000, "connections_max": 10,
                }],
                "backends": [{
                    "name": "web", "balance": balance, "check": "Tcp", "check_interval_ms": 500, "fall": 2,
                    "rise": 2, "connect_timeout_ms": 500, "server_timeout_ms": 1000,
                    "servers": servers.iter().map(server).collect::<Vec<_>>(),
                }],
            },
        }))
        .expect("an intent")
    }

    fn chosen(live: &Live, client: &str, count: usize) -> String {
        let client = client.parse().expect("an address");
        let all = (0..count).map(|_| live.backends[0].choose(client, &[]));
        all.map(|server| server.map_or("-", |s| s.node.as_str())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_is_next_in_turn_and_backups_only_when_no_other_is_there() {
        let live = Live::new(intent("RoundRobin", &["a", "b", "c*", "d*"], &[]), None);
        assert_eq!(chosen(&live, "127.0.0.1", 4), "a b a b");
        live.backends[0].servers[0].maintain(true);
        assert_eq!(chosen(&live, "127.0.0.1", 2), "b b");
        assert_eq!(live.backends[0].servers[1].saw(false), Turn::Down);
        assert_eq!(chosen(&live, "127.0.0.1", 2), "c c", "the first backup only");
        live.backends[0].servers[2].maintain(true);
        live.backends[0].servers[3].maintain(true);
        assert_eq!(chosen(&live, "127.0.0.1", 1), "-");
        live.backends[0].servers[0].maintain(false);
        assert_eq!(chosen(&live, "127.0.0.1", 2), "a a");
    }

    #[test]
    fn a_client_stays_with_its_server_and_the_least_busy_is_next() {
        let live = Live::new(intent("Source", &["a", "b", "c"], &[]), None);
        let first = chosen(&live, "127.0.0.1", 1);
        assert_eq!(chosen(&live, "127.0.0.1", 3), [&*first; 3].join(" "));
        assert_ne!(chosen(&live, "127.0.0.2", 1), first);
        let live = Live::new(intent("LeastConnections", &["a", "b"], &[]), None);
        let _taken = live.backends[0].servers[0].take();
        assert_eq!(chosen(&live, "127.0.0.1", 3), "b b b");
    }

    #[test]
    fn a_reload_keeps_what_is_known_and_does_what_is_told() {
        let before = Live::new(intent("RoundRobin", &["a", "b", "c"], &[]), None);
        before.backends[0].servers[1].saw(false);
        let after = Live::new(intent("LeastConnections", &["a", "b", "d"], &["a"]), Some(&before));
        let states: Vec<_> = after.servers().map(|server| server.state()).collect();
        assert_eq!(states, ["MAINT", "DOWN", "UP"]);
        assert!(Arc::ptr_eq(&before.backends[0].servers[1], &after.backends[0].servers[1]));
    }

    #[tokio::test]
    async fn sessions_of_a_server_that_goes_down_end() {
        let live = Live::new(intent("RoundRobin", &["a"], &[]), None);
        let mut taken = live.backends[0].servers[0].take();
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, taken.cut()).await.is_err());
        live.backends[0].servers[0].saw(false);
        tokio::time::timeout(Duration::from_secs(5), taken.cut()).await.expect("cut");
        drop(taken);
        assert_eq!(live.backends[0].servers[0].sessions(), 0);
    }
}
