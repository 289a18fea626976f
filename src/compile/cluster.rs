//! `HACluster` into voters, times, transport, quorum and fencing.

use std::{collections::BTreeMap, time::Duration};

use api::{
    HACluster,
    cluster::{Crypto, FencingAction, FencingMode, HAClusterSpec, NoQuorumPolicy, Switch},
    names::reason,
};
use base::{Label, NodeId};
use kube::ResourceExt;
use policy::revision as r;

use crate::{Problem, Verdicts, parse::Faults, version, version_in};

/// The cluster's part of a revision: from its spec, or, where that cannot be understood, from the one in force.
pub(crate) fn compile(
    cluster: &HACluster,
    previous: Option<&r::Revision>,
    verdicts: &mut Verdicts,
) -> Option<r::Revision> {
    let name = cluster.name_any();
    let mut faults = Faults::default();
    let spec = &cluster.spec;
    let voters = voters(spec, &mut faults);
    let revision = r::Revision {
        format: r::REVISION_FORMAT,
        cluster: r::ClusterKey {
            namespace: cluster.namespace().unwrap_or_default(),
            name: name.clone(),
            uid: cluster.uid().unwrap_or_default(),
        },
        objects: vec![version(r::ObjectKind::HaCluster, cluster, spec)],
        voters,
        timings: timings(spec, &mut faults),
        transport: r::Transport {
            port: faults.number("spec.totem.port", spec.totem.port).unwrap_or_default(),
            cipher: match spec.totem.crypto {
                Crypto::Aes256gcmsiv => r::Cipher::Aes256GcmSiv,
                Crypto::Chacha20poly1305 => r::Cipher::ChaCha20Poly1305,
            },
            key: r::SecretEntry {
                secret: spec.key_secret_ref.name.0.clone(),
                entry: spec.key_secret_ref.key.0.clone(),
            },
        },
        quorum: r::QuorumOptions {},
        no_quorum_policy: match spec.no_quorum_policy {
            NoQuorumPolicy::Demote => r::NoQuorumPolicy::Demote,
            NoQuorumPolicy::Freeze => r::NoQuorumPolicy::Freeze,
            NoQuorumPolicy::Ignore => r::NoQuorumPolicy::Ignore,
            NoQuorumPolicy::Stop => r::NoQuorumPolicy::Stop,
            NoQuorumPolicy::Suicide => r::NoQuorumPolicy::Suicide,
        },
        fencing: fencing(spec, &mut faults),
        devices: Vec::new(),
        nodes: Vec::new(),
        placements: Vec::new(),
        constraints: Vec::new(),
    };
    let out = if faults.0.is_empty() { Some(revision) } else { previous.map(only_cluster) };
    if spec.members.len().is_multiple_of(2) {
        let (n, half) = (spec.members.len(), spec.members.len() / 2);
        faults.0.push(Problem::warning(
            reason::INVALID,
            format!("{n} voters: a {half}/{half} split stops both halves; use an odd number"),
        ));
    }
    token_warnings(spec, &mut faults.0);
    verdicts.say("HACluster", &name, faults.0);
    out
}

/// What of the revision in force came from the cluster object.
fn only_cluster(previous: &r::Revision) -> r::Revision {
    let object = version_in(Some(previous), r::ObjectKind::HaCluster, &previous.cluster.name);
    r::Revision {
        objects: object.into_iter().collect(),
        devices: Vec::new(),
        nodes: Vec::new(),
        placements: Vec::new(),
        constraints: Vec::new(),
        ..previous.clone()
    }
}

