//! The configuration as text: a function of the parameters and of what this machine is.

use core::{fmt::Write as _, net::IpAddr};
use std::{collections::BTreeSet, path::Path, string::String};

use aws_lc_rs::digest;
use base::{
    NodeName, ResourceId,
    proxy::{Backend, Balance, Frontend, Proxy, ProxyMode, ServerCheck},
};

/// Counts up when the same parameters are rendered otherwise: what runs from an older program is then reloaded.
const FORM: u8 = 1;
/// Workers of older configurations, which serve the connections that they have to their end.
const OLD_WORKERS_MAX: u8 = 20;
/// A client takes at most so long for the head of its request; an idle connection is kept for so long.
const REQUEST_S: u8 = 10;
/// Between two looks at a server of which there is doubt.
const DOUBT_MS: u32 = 200;

/// What is not in the parameters.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Whose configuration it is.
    pub resource: &'a ResourceId,
    /// The Unix socket for statistics and administration.
    pub admin: &'a Path,
    /// Workers run as this user and group; `None` as whoever starts them.
    pub user: Option<&'a str>,
    /// Whether addresses may be bound that are on another machine now.
    pub elsewhere: bool,
    /// Connections that there is room for, of all frontends.
    pub connections_max: u32,
    /// Machines that are known to be dead: their servers begin in maintenance.
    pub gone: &'a BTreeSet<NodeName>,
}

/// Names the parameters: what runs says it again (`show info`).
pub fn fingerprint(proxy: &Proxy) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[FORM]);
    // Plain data: serialising it into memory cannot fail.
    context.update(&serde_json::to_vec(proxy).unwrap_or_default());
    let mut text = String::from("palisade-");
    for byte in context.finish().as_ref().iter().take(12) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The whole file.
pub fn render(proxy: &Proxy, around: &Surroundings<'_>) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_all(&mut out, proxy, around);
    out
}

fn write_all(out: &mut String, proxy: &Proxy, around: &Surroundings<'_>) -> core::fmt::Result {
    writeln!(
        out,
        "# LoadBalancer {}; made by palisade, what is changed here is lost",
        around.resource
    )?;
    writeln!(out, "global")?;
    writeln!(out, "    description {}", fingerprint(proxy))?;
    let admin = around.admin.display();
    writeln!(out, "    stats socket {admin} mode 600 level admin expose-fd listeners")?;
    writeln!(out, "    maxconn {}", around.connections_max)?;
    writeln!(out, "    mworker-max-reloads {OLD_WORKERS_MAX}")?;
    if let Some(user) = around.user {
        writeln!(out, "    user {user}\n    group {user}")?;
    }
    writeln!(out, "\ndefaults\n    option redispatch\n    retries 3\n    timeout queue 5s")?;
    writeln!(
        out,
        "    timeout http-request {REQUEST_S}s\n    timeout http-keep-alive {REQUEST_S}s"
    )?;
    for frontend in &proxy.frontends {
        write_frontend(out, frontend, around)?;
    }
    for backend in &proxy.backends {
        write_backend(out, backend, proxy.mode_of(backend), around)?;
    }
    Ok(())
}

fn mode(mode: ProxyMode) -> &'static str {
    match mode {
        ProxyMode::Http => "http",
        ProxyMode::Tcp => "tcp",
    }
}

fn place(address: IpAddr, port: u16) -> String {
    core::net::SocketAddr::new(address, port).to_string()
}

fn write_frontend(
    out: &mut String,
    frontend: &Frontend,
    around: &Surroundings<'_>,
) -> core::fmt::Result {
    let at = place(frontend.address, frontend.port);
    // Bound on every member, although one of them has the address.
    let elsewhere = if around.elsewhere { " transparent" } else { "" };
    writeln!(out, "\nfrontend {}\n    bind {at}{elsewhere}", frontend.name)?;
    writeln!(out, "    mode {}\n    maxconn {}", mode(frontend.mode), frontend.connections_max)?;
    writeln!(out, "    timeout client {}ms", frontend.client_timeout_ms)?;
    match frontend.mode {
        // Without it a reload closes idle connections under the next request.
        ProxyMode::Http => {
            writeln!(out, "    option idle-close-on-response\n    option forwardfor")?
        }
        ProxyMode::Tcp => writeln!(out, "    option clitcpka")?,
    }
    writeln!(out, "    default_backend {}", frontend.backend)
}

fn write_backend(
    out: &mut String,
    backend: &Backend,
    spoken: ProxyMode,
    around: &Surroundings<'_>,
) -> core::fmt::Result {
    let balance = match backend.balance {
        Balance::LeastConnections => "leastconn",
        Balance::RoundRobin => "roundrobin",
        Balance::Source => "source",
    };
    writeln!(out, "\nbackend {}\n    mode {}", backend.name, mode(spoken))?;
    writeln!(out, "    balance {balance}")?;
    let connect = backend.connect_timeout_ms;
    writeln!(out, "    timeout connect {connect}ms\n    timeout check {connect}ms")?;
    writeln!(out, "    timeout server {}ms", backend.server_timeout_ms)?;
    let mut look = "check";
    let mut port = None;
    match &backend.check {
        ServerCheck::None => look = "",
        ServerCheck::Tcp => {}
        ServerCheck::Http { path, statuses, port: other } => {
            writeln!(out, "    option httpchk GET {path}")?;
            let all: Vec<String> = statuses.iter().map(u16::to_string).collect();
            let good = if all.is_empty() { "200-399".into() } else { all.join(",") };
            writeln!(out, "    http-check expect status {good}")?;
            port = *other;
        }
    }
    if spoken == ProxyMode::Tcp {
        writeln!(out, "    option srvtcpka")?;
    }
    let every = backend.check_interval_ms;
    let doubt = every.min(DOUBT_MS);
    write!(out, "    default-server inter {every}ms fastinter {doubt}ms downinter {every}ms")?;
    write!(out, " fall {} rise {}", backend.fall, backend.rise)?;
    if spoken == ProxyMode::Tcp {
        // Clients would hang on the old one (SERVICES.md 4.1).
        write!(out, " on-marked-down shutdown-sessions")?;
    }
    writeln!(out)?;
    for server in &backend.servers {
        write!(out, "    server {} {}", server.node, place(server.address, server.port))?;
        if !look.is_empty() {
            write!(out, " {look}")?;
        }
        if let Some(port) = port {
            write!(out, " port {port}")?;
        }
        for (word, wanted) in
            [("backup", server.backup), ("disabled", around.gone.contains(&server.node))]
        {
            if wanted {
                write!(out, " {word}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}
