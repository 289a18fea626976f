//! One revision: a process, and a power switch for each machine.

use core::time::Duration;
use std::{collections::BTreeMap, format, vec, vec::Vec};

use base::{Label, ResourceId, ResourceKind};
use policy::revision as rev;

use super::world::id;

pub(crate) fn process() -> ResourceKind {
    let template: Label = "web".parse().expect("valid");
    ResourceKind::Process { template }
}

/// One process, a power switch for each machine.
pub(crate) fn revision(n: usize) -> rev::Revision {
    let ms = Duration::from_millis;
    let name = |i: usize| format!("ctl-{}", i + 1).parse().expect("valid");
    let web_object = rev::ObjectVersion {
        kind: rev::ObjectKind::ResourcePlacement,
        name: "web".into(),
        uid: "web-uid".into(),
        generation: 1,
        hash: 1,
    };
    rev::Revision {
        format: rev::REVISION_FORMAT,
        cluster: rev::ClusterKey { namespace: "ns".into(), name: "main".into(), uid: "u".into() },
        objects: vec![web_object],
        voters: (0..n)
            .map(|i| rev::Voter {
                id: id(i),
                name: name(i),
                links: Vec::new(),
                system_uuid: None,
                interfaces: BTreeMap::new(),
            })
            .collect(),
        timings: rev::Timings {
            token: ms(400),
            consensus: ms(480),
            join: ms(50),
            merge: ms(200),
            agent_restart_grace: ms(5000),
            stall_tolerance: ms(1000),
            report_timeout: ms(5000),
            startup_wait: ms(20000),
        },
        transport: rev::Transport {
            port: 5405,
            cipher: rev::Cipher::Aes256GcmSiv,
            key: rev::SecretEntry { secret: "ring".into(), entry: "key".into() },
        },
        quorum: rev::QuorumOptions {},
        no_quorum_policy: rev::NoQuorumPolicy::Stop,
        fencing: rev::FencingOptions {
            enabled: true,
            action: rev::FenceAction::Off,
            self_fencing: false,
            budget: 30,
            budget_window: ms(600_000),
        },
        devices: (0..n)
            .map(|i| rev::Device {
                device: base::FenceDevice {
                    name: format!("bmc-{}", i + 1).parse().expect("valid"),
                    driver: base::FenceDriver::Ipmi {
                        address: core::net::IpAddr::from([127, 0, 0, 1]),
                        port: 623,
                        cipher_suite: 17,
                    },
                    credentials: "bmc".into(),
                    targets: vec![id(i)],
                    level: 1,
                    delay: ms(0),
                    identity: None,
                },
                timeout: ms(10_000),
                deletion: rev::DeletionPolicy::Retain,
                retained: false,
            })
            .collect(),
        nodes: (0..n)
            .map(|i| rev::NodeIntent {
                name: name(i),
                standby: false,
                maintenance: false,
                attributes: BTreeMap::new(),
            })
            .collect(),
        placements: vec![single("web")],
        constraints: Vec::new(),
    }
}

pub(crate) fn single(name: &str) -> rev::Placement {
    let id: ResourceId = name.parse().expect("valid");
    let s = Duration::from_secs;
    rev::Placement {
        id: id.clone(),
        shape: rev::Shape::Single,
        members: vec![rev::Primitive {
            id,
            kind: process(),
            timeouts: rev::Timeouts {
                start: s(10),
                stop: s(10),
                promote: s(10),
                demote: s(10),
                probe: s(10),
            },
            monitors: Vec::new(),
            meta: rev::Meta::default(),
        }],
        meta: rev::Meta::default(),
        deletion: rev::DeletionPolicy::Retain,
        retained: false,
    }
}