fn voters(spec: &HAClusterSpec, faults: &mut Faults) -> Vec<r::Voter> {
    let mut voters: Vec<r::Voter> = Vec::new();
    for (i, member) in spec.members.iter().enumerate() {
        let at = |field: &str| format!("spec.members[{i}].{field}");
        let id = u16::try_from(member.node_id).ok().and_then(NodeId::new);
        if id.is_none() {
            faults.add(&at("nodeId"), format!("{} is out of range: 1 to 65535", member.node_id));
        }
        let name = faults.id(&at("name"), member.name.as_str());
        let links: Vec<_> =
            member.links.iter().filter_map(|l| faults.address(&at("links"), l)).collect();
        let system_uuid = member
            .system_uuid
            .as_ref()
            .and_then(|uuid| faults.id(&at("systemUuid"), uuid.as_str()));
        let interfaces = interfaces(spec, member.name.as_str(), faults);
        if let (Some(id), Some(name)) = (id, name) {
            if voters.iter().any(|v| v.id == id || v.name == name) {
                faults.add(&at("name"), format!("{name} or nodeId {id} is used twice"));
            }
            voters.push(r::Voter { id, name, links, system_uuid, interfaces });
        }
    }
    if voters.len() == 2 {
        faults.add("spec.members", "2 voters cannot survive a failure: use 3 members");
    }
    voters.sort_by_key(|v| v.id);
    voters
}

fn interfaces(spec: &HAClusterSpec, member: &str, faults: &mut Faults) -> BTreeMap<Label, String> {
    let mut out = BTreeMap::new();
    for (i, network) in spec.networks.iter().enumerate() {
        let own = network.overrides.iter().find(|o| o.member.as_str() == member);
        let interface = own.map_or(&network.interface, |o| &o.interface);
        let path = format!("spec.networks[{i}].name");
        if let Some(name) = faults.id(&path, network.name.as_str()) {
            out.insert(name, interface.0.clone());
        }
    }
    out
}

fn timings(spec: &HAClusterSpec, faults: &mut Faults) -> r::Timings {
    let (totem, fencing) = (&spec.totem, &spec.fencing);
    let token = faults.span("spec.totem.token", &totem.token);
    let consensus = faults
        .maybe_span("spec.totem.consensus", totem.consensus.as_ref())
        // TOTEM.md section 9: 1.2 token
        .unwrap_or(token * 6 / 5);
    if consensus < token * 6 / 5 {
        faults.add("spec.totem.consensus", "must be at least 1.2 times token: leave it out");
    }
    r::Timings {
        token,
        consensus,
        join: faults.span("spec.totem.join", &totem.join),
        merge: faults.span("spec.totem.merge", &totem.merge),
        agent_restart_grace: faults
            .span("spec.fencing.agentRestartGrace", &fencing.agent_restart_grace),
        stall_tolerance: faults.span("spec.fencing.stallTolerance", &fencing.stall_tolerance),
        report_timeout: faults.span("spec.fencing.reportTimeout", &fencing.report_timeout),
        startup_wait: faults.span("spec.fencing.startupWait", &fencing.startup_wait),
    }
}

fn fencing(spec: &HAClusterSpec, faults: &mut Faults) -> r::FencingOptions {
    let fencing = &spec.fencing;
    r::FencingOptions {
        enabled: fencing.mode == FencingMode::Required,
        action: match fencing.action {
            FencingAction::Off => r::FenceAction::Off,
            FencingAction::Reboot => r::FenceAction::Reboot,
        },
        self_fencing: fencing.self_fencing == Switch::Enabled,
        budget: faults.number("spec.fencing.budget.max", fencing.budget.max).unwrap_or(1),
        budget_window: faults.span("spec.fencing.budget.window", &fencing.budget.window),
    }
}

fn token_warnings(spec: &HAClusterSpec, out: &mut Vec<Problem>) {
    let Some(token) = spec.totem.token.duration() else { return };
    let text = &spec.totem.token;
    if token < Duration::from_millis(400) {
        let why = format!("token {text} is below the default 400ms: a busy machine will look dead");
        out.push(Problem::warning(reason::INVALID, why));
    }
    if token > Duration::from_secs(10) {
        let why = format!("token {text}: a dead machine is noticed after {text} at the earliest");
        out.push(Problem::warning(reason::INVALID, why));
    }
}
