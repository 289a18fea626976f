//! What the API would have said.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use base::{FenceDevice, FenceDriver, NodeId, ResourceKind, SystemUuid};
use policy::revision::{
    Cipher, ClusterKey, DeletionPolicy, Device, FenceAction, FencingOptions, Meta, NoQuorumPolicy,
    NodeIntent, ObjectKind, ObjectVersion, Placement, Primitive, QuorumOptions, REVISION_FORMAT,
    Revision, SecretEntry, Shape, Timeouts, Timings, Transport, Voter,
};

/// The machine of a node, as its firmware and its BMC call it.
pub(crate) const fn uuid(node: u16) -> SystemUuid {
    SystemUuid(0x4c4c_4544_0042_3510_8054_b4c0_4f56_0000 + node as u128)
}

/// Three members, a fence device each, one process.
pub(crate) fn three(port: u16) -> Revision {
    let ms = Duration::from_millis;
    let s = Duration::from_secs;
    let id = |node| NodeId::new(node).expect("not zero");
    let [high, low] = port.to_be_bytes();
    let name = |node: u16| format!("ctl-{node}").parse().expect("valid");
    Revision {
        format: REVISION_FORMAT,
        cluster: ClusterKey { namespace: "ha".into(), name: "main".into(), uid: "u".into() },
        objects: vec![ObjectVersion {
            kind: ObjectKind::HaCluster,
            name: "main".into(),
            uid: "u".into(),
            generation: 1,
            hash: 1,
        }],
        voters: [1_u8, 2, 3]
            .into_iter()
            .map(|node| Voter {
                id: id(node.into()),
                name: name(node.into()),
                links: vec![IpAddr::from([127, high, low, node])],
                system_uuid: Some(uuid(node.into())),
                interfaces: BTreeMap::new(),
            })
            .collect(),
        timings: Timings {
            token: ms(500),
            consensus: ms(600),
            join: ms(25),
            merge: ms(200),
            agent_restart_grace: s(5),
            stall_tolerance: s(1),
            report_timeout: s(5),
            startup_wait: s(20),
        },
        transport: Transport {
            port,
            cipher: Cipher::Aes256GcmSiv,
            key: SecretEntry { secret: "ring".into(), entry: "key".into() },
        },
        quorum: QuorumOptions {},
        no_quorum_policy: NoQuorumPolicy::Stop,
        fencing: FencingOptions {
            enabled: true,
            action: FenceAction::Off,
            self_fencing: false,
            budget: 3,
            budget_window: s(600),
        },
        devices: [1_u16, 2, 3]
            .into_iter()
            .map(|node| Device {
                device: FenceDevice {
                    name: format!("bmc-{node}").parse().expect("valid"),
                    driver: FenceDriver::Ipmi {
                        address: IpAddr::from([127, 0, 0, 1]),
                        port: 623,
                        cipher_suite: 17,
                    },
                    credentials: "bmc".into(),
                    targets: vec![id(node)],
                    level: 1,
                    delay: ms(0),
                    identity: Some(uuid(node)),
                },
                timeout: s(5),
                deletion: DeletionPolicy::Retain,
                retained: false,
            })
            .collect(),
        nodes: [1, 2, 3]
            .into_iter()
            .map(|node| NodeIntent {
                name: name(node),
                standby: false,
                maintenance: false,
                attributes: BTreeMap::new(),
            })
            .collect(),
        placements: vec![Placement {
            id: "web".parse().expect("valid"),
            shape: Shape::Single,
            members: vec![Primitive {
                id: "web".parse().expect("valid"),
                kind: ResourceKind::Process { template: "web".parse().expect("valid") },
                timeouts: Timeouts {
                    start: s(10),
                    stop: s(10),
                    promote: s(10),
                    demote: s(10),
                    probe: s(10),
                },
                monitors: Vec::new(),
                meta: Meta::default(),
            }],
            meta: Meta::default(),
            deletion: DeletionPolicy::Retain,
            retained: false,
        }],
        constraints: Vec::new(),
    }
}
