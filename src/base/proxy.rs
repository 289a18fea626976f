//! A load balancer as data: where it listens, and which servers it gives connections to.
//!
//! Invariants: no file, no command and no line of anybody's configuration language; every text is a label or a [`UrlPath`],
//! so that whatever is rendered from it stays one word (SAFETY.md 4.2). A [`Proxy`] that [`Proxy::fault`] finds nothing in
//! is of a size that fits into one message of the ring.

use alloc::{format, string::String, vec::Vec};
use core::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{InvalidId, Label, NodeName};

/// Frontends of one balancer.
pub const FRONTENDS_MAX: usize = 24;
/// Backends of one balancer.
pub const BACKENDS_MAX: usize = 24;
/// Servers of one backend.
pub const SERVERS_MAX: usize = 9;
/// Status codes that a check takes for good.
pub const STATUSES_MAX: usize = 8;

/// All of one load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proxy {
    /// Connections at once, of all frontends.
    pub connections_max: u32,
    /// Where it listens.
    pub frontends: Vec<Frontend>,
    /// Who serves.
    pub backends: Vec<Backend>,
}

/// One address and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frontend {
    /// Unique in the balancer.
    pub name: Label,
    /// Usually a virtual one, which may be on another machine.
    pub address: IpAddr,
    /// Never 0.
    pub port: u16,
    /// What is spoken there.
    pub mode: ProxyMode,
    /// Name of its backend.
    pub backend: Label,
    /// A client that is silent for so long is let go.
    pub client_timeout_ms: u32,
    /// Connections at once.
    pub connections_max: u32,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProxyMode {
    /// Requests are balanced.
    Http,
    /// Connections are balanced.
    Tcp,
}

/// Servers that do the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backend {
    /// Unique in the balancer.
    pub name: Label,
    /// Who of them is next.
    pub balance: Balance,
    /// How health is seen.
    pub check: ServerCheck,
    /// Between two looks.
    pub check_interval_ms: u32,
    /// Bad looks until it is down.
    pub fall: u8,
    /// Good looks until it is up.
    pub rise: u8,
    /// For a connection to come about.
    pub connect_timeout_ms: u32,
    /// A server that is silent for so long has failed.
    pub server_timeout_ms: u32,
    /// One for each machine at most.
    pub servers: Vec<Server>,
}

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Balance {
    /// Whoever has the fewest connections.
    LeastConnections,
    /// One after the other.
    RoundRobin,
    /// The same for the same client.
    Source,
}

/// How health is seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServerCheck {
    /// It answers a request.
    Http {
        /// Asked for.
        path: UrlPath,
        /// Good answers; none are all of 200 to 399.
        statuses: Vec<u16>,
        /// Asked there, where the service itself speaks something else.
        port: Option<u16>,
    },
    /// It is not looked at.
    None,
    /// It takes a connection.
    Tcp,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Server {
    /// The machine: when it is known to be dead nothing is sent there any more, whatever the checks say.
    pub node: NodeName,
    /// Of the service there.
    pub address: IpAddr,
    /// Never 0.
    pub port: u16,
    /// Is asked only when none of the others is there (active/passive).
    pub backup: bool,
}

