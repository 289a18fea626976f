//! One balancer in a folder of the test, and servers in this process.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use base::{
    Proxy, ResourceId, ResourceKind,
    proxy::{Backend, Balance, Frontend, ProxyMode, Server, ServerCheck},
};
use drivers::{
    haproxy::{BalancerConfig, BalancerDriver, Engine},
    process::Cgroups,
    resource::{Instance, ResourceDriver as _},
};
use lifecycle::Outcome;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::load::body;

pub(crate) struct Bench {
    folder: tempfile::TempDir,
    driver: BalancerDriver,
    engine: Engine,
    resource: ResourceId,
    kind: ResourceKind,
}

impl Bench {
    pub(crate) async fn new(servers: u8) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut all = Vec::new();
        for number in 1..=servers {
            let name = format!("n{number}");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let place = listener.local_addr().expect("bound");
            tokio::spawn(serve(listener, name.clone()));
            all.push(Server {
                node: name.parse().expect("a name"),
                address: place.ip(),
                port: place.port(),
                backup: false,
            });
        }
        // Let go again: only this test takes ports here at this moment.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let place = free.expect("a port");
        let label = || "web".parse().expect("a label");
        let proxy = Proxy {
            connections_max: 4_000,
            frontends: vec![Frontend {
                name: label(),
                address: place.ip(),
                port: place.port(),
                mode: ProxyMode::Http,
                backend: label(),
                client_timeout_ms: 60_000,
                connections_max: 2_000,
            }],
            backends: vec![Backend {
                name: label(),
                balance: Balance::RoundRobin,
                check: ServerCheck::Http {
                    path: "/health".parse().expect("a path"),
                    statuses: vec![200],
                    port: None,
                },
                check_interval_ms: 500,
                fall: 2,
                rise: 2,
                connect_timeout_ms: 500,
                server_timeout_ms: 60_000,
                servers: all,
            }],
        };
        let engine = Engine::Haproxy { program: "/usr/sbin/haproxy".into(), user: None };
        Self {
            driver: driver(folder.path(), engine.clone()),
            engine,
            folder,
            resource: "web".parse().expect("an id"),
            kind: ResourceKind::LoadBalancer(proxy),
        }
    }

    fn proxy(&mut self) -> &mut Proxy {
        match &mut self.kind {
            ResourceKind::LoadBalancer(proxy) => proxy,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn place(&mut self) -> SocketAddr {
        let frontend = &self.proxy().frontends[0];
        SocketAddr::new(frontend.address, frontend.port)
    }

    /// Something that has to be reloaded.
    pub(crate) fn change(&mut self, number: u16) {
        let proxy = self.proxy();
        proxy.connections_max = 5_000 + u32::from(number);
        proxy.backends[0].balance =
            if number.is_multiple_of(2) { Balance::LeastConnections } else { Balance::RoundRobin };
    }

    /// The engine until now.
    pub(crate) fn engine(&mut self, engine: Engine) -> Engine {
        self.driver = driver(self.folder.path(), engine.clone());
        std::mem::replace(&mut self.engine, engine)
    }

    pub(crate) async fn new_agent(&mut self) {
        self.driver = driver(self.folder.path(), self.engine.clone());
        let one: BTreeSet<_> = ["n1".parse().expect("a name")].into();
        self.driver.set_gone(one).await;
    }

    fn instance(&self) -> Instance<'_> {
        Instance { resource: &self.resource, kind: &self.kind, lifetime: None }
    }

    pub(crate) async fn start(&self) -> Outcome {
        self.driver.start(self.instance()).await
    }

    pub(crate) async fn stop(&self) -> Outcome {
        self.driver.stop(self.instance()).await
    }

    pub(crate) async fn monitor(&self) -> Outcome {
        self.driver.monitor(self.instance()).await
    }

    pub(crate) async fn probe(&self) -> Outcome {
        self.driver.probe(self.instance()).await
    }

    pub(crate) async fn survivors(&self) -> usize {
        let found = self.driver.survivors().await;
        assert!(found.iter().all(|s| s.kind.as_ref() == Some(&self.kind)), "{found:?}");
        found.len()
    }

    pub(crate) async fn gone(&self, machines: &[&str]) {
        let names = machines.iter().map(|n| n.parse().expect("a name")).collect();
        self.driver.set_gone(names).await;
    }

    /// Pid of the master, by its record.
    pub(crate) fn process(&self) -> Option<i64> {
        let record = fs::read(self.path("process/web/record.json")).ok()?;
        let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
        record["process"]["pid"].as_i64()
    }

    pub(crate) fn configuration(&self) -> String {
        fs::read_to_string(self.path("haproxy.cfg")).expect("there")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("web").join(name)
    }

    /// Status of one request.
    pub(crate) async fn ask(&mut self) -> Option<u16> {
        let mut stream = TcpStream::connect(self.place()).await.ok()?;
        body(&mut stream).await.ok().map(|_| 200)
    }

    /// Whoever answers in twenty requests.
    pub(crate) async fn servers_that_answer(&mut self) -> Vec<String> {
        let place = self.place();
        let mut seen = BTreeSet::new();
        // Its checks may still be under way after a start or a return.
        for _ in 0..120 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let Ok(mut stream) = TcpStream::connect(place).await else { continue };
            if let Ok(Ok(name)) = timeout(Duration::from_secs(2), body(&mut stream)).await {
                seen.insert(name);
            }
        }
        seen.into_iter().collect()
    }
}

fn driver(folder: &Path, engine: Engine) -> BalancerDriver {
    let exe = std::env::current_exe().expect("known");
    let shim = exe.parent().and_then(Path::parent).expect("target").join("examples/shim");
    assert!(shim.exists(), "{} is built by `cargo test -p drivers`", shim.display());
    BalancerDriver::new(BalancerConfig {
        root: folder.to_owned(),
        shim: vec![shim.into()],
        cgroups: Cgroups::Stay,
        engine,
    })
}

/// A server that says its name and keeps connections.
async fn serve(listener: TcpListener, name: String) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        tokio::spawn(async move {
            let (mut head, mut part) = (Vec::new(), [0; 4096]);
            while let Ok(n) = stream.read(&mut part).await {
                if n == 0 {
                    return;
                }
                head.extend_from_slice(&part[..n]);
                while let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                    head.drain(..end + 4);
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}
