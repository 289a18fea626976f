//! `LoadBalancer` into a placement and constraints, and what is said of it.
//!
//! It runs as a clone on every member and each virtual address follows a running copy, as operators of OpenStack know it from
//! Pacemaker: a failover moves an address to a balancer that is warm, and starts none. A copy binds addresses that are elsewhere.

use api::{
    LoadBalancer, PlacementConstraint, ResourcePlacement, ResourcePlacementSpec, VirtualIP,
    constraint::Colocation,
    load_balancer::{self as api_lb, CheckType, Frontend, Mode},
    names::reason,
    placement::{Clones, LoadBalancerParameters, Meta, Resource, ResourceType, Timeouts},
};
use base::proxy::{self, Balance, ProxyMode, ServerCheck};
use kube::{Resource as _, ResourceExt};
use policy::revision::Revision;

use crate::{
    Problem, Verdicts,
    expand::{Expanded, constraint, meta},
    parse::Faults,
};

/// Silence of a client or a server when the object does not say (SERVICES.md 4.1).
const SILENCE_HTTP_MS: u32 = 60_000;
const SILENCE_TCP_MS: u32 = 90 * 60_000;

/// A `LoadBalancer` as a placement and constraints; `None` while one of the addresses that it binds is not there.
pub(crate) fn expand(balancer: &LoadBalancer, addresses: &[VirtualIP]) -> Option<Expanded> {
    let (name, spec) = (balancer.name_any(), &balancer.spec);
    let mut frontends = spec.frontends.clone();
    let mut bound = Vec::new();
    for frontend in &mut frontends {
        let Some(vip) = frontend.virtual_ip.take() else { continue };
        frontend.address =
            Some(address_of(balancer, vip.as_str(), addresses)?.spec.address.clone());
        bound.push(vip);
    }
    bound.sort();
    bound.dedup();
    let parameters = LoadBalancerParameters {
        max_connections: spec.max_connections,
        frontends,
        backends: spec.backends.clone(),
    };
    let resource = Resource {
        type_: ResourceType::LoadBalancer,
        address: None,
        process: None,
        load_balancer: Some(parameters),
        ocf: None,
        timeouts: Timeouts::default(),
        monitors: None,
        meta: Meta::default(),
    };
    let mut placement = ResourcePlacement::new(
        &name,
        ResourcePlacementSpec {
            cluster_ref: spec.cluster_ref.clone(),
            resource: Some(resource),
            group: None,
            clone: Some(Clones::default()),
            meta: Meta::default(),
            deletion_policy: spec.deletion_policy,
        },
    );
    placement.metadata = meta(balancer, &name, &spec.cluster_ref);
    let constraints = bound
        .iter()
        .map(|vip| follows(balancer, &format!("{name}.{vip}.together"), vip.as_str()))
        .collect();
    Some(Expanded::of(balancer, placement, constraints))
}

/// The address goes where a copy runs.
fn follows(balancer: &LoadBalancer, name: &str, vip: &str) -> PlacementConstraint {
    let together = Colocation {
        resource: Some(vip.into()),
        role: None,
        with: Some(balancer.name_any().into()),
        with_role: None,
        sets: None,
        score: policy::revision::SCORE_MAX,
    };
    let spec = &balancer.spec;
    constraint(balancer, name, &spec.cluster_ref, spec.deletion_policy, Some(together), None)
}

fn address_of<'a>(
    balancer: &LoadBalancer,
    name: &str,
    addresses: &'a [VirtualIP],
) -> Option<&'a VirtualIP> {
    let cluster = &balancer.spec.cluster_ref;
    addresses.iter().find(|vip| vip.name_any() == name && vip.spec.cluster_ref == *cluster)
}

/// What is said of a balancer: which addresses it waits for, which machines are none, what its placement makes of it.
pub(crate) fn judge(
    balancer: &LoadBalancer,
    addresses: &[VirtualIP],
    revision: &Revision,
    verdicts: &mut Verdicts,
) {
    let name = balancer.name_any();
    let mut problems = Vec::new();
    for (at, frontend) in balancer.spec.frontends.iter().enumerate() {
        if let Some(vip) = &frontend.virtual_ip
            && address_of(balancer, vip.as_str(), addresses).is_none()
        {
            let why = format!(
                "spec.frontends[{at}].virtualIP: VirtualIP {:?} does not exist (waiting): apply it",
                vip.as_str()
            );
            problems.push(Problem::warning(reason::UNKNOWN_REFERENCE, why));
        }
    }
    for (at, backend) in balancer.spec.backends.iter().enumerate() {
        let strange = |s: &&api_lb::Server| {
            !revision.voters.iter().any(|v| v.name.as_str() == s.node.as_str())
        };
        if let Some(server) = backend.servers.iter().find(strange) {
            let why = format!(
                "spec.backends[{at}].servers: {:?} is no member of HACluster {:?}: nobody tells when it is dead, only checks",
                server.node.as_str(),
                revision.cluster.name
            );
            problems.push(Problem::warning(reason::UNKNOWN_REFERENCE, why));
        }
    }
    let mut faults = Faults::default();
    // What it binds by name has its address in the placement only.
    let mut spec = balancer.spec.clone();
    for frontend in &mut spec.frontends {
        if let Some(vip) = frontend.virtual_ip.take() {
            let known = address_of(balancer, vip.as_str(), addresses);
            frontend.address = known.map(|vip| vip.spec.address.clone());
        }
    }
    if spec.frontends.iter().all(|frontend| frontend.address.is_some()) {
        let parameters = LoadBalancerParameters {
            max_connections: spec.max_connections,
            frontends: spec.frontends,
            backends: spec.backends,
        };
        parameters_in("spec", &parameters, &mut faults);
    }
    problems.extend(faults.0);
    if let Some(verdict) = verdicts.of(ResourcePlacement::kind(&()).as_ref(), &name) {
        // what is wrong with what was made of it is its own fault
        let clashes = verdict.problems.iter().filter(|p| p.reason == reason::DUPLICATE);
        problems.extend(clashes.cloned());
    }
    verdicts.say("LoadBalancer", &name, problems);
}