impl Proxy {
    /// What one value contradicts in another one, if anything: path and rule.
    pub fn fault(&self) -> Option<String> {
        if self.frontends.is_empty() || self.frontends.len() > FRONTENDS_MAX {
            return Some(format!("frontends: 1 to {FRONTENDS_MAX} are possible"));
        }
        if self.backends.is_empty() || self.backends.len() > BACKENDS_MAX {
            return Some(format!("backends: 1 to {BACKENDS_MAX} are possible"));
        }
        for (at, frontend) in self.frontends.iter().enumerate() {
            let path = format!("frontends[{at}]");
            let before = &self.frontends[..at];
            if before.iter().any(|other| other.name == frontend.name) {
                return Some(format!("{path}.name: {:?} is used twice", frontend.name.as_str()));
            }
            let bound = |f: &Frontend| (f.address, f.port);
            if frontend.port == 0 || before.iter().any(|other| bound(other) == bound(frontend)) {
                let (address, port) = bound(frontend);
                return Some(format!("{path}.port: {address} port {port} is bound twice, or is 0"));
            }
            if !self.backends.iter().any(|b| b.name == frontend.backend) {
                let name = frontend.backend.as_str();
                return Some(format!("{path}.backend: there is no backend {name:?}: add it"));
            }
        }
        for (at, backend) in self.backends.iter().enumerate() {
            let path = format!("backends[{at}]");
            if self.backends[..at].iter().any(|other| other.name == backend.name) {
                return Some(format!("{path}.name: {:?} is used twice", backend.name.as_str()));
            }
            if let Some(why) = self.backend_fault(backend) {
                return Some(format!("{path}.{why}"));
            }
        }
        None
    }

    fn backend_fault(&self, backend: &Backend) -> Option<String> {
        let mut modes = self.frontends.iter().filter(|f| f.backend == backend.name).map(|f| f.mode);
        let Some(mode) = modes.next() else {
            return Some("name: no frontend names it: remove it".into());
        };
        if modes.any(|other| other != mode) {
            return Some("name: a frontend of mode Http and one of mode Tcp name it".into());
        }
        if backend.servers.is_empty() || backend.servers.len() > SERVERS_MAX {
            return Some(format!("servers: 1 to {SERVERS_MAX} are possible"));
        }
        for (at, server) in backend.servers.iter().enumerate() {
            if backend.servers[..at].iter().any(|other| other.node == server.node) {
                return Some(format!("servers[{at}].node: {} is used twice", server.node));
            }
            if server.port == 0 {
                return Some(format!("servers[{at}].port: 0 is no port"));
            }
        }
        if backend.servers.iter().all(|server| server.backup) {
            return Some("servers: all of them are backup: one must be active".into());
        }
        if let ServerCheck::Http { statuses, .. } = &backend.check
            && statuses.len() > STATUSES_MAX
        {
            return Some(format!("check.statuses: at most {STATUSES_MAX}"));
        }
        None
    }

    /// Bytes of its message at most, roughly.
    pub fn bytes_max(&self) -> usize {
        let frontends = self.frontends.iter().map(|f| {
            let texts = f.name.as_str().len() + f.backend.as_str().len();
            texts + 40
        });
        let backends = self.backends.iter().map(|b| {
            let servers = b.servers.iter().map(|s| s.node.as_str().len() + 24);
            let path = match &b.check {
                ServerCheck::Http { path, .. } => path.as_str().len() + 40,
                ServerCheck::None | ServerCheck::Tcp => 4,
            };
            b.name.as_str().len() + path + 40 + servers.sum::<usize>()
        });
        frontends.sum::<usize>() + backends.sum::<usize>() + 16
    }

    /// What a backend speaks: as the frontends that name it.
    pub fn mode_of(&self, backend: &Backend) -> ProxyMode {
        let frontend = self.frontends.iter().find(|f| f.backend == backend.name);
        frontend.map_or(ProxyMode::Tcp, |f| f.mode)
    }
}

/// Path of a request: begins with `/`, at most 96 characters of `[A-Za-z0-9/._~-]`. Example: `/healthcheck`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UrlPath(String);

impl UrlPath {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UrlPath {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-".contains(&b);
        if text.starts_with('/') && text.len() <= 96 && text.bytes().all(plain) {
            return Ok(Self(text.into()));
        }
        let rule = "must begin with / and have at most 96 characters of A-Za-z0-9/._~-";
        Err(InvalidId { kind: "path", value: text.chars().take(80).collect(), rule })
    }
}

impl TryFrom<String> for UrlPath {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<UrlPath> for String {
    fn from(path: UrlPath) -> Self {
        path.0
    }
}

impl fmt::Display for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
