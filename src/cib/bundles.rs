//! What a bundle stands for: per replica a container, perhaps an address, and, where something runs inside, the
//! connection to the guest node that the container is; and a clone of what runs inside, one copy per container.
//!
//! Invariants: names are those that Pacemaker derives (`<b>-docker-N`, `<b>-ip-ADDR`, `<b>-N`, `<b>-clone`), so that
//! history is recognised; the parameters of containers are those that Pacemaker would give, so that a changed
//! definition is recognised too.

use policy::{
    Model,
    model::{
        Bundle, BundleReplica, CloneSpec, INFINITY, Node, NodeKind, Options, Resource, ResourceKind,
    },
};
use roxmltree::Node as Xml;

use crate::{
    document::{Document, Error},
    resources::Names,
};

const CONTROL_PORT: &str = "3121";
const KEY: &str = "/etc/pacemaker/authkey";
const LOGS: &str = "/var/log/pacemaker/bundles";
const WATCH_MS: u64 = 60_000;
const REPLICAS_MAX: u32 = 1_000;

/// Puts what bundles stand for behind each of them.
pub(crate) fn expand<'a, 'i>(
    doc: &Document<'a, 'i>,
    section: Xml<'a, 'i>,
    names: &mut Names,
    model: &mut Model,
) -> Result<(), Error> {
    let mut all = Vec::with_capacity(model.resources.len());
    let mut nodes = Vec::new();
    for resource in model.resources.iter() {
        let ResourceKind::Bundle(bundle) = &resource.kind else {
            all.push(resource.clone());
            continue;
        };
        if bundle.replicas.max(bundle.promoted_max) > REPLICAS_MAX {
            let text = format!("bundle {:?} has more than {REPLICAS_MAX} replicas", resource.id);
            return Err(doc.error(section, &text));
        }
        let mut parts = Parts { id: &resource.id, meta: &resource.meta, bundle, more: Vec::new() };
        let Some(whole) = parts.expand(names) else {
            // something inside that cannot be reached
            all.push(resource.clone());
            continue;
        };
        nodes.extend(whole.replicas_made().filter_map(|replica| replica.connection.clone()));
        let kind = ResourceKind::Bundle(whole);
        all.push(Resource { id: resource.id.clone(), meta: resource.meta.clone(), kind });
        all.append(&mut parts.more);
    }
    for part in &all {
        names.resources.insert(part.id.clone());
    }
    model.resources = all.into();
    for name in nodes {
        match model.nodes.iter_mut().find(|node| node.name == name) {
            // only what is inside belongs there
            Some(node) => node.score = -INFINITY,
            None => model.nodes.push(Node {
                id: name.clone(),
                name,
                kind: NodeKind::Remote,
                score: -INFINITY,
                ..Node::default()
            }),
        }
    }
    Ok(())
}

struct Parts<'b> {
    id: &'b str,
    meta: &'b Options,
    bundle: &'b Bundle,
    more: Vec<Resource>,
}

