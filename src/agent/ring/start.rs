//! What a revision, a state directory and a machine make of a ring part: its cores, addresses and settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    time::Duration,
};

use base::{BootId, Instant, Member, NodeId, SystemUuid};
use cluster::{Config as EngineConfig, Member as Engine, Stored};
use policy::revision::Revision;
use totem::{
    Ring, Start,
    frame::{Channel, ChannelConfig, KeyId},
};

use super::core::{ClusterAdmission, Core};
use crate::{
    cipher::{RingCipher, cluster_number},
    keys::RingKeys,
    messages::FencerSettings,
    privileges,
    state::Loaded,
    transport::Addresses,
};

/// The three cores, as the disk and the revision say.
pub(super) fn core(
    now: Instant,
    me: NodeId,
    revision: &Revision,
    keys: RingKeys,
    loaded: Loaded,
    boot_id: BootId,
    system_uuid: Option<SystemUuid>,
) -> io::Result<Core> {
    let member = Member { node: me, incarnation: loaded.incarnation };
    let nodes: BTreeSet<NodeId> = revision.voters.iter().map(|voter| voter.id).collect();
    let others: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != me).collect();
    let peers = revision
        .voters
        .iter()
        .filter(|voter| voter.id != me)
        .map(|voter| (voter.id, voter.links.clone()))
        .collect();
    let seed = u64::try_from(crate::state::random_u128() >> 64).unwrap_or(0);
    let channel = ChannelConfig {
        cluster: cluster_number(&revision.cluster.namespace, &revision.cluster.name),
        member,
        peers,
        keys: keys.ids().into_iter().map(KeyId).collect(),
        seed,
    };
    let held = keys.ids();
    let cipher = RingCipher::new(keys, revision.transport.cipher);
    let channel = Channel::new(channel, cipher).map_err(io::Error::other)?;
    let times = revision.timings;
    let mut config = totem::Config::new(me, nodes, times.token);
    config.consensus = times.consensus;
    config.merge = times.merge;
    let start = Start { incarnation: loaded.incarnation, reserved: loaded.reserved, seed: !seed };
    let ring = Ring::new(now, config, start, Box::new(ClusterAdmission)).map_err(|error| {
        io::Error::other(format!("{error}: correct the times of the HACluster"))
    })?;
    let engine = EngineConfig {
        me,
        incarnation: loaded.incarnation,
        boot_id,
        system_uuid,
        first: revision.clone(),
        disk: Stored { promise: loaded.promise, state: loaded.state },
        planner: policy::Scheduler::schedule,
    };
    Ok(Core::new(channel, ring, Engine::new(now, engine), me, others, held))
}

/// `bound`: where the own links are bound instead, if anywhere.
pub(super) fn addresses(
    me: NodeId,
    revision: &Revision,
    bound: &[IpAddr],
) -> io::Result<Addresses> {
    let own = revision.voter(me).ok_or_else(|| {
        io::Error::other(format!("node {me} is no member of the cluster: add it to spec.members"))
    })?;
    let others = revision.voters.iter().filter(|voter| voter.id != me);
    Ok(Addresses {
        port: revision.transport.port,
        own: if bound.is_empty() { own.links.clone() } else { bound.to_vec() },
        peers: others.map(|voter| (voter.id, voter.links.clone())).collect(),
    })
}

pub(super) fn interfaces(
    me: NodeId,
    revision: &Revision,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let named = revision.voter(me).into_iter().flat_map(|voter| &voter.interfaces);
    let named = named.map(|(network, interface)| (network.to_string(), interface.clone()));
    named.chain(own.clone()).collect()
}

pub(super) fn fencer_settings(revision: &Revision) -> FencerSettings {
    let secrets = revision.devices.iter().map(|device| device.device.credentials.clone());
    FencerSettings {
        token: revision.timings.token,
        secrets: secrets.filter(|secret| !secret.is_empty()).collect(),
    }
}

/// What a running ring cannot change.
#[derive(PartialEq, Eq)]
pub(super) struct Shape<'a> {
    voters: Vec<(NodeId, &'a [IpAddr])>,
    port: u16,
    cipher: policy::revision::Cipher,
    times: [Duration; 3],
}

pub(super) fn shape(revision: &Revision) -> Shape<'_> {
    let times = revision.timings;
    Shape {
        voters: revision.voters.iter().map(|voter| (voter.id, voter.links.as_slice())).collect(),
        port: revision.transport.port,
        cipher: revision.transport.cipher,
        times: [times.token, times.consensus, times.merge],
    }
}

/// Privileges of the ring's thread; each refusal as a condition's text.
pub fn ask_privileges(real_time: bool) -> Option<String> {
    let mut asked = vec![privileges::oom_protection(), privileges::lock_memory()];
    if real_time {
        asked.push(privileges::real_time());
    }
    let refused: Vec<String> = asked
        .into_iter()
        .filter_map(Result::err)
        .map(|refusal| format!("{} ({})", refusal.what, refusal.error))
        .collect();
    (!refused.is_empty()).then(|| {
        format!(
            "refused by the kernel: {}; under load this member may be taken for dead",
            refused.join(", ")
        )
    })
}