/// Parameters of a placement into what members agree on.
pub(crate) fn parameters_in(
    at: &str,
    parameters: &LoadBalancerParameters,
    faults: &mut Faults,
) -> Option<proxy::Proxy> {
    let before = faults.0.len();
    let frontends: Vec<_> = parameters
        .frontends
        .iter()
        .enumerate()
        .filter_map(|(i, f)| frontend(&format!("{at}.frontends[{i}]"), f, faults))
        .collect();
    let spoken = |name: &str| {
        let of = parameters.frontends.iter().find(|f| f.backend.as_str() == name);
        of.map_or(Mode::Tcp, |f| f.mode)
    };
    let backends: Vec<_> = parameters
        .backends
        .iter()
        .enumerate()
        .filter_map(|(i, b)| {
            backend(&format!("{at}.backends[{i}]"), b, spoken(b.name.as_str()), faults)
        })
        .collect();
    if faults.0.len() > before {
        return None;
    }
    let made = proxy::Proxy { connections_max: parameters.max_connections, frontends, backends };
    match made.fault() {
        None => Some(made),
        Some(why) => {
            faults.add(at, why);
            None
        }
    }
}

fn frontend(at: &str, frontend: &Frontend, faults: &mut Faults) -> Option<proxy::Frontend> {
    let Some(address) = &frontend.address else {
        faults.add(&format!("{at}.address"), "is required in a placement");
        return None;
    };
    let silence = silence(frontend.mode);
    Some(proxy::Frontend {
        name: faults.id(&format!("{at}.name"), frontend.name.as_str())?,
        address: faults.address(&format!("{at}.address"), address)?,
        port: faults.number(&format!("{at}.port"), frontend.port)?,
        mode: match frontend.mode {
            Mode::Http => ProxyMode::Http,
            Mode::Tcp => ProxyMode::Tcp,
        },
        backend: faults.id(&format!("{at}.backend"), frontend.backend.as_str())?,
        client_timeout_ms: faults.ms(
            &format!("{at}.clientTimeout"),
            frontend.client_timeout.as_ref(),
            silence,
        ),
        connections_max: frontend.max_connections,
    })
}

const fn silence(mode: Mode) -> u32 {
    match mode {
        Mode::Http => SILENCE_HTTP_MS,
        Mode::Tcp => SILENCE_TCP_MS,
    }
}

fn backend(
    at: &str,
    backend: &api_lb::Backend,
    mode: Mode,
    faults: &mut Faults,
) -> Option<proxy::Backend> {
    let servers: Vec<_> = backend
        .servers
        .iter()
        .enumerate()
        .filter_map(|(i, server)| {
            let at = format!("{at}.servers[{i}]");
            Some(proxy::Server {
                node: faults.id(&format!("{at}.node"), server.node.as_str())?,
                address: faults.address(&format!("{at}.address"), &server.address)?,
                port: faults.number(&format!("{at}.port"), server.port)?,
                backup: server.backup,
            })
        })
        .collect();
    let look = &backend.check;
    Some(proxy::Backend {
        name: faults.id(&format!("{at}.name"), backend.name.as_str())?,
        balance: match backend.balance {
            api_lb::Balance::LeastConnections => Balance::LeastConnections,
            api_lb::Balance::RoundRobin => Balance::RoundRobin,
            api_lb::Balance::Source => Balance::Source,
        },
        check: check(&format!("{at}.check"), look, faults)?,
        check_interval_ms: faults.ms(&format!("{at}.check.interval"), Some(&look.interval), 0),
        fall: faults.number(&format!("{at}.check.fall"), look.fall)?,
        rise: faults.number(&format!("{at}.check.rise"), look.rise)?,
        connect_timeout_ms: faults.ms(
            &format!("{at}.connectTimeout"),
            Some(&backend.connect_timeout),
            0,
        ),
        server_timeout_ms: faults.ms(
            &format!("{at}.serverTimeout"),
            backend.server_timeout.as_ref(),
            silence(mode),
        ),
        servers,
    })
}

fn check(at: &str, check: &api_lb::Check, faults: &mut Faults) -> Option<ServerCheck> {
    Some(match check.type_ {
        CheckType::None => ServerCheck::None,
        CheckType::Tcp => ServerCheck::Tcp,
        CheckType::Http => ServerCheck::Http {
            path: {
                let path = check.request.as_ref().map(|path| path.as_str()).unwrap_or_default();
                faults.id(&format!("{at}.request"), path)?
            },
            statuses: {
                let wanted = check.statuses.iter().flatten();
                wanted
                    .map(|s| faults.number(&format!("{at}.statuses"), *s))
                    .collect::<Option<_>>()?
            },
            port: match check.port {
                Some(port) => Some(faults.number(&format!("{at}.port"), port)?),
                None => None,
            },
        },
    })
}