impl Parts<'_> {
    fn expand(&mut self, names: &Names) -> Option<Bundle> {
        let bundle = self.bundle;
        let mut whole = bundle.clone();
        whole.replicas = match bundle.replicas {
            0 => bundle.promoted_max.max(1),
            count => count,
        };
        whole.replicas_per_host = bundle.replicas_per_host.max(1);
        if bundle.ip_range_start.is_none() && bundle.control_port.is_some() {
            // without addresses of their own two would want the same port
            whole.replicas_per_host = 1;
        }
        let reachable = bundle.ip_range_start.is_some() || bundle.control_port.is_some();
        if bundle.child.is_some() && !reachable {
            return None;
        }
        let addresses = addresses(bundle.ip_range_start.as_deref(), whole.replicas);
        let hosts = self.hosts(&addresses);
        let mut connections = Vec::new();
        for number in 0..whole.replicas {
            let address = addresses.get(number as usize).map(String::as_str);
            let container = self.container(number, address, &hosts);
            let connection = bundle.child.is_some().then(|| {
                let name = format!("{}-{number}", self.id);
                let taken = names.resources.contains(&name);
                if taken { format!("{}-remote-{number}", self.id) } else { name }
            });
            if let Some(name) = &connection {
                let port = bundle.control_port.as_deref().unwrap_or(CONTROL_PORT);
                let made = Resource::primitive(name, "ocf", "pacemaker", "remote")
                    .with_meta("container", &container.id)
                    .with_parameter("addr", address.unwrap_or("#uname"))
                    .with_parameter("port", port)
                    .with_operation("monitor", 30_000, &[("timeout", "30s")]);
                connections.push(self.inheriting(made));
            }
            let address = address.map(|address| {
                let made = self.address(address);
                let id = made.id.clone();
                self.more.push(made);
                id
            });
            whole.parts.push(BundleReplica { container, address, connection });
        }
        self.more.append(&mut connections);
        if let Some(child) = whole.child.take() {
            let inner = self.inner(&whole, *child);
            whole.inner = Some(inner.id.clone());
            self.more.push(inner);
        }
        Some(whole)
    }

    fn inheriting(&self, mut part: Resource) -> Resource {
        part.meta.sets.extend(self.meta.sets.iter().cloned());
        part
    }

    fn inner(&self, whole: &Bundle, child: Resource) -> Resource {
        let promotable = whole.promoted_max > 0;
        let word = if promotable { "master" } else { "clone" };
        let notify = child.meta.sets.iter().flat_map(|set| &set.pairs);
        let notify = notify.into_iter().find(|(name, _)| name == "notify").cloned();
        let id = format!("{}-{word}", self.id);
        let kind = ResourceKind::Clone(CloneSpec { promotable, child: Box::new(child) });
        let unique = if whole.replicas_per_host > 1 { "true" } else { "false" };
        let mut clone = Resource { id, meta: Options::default(), kind }
            .with_meta("ordered", "true")
            .with_meta("clone-max", &whole.replicas.to_string())
            .with_meta("clone-node-max", &whole.replicas_per_host.to_string())
            .with_meta("globally-unique", unique);
        if promotable {
            clone = clone
                .with_meta("promotable", "true")
                .with_meta("promoted-max", &whole.promoted_max.to_string());
        }
        if let Some((name, value)) = notify {
            clone = clone.with_meta(&name, &value);
        }
        self.inheriting(clone)
    }

    fn address(&self, address: &str) -> Resource {
        let bundle = self.bundle;
        let id = format!("{}-ip-{address}", self.id);
        let mut made =
            Resource::primitive(&id, "ocf", "heartbeat", "IPaddr2").with_parameter("ip", address);
        if let Some(interface) = &bundle.host_interface {
            made = made.with_parameter("nic", interface);
        }
        let netmask = bundle.host_netmask.as_deref().unwrap_or("32");
        let made = made.with_parameter("cidr_netmask", netmask);
        self.inheriting(made.with_operation("monitor", WATCH_MS, &[]))
    }

    /// Names of all replicas for the hosts file of each.
    fn hosts(&self, addresses: &[String]) -> String {
        let bundle = self.bundle;
        if !bundle.add_host {
            return String::new();
        }
        let one = |(number, address): (usize, &String)| match bundle.runtime.as_str() {
            "rkt" => format!(" --hosts-entry={address}={}-{number}", self.id),
            _ => format!(" --add-host={}-{number}:{address}", self.id),
        };
        addresses.iter().enumerate().map(one).collect()
    }

    fn container(&self, number: u32, address: Option<&str>, hosts: &str) -> Resource {
        let bundle = self.bundle;
        let id = format!("{}-{}-{number}", self.id, bundle.runtime);
        let mut made = Resource::primitive(&id, "ocf", "heartbeat", &bundle.runtime)
            .with_parameter("image", &bundle.image)
            .with_parameter("allow_pull", "true")
            .with_parameter("force_kill", "false")
            .with_parameter("reuse", "false");
        let mut mounts = Vec::new();
        made =
            made.with_parameter("run_opts", &self.run_options(number, address, hosts, &mut mounts));
        let inside = bundle.child.as_ref().map(|_| "/usr/sbin/pacemaker-remoted");
        if let Some(command) = bundle.run_command.as_deref().or(inside) {
            made = made.with_parameter("run_cmd", command);
        }
        made = made.with_parameter("mount_points", &mounts.join(","));
        made = made.with_parameter("monitor_cmd", "/bin/true");
        made.with_operation("monitor", WATCH_MS, &[])
    }

    fn run_options(
        &self,
        number: u32,
        address: Option<&str>,
        hosts: &str,
        mounts: &mut Vec<String>,
    ) -> String {
        let bundle = self.bundle;
        let mut words = String::new();
        let mut add = |word: &str| {
            words.push(' ');
            words.push_str(word);
        };
        if bundle.runtime == "docker" {
            add("--restart=no");
        }
        if address.is_some() {
            add(&format!("-h {}-{number}", self.id));
        }
        add("-e PCMK_stderr=1");
        if let Some(network) = &bundle.network {
            add(&format!("--net={network}"));
        }
        let port = bundle.control_port.as_deref().unwrap_or(CONTROL_PORT);
        if bundle.child.is_some() || bundle.control_port.is_some() {
            add(&format!("-e PCMK_remote_port={port}"));
        } else {
            add(&format!("-e PCMK_remote_port={CONTROL_PORT}"));
        }
        let own = [(KEY, KEY, "", false), (LOGS, "/var/log", "", true)];
        let given = bundle.storage.iter().map(|storage| {
            let texts =
                (storage.source.as_str(), storage.target.as_str(), storage.options.as_str());
            (texts.0, texts.1, texts.2, storage.per_replica)
        });
        let own = own.into_iter().filter(|_| bundle.child.is_some());
        for (source, target, options, per_replica) in given.chain(own) {
            let mut source = source.to_owned();
            if per_replica {
                source = format!("{source}/{}-{number}", self.id);
                mounts.push(source.clone());
            }
            let options = if options.is_empty() { String::new() } else { format!(":{options}") };
            add(&format!("-v {source}:{target}{options}"));
        }
        let own_port = bundle.child.is_some().then(|| (port.to_owned(), port.to_owned()));
        let given = bundle.ports.iter().map(|mapping| match (&mapping.port, &mapping.range) {
            (Some(port), _) => {
                (port.clone(), mapping.internal_port.clone().unwrap_or_else(|| port.clone()))
            }
            (None, range) => {
                let range = range.clone().unwrap_or_default();
                (range.clone(), range)
            }
        });
        for (source, target) in given.chain(own_port) {
            match address {
                Some(address) => add(&format!("-p {address}:{source}:{target}")),
                None if bundle.network.as_deref() != Some("host") => {
                    add(&format!("-p {source}:{target}"));
                }
                None => {}
            }
        }
        if !bundle.run_options.is_empty() {
            add(&bundle.run_options);
        }
        // a space is part of the definition that history remembers, whether or not names follow it
        add(hosts);
        words
    }
}

/// Consecutive addresses; the last byte runs from 1 to 254.
fn addresses(first: Option<&str>, count: u32) -> Vec<String> {
    let Some(first) = first else { return Vec::new() };
    let parsed: Option<Vec<u32>> = first.split('.').map(|part| part.parse().ok()).collect();
    let Some([a, b, mut c, mut d]) = parsed.and_then(|parts| <[u32; 4]>::try_from(parts).ok())
    else {
        return vec![first.to_owned()];
    };
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(format!("{a}.{b}.{c}.{d}"));
        if d > 253 {
            c += 1;
            d = 1;
        } else {
            d += 1;
        }
    }
    made
}
