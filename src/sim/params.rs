//! Everything that a seed decides before a run begins: sizes, times, weather, devices (a swarm: each seed another one).

use std::{collections::BTreeMap, time::Duration};

use base::{
    FenceDevice, FenceDriver, Label, NodeId, NodeName, OcfAgent, ResourceId, ResourceKind, Role,
    SplitMix64, SystemUuid,
    faulty::Rule,
    ocf::{OcfParameter, OcfValue},
};
use policy::revision::{
    Cipher, CloneOptions, ClusterKey, DeletionPolicy, Device, FenceAction, FencingOptions, Meta,
    Monitor, NoQuorumPolicy, NodeIntent, ObjectKind, ObjectVersion, OnFail, Placement, Primitive,
    PromotedOptions, QuorumOptions, REVISION_FORMAT, Revision, SecretEntry, Shape, Timeouts,
    Timings, Transport, Voter,
};

use crate::{dice::Dice, net::Weather, queue::Time, truth::Setup};

const MS: u64 = 1000;

/// What a person chooses; the seed decides the rest.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Length of the phase of faults.
    pub duration_us: u64,
    /// Number of members; `None`: the seed decides between three and five.
    pub nodes: Option<usize>,
    /// Large services on every member, besides the small ones: with 25 of them a report is more than one message.
    pub crowd: usize,
    /// A database on every member, of which one is promoted: the one that wants it most by its own word.
    pub database: bool,
    /// Print the trace.
    pub trace: bool,
    /// The rule that is broken; nothing is in a build without the feature `sabotage`.
    pub faulty: Option<Rule>,
}

/// Length of the phase of faults, if nothing else is said.
pub const DURATION_US: u64 = 30_000_000;

impl Default for Options {
    fn default() -> Self {
        Self {
            duration_us: DURATION_US,
            nodes: None,
            crowd: 0,
            database: false,
            trace: false,
            faulty: None,
        }
    }
}

/// What the seed decided.
#[derive(Clone, Debug)]
pub struct Params {
    /// Members.
    pub nodes: usize,
    /// Token timeout.
    pub token: Duration,
    /// Network without faults.
    pub weather: Weather,
    /// Greatest drift of a clock.
    pub drift_ppm: i64,
    /// Least and greatest time of a durable write.
    pub disk_us: (u64, u64),
    /// Least and greatest time of a login at a BMC.
    pub bmc_us: (u64, u64),
    /// How long a BMC takes from "accepted" to off.
    pub bmc_off_us: u64,
    /// A BMC without mains does not answer.
    pub bmc_shares_power: bool,
    /// From power to the start of the agent.
    pub boot_us: u64,
    /// Watchdogs are armed, and their bound counts as evidence.
    pub self_fencing: bool,
    /// A watchdog that was not fed for this long resets the machine.
    pub watchdog_us: u64,
    /// Writes on their way may spoil a file when the power goes, in 1000.
    pub torn: u32,
    /// `t_stop` of the executors.
    pub t_stop: Duration,
    /// What everybody was given at the start.
    pub revision: Revision,
    /// How many faults begin in the phase of faults.
    pub faults: usize,
    /// Until then databases change their minds.
    pub moods_until: Time,
}

/// Node id of the machine at an index.
pub fn node_id(index: usize) -> NodeId {
    NodeId::new(index as u16 + 1).expect("indexes are small and one is added")
}

/// Index of a machine.
pub fn index_of(node: NodeId) -> usize {
    usize::from(node.as_u16()) - 1
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(value) => value,
        Err(_) => panic!("{text:?} is a constant of the simulator and must parse"),
    }
}

impl Params {
    /// Draws a world.
    pub fn draw(dice: &mut Dice, options: &Options) -> Self {
        let nodes = options.nodes.unwrap_or_else(|| if dice.chance(250) { 5 } else { 3 });
        let token = Duration::from_millis(*dice.pick(&[200, 300, 500, 1000]));
        let grace = Duration::from_millis(dice.range(20, 50) * 100).max(token * 2);
        let weather = Weather {
            delay_us: dice.range(50, 300),
            jitter_us: *dice.pick(&[50, 200, 1000, 3000]),
            loss: *dice.pick(&[0, 0, 0, 0, 1, 10, 30]),
            duplicates: *dice.pick(&[0, 0, 5, 50]),
        };
        let slow_disk = dice.chance(150);
        let disk_us = if slow_disk {
            (5 * MS, dice.range(20, 200) * MS)
        } else {
            (100, dice.range(1, 8) * MS)
        };
        // the longest stop of the revision, as `cluster` tells the executors
        let t_stop = Duration::from_secs(2);
        let self_fencing = dice.chance(200);
        let mut params = Self {
            nodes,
            token,
            weather,
            drift_ppm: *dice.pick(&[0, 20, 200, 500]),
            disk_us,
            bmc_us: (2 * MS, dice.range(5, 200) * MS),
            bmc_off_us: *dice.pick(&[1, 50, 500, 3000]) * MS,
            bmc_shares_power: dice.chance(200),
            boot_us: dice.range(800, 5000) * MS,
            self_fencing,
            watchdog_us: u64::try_from(grace.as_micros()).unwrap_or(0) + 1000 * MS,
            torn: if dice.chance(100) { 200 } else { 0 },
            t_stop,
            revision: revision(nodes, options),
            moods_until: options.duration_us,
            faults: dice.range(5, 12) as usize,
        };
        params.revision.timings = Timings {
            token,
            consensus: token * 6 / 5,
            join: (token / 20).min(Duration::from_millis(25)),
            merge: Duration::from_millis(200),
            agent_restart_grace: grace,
            stall_tolerance: Duration::from_millis(dice.range(3, 10) * 100),
            report_timeout: Duration::from_millis(dice.range(10, 50) * 100),
            startup_wait: Duration::from_millis(dice.range(20, 100) * 100),
        };
        params.revision.fencing.self_fencing = self_fencing;
        if dice.chance(200) {
            params.revision.fencing.action = FenceAction::Off;
        }
        if dice.chance(150) {
            params.revision.no_quorum_policy = NoQuorumPolicy::Freeze;
        }
        for device in &mut params.revision.devices {
            device.timeout = Duration::from_millis(dice.range(30, 100) * 100);
        }
        params
    }

    /// From silence to a new membership (SAFETY.md, head): 1.2 token + token + 0.5 s.
    pub fn t_mem(&self) -> Duration {
        self.token * 11 / 5 + Duration::from_millis(500)
    }

    /// What a fencer reads from the watchdog, if it is armed.
    pub fn watchdog(&self) -> Option<Duration> {
        self.self_fencing.then(|| Duration::from_micros(self.watchdog_us))
    }

    /// What an executor is told.
    pub fn executor(&self) -> lifecycle::Settings {
        lifecycle::Settings {
            token: self.token,
            agent_restart_grace: self.revision.timings.agent_restart_grace,
            t_mem: self.t_mem(),
            t_stop: self.t_stop,
            no_quorum: match self.revision.no_quorum_policy {
                NoQuorumPolicy::Freeze => lifecycle::NoQuorumPolicy::Freeze,
                _ => lifecycle::NoQuorumPolicy::Stop,
            },
        }
    }

    /// What the checks are told.
    pub fn setup(&self) -> Setup {
        let us = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let grace_us = us(self.revision.timings.agent_restart_grace);
        let fencing = &self.revision.fencing;
        Setup {
            voters: (0..self.nodes).map(node_id).collect(),
            t_mem_us: us(self.t_mem()),
            grace_us,
            fresh_us: us(self.token / 2),
            t_stop_us: us(self.t_stop),
            stops_without_quorum: self.revision.no_quorum_policy == NoQuorumPolicy::Stop,
            self_fencing: self.self_fencing,
            watchdog_us: self.self_fencing.then_some(self.watchdog_us),
            // membership, grace, the coordinator's stops, the own ones, the watchdog
            t_assume_us: us(self.t_mem()) + grace_us + 2 * us(self.t_stop) + self.watchdog_us,
            budget: (fencing.budget, us(fencing.budget_window)),
        }
    }
}

/// The objects of a small control plane: an address that goes with a process, a process of its own, one on all members.
fn revision(nodes: usize, options: &Options) -> Revision {
    let secret = |secret: &str| SecretEntry { secret: secret.into(), entry: "key".into() };
    let names: Vec<NodeName> = (1..=nodes).map(|n| parse(&format!("ctl-{n}"))).collect();
    let object = |kind, name: &str| ObjectVersion {
        kind,
        name: name.into(),
        uid: format!("uid-{name}"),
        generation: 1,
        hash: 1,
    };
    let mut objects = vec![object(ObjectKind::HaCluster, "main")];
    let placements = placements(options);
    for placement in &placements {
        objects.push(object(ObjectKind::ResourcePlacement, placement.id.as_str()));
    }
    Revision {
        format: REVISION_FORMAT,
        cluster: ClusterKey {
            namespace: "openstack".into(),
            name: "main".into(),
            uid: "uid-main".into(),
        },
        objects,
        voters: names
            .iter()
            .enumerate()
            .map(|(index, name)| Voter {
                id: node_id(index),
                name: name.clone(),
                links: vec![address(index)],
                system_uuid: Some(uuid(index)),
                interfaces: BTreeMap::new(),
            })
            .collect(),
        timings: Timings {
            token: Duration::ZERO,
            consensus: Duration::ZERO,
            join: Duration::ZERO,
            merge: Duration::ZERO,
            agent_restart_grace: Duration::ZERO,
            stall_tolerance: Duration::ZERO,
            report_timeout: Duration::ZERO,
            startup_wait: Duration::ZERO,
        },
        transport: Transport { port: 5405, cipher: Cipher::Aes256GcmSiv, key: secret("ring") },
        quorum: QuorumOptions {},
        no_quorum_policy: NoQuorumPolicy::Stop,
        fencing: FencingOptions {
            enabled: true,
            action: FenceAction::Reboot,
            self_fencing: false,
            budget: 20,
            budget_window: Duration::from_secs(600),
        },
        devices: (0..nodes).map(device).collect(),
        nodes: names
            .into_iter()
            .map(|name| NodeIntent {
                name,
                standby: false,
                maintenance: false,
                attributes: BTreeMap::new(),
            })
            .collect(),
        placements,
        constraints: Vec::new(),
    }
}

fn placements(options: &Options) -> Vec<Placement> {
    let lock = placement("lock", Shape::Single, vec![primitive("lock", process("lock"))]);
    let (vip, httpd) = (primitive("vip", vip()), primitive("httpd", process("httpd")));
    let mut all = vec![
        placement("api", Shape::Clone(clones()), vec![primitive("api", process("api"))]),
        lock,
        placement("web", Shape::Group, vec![vip, httpd]),
    ];
    if options.database {
        let promoted = PromotedOptions { max: 1, node_max: 1 };
        let mut member = primitive(DATABASE, process(DATABASE));
        let watched = member.monitors[0];
        let interval = watched.interval + Duration::from_millis(100);
        member.monitors.push(Monitor { interval, role: Some(Role::Promoted), ..watched });
        all.push(placement(DATABASE, Shape::Promotable(clones(), promoted), vec![member]));
    }
    all.extend((0..options.crowd).map(|number| {
        let id = format!("{CROWD}{number:02}");
        placement(&id, Shape::Clone(clones()), vec![primitive(&id, large())])
    }));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// Name of what is promoted.
pub const DATABASE: &str = "db";

/// What one machine at most holds of something promoted: a name of its own, so that checks look at it as at all that is
/// exclusive.
pub fn promoted(resource: &ResourceId) -> ResourceId {
    parse(&format!("{resource}.promoted"))
}

/// How much the database of a machine wants to be promoted: now and then another number, no two of them equal.
pub fn wish(node: NodeId, now: Time, moods_until: Time) -> Option<i32> {
    const MOOD_US: Time = 3_000_000;
    let mood = now.min(moods_until) / MOOD_US;
    let drawn = SplitMix64::new(mood * 1_000 + u64::from(node.as_u16())).below(40) as i32;
    let last = now >= moods_until;
    // some do not want to, for a while
    (last || drawn % 5 != 0).then(|| 1 + drawn * 100 + i32::from(node.as_u16()))
}

/// How the names of large services begin.
const CROWD: &str = "crowd-";

/// What takes 2 KiB wherever it is named.
fn large() -> ResourceKind {
    let value = OcfValue::Text("x".repeat(1_000));
    let parameter = |name: &str| OcfParameter { name: parse(name), value: value.clone() };
    ResourceKind::Ocf(Box::new(OcfAgent {
        name: parse("heartbeat/Dummy"),
        parameters: vec![parameter("a"), parameter("b")],
        copies: None,
    }))
}

/// Resources of which at most one may exist.
pub fn exclusive() -> [ResourceId; 3] {
    ["vip", "httpd", "lock"].map(parse)
}

/// Whether at most one of it may exist.
pub fn is_exclusive(resource: &ResourceId) -> bool {
    matches!(resource.as_str(), "vip" | "httpd" | "lock")
}

/// What a resource id is.
pub fn kind_of(resource: &ResourceId) -> ResourceKind {
    match resource.as_str() {
        "vip" => vip(),
        name if name.starts_with(CROWD) => large(),
        name => process(name),
    }
}

fn vip() -> ResourceKind {
    ResourceKind::Address { address: parse("192.0.2.10"), prefix: 24, network: parse("public") }
}

fn process(template: &str) -> ResourceKind {
    let template = template.split(':').next().unwrap_or(template);
    ResourceKind::Process { template: parse(template) }
}

fn clones() -> CloneOptions {
    CloneOptions {
        max: None,
        node_max: 1,
        min: 0,
        interleave: true,
        ordered: false,
        unique: false,
        notify: false,
    }
}

fn placement(id: &str, shape: Shape, members: Vec<Primitive>) -> Placement {
    Placement {
        id: parse(id),
        shape,
        members,
        meta: Meta { stickiness: Some(100), ..Meta::default() },
        deletion: DeletionPolicy::Retain,
        retained: false,
    }
}

fn primitive(id: &str, kind: ResourceKind) -> Primitive {
    let second = Duration::from_secs(1);
    Primitive {
        id: parse(id),
        kind,
        timeouts: Timeouts {
            start: second * 2,
            stop: second * 2,
            promote: second * 2,
            demote: second * 2,
            probe: second,
        },
        monitors: vec![Monitor {
            interval: second,
            timeout: second,
            role: None,
            on_fail: OnFail::Restart,
        }],
        meta: Meta::default(),
    }
}

fn device(index: usize) -> Device {
    let name: Label = parse(&format!("bmc-{}", index + 1));
    Device {
        device: FenceDevice {
            name,
            driver: FenceDriver::Ipmi {
                address: parse(&format!("198.51.100.{}", index + 1)),
                port: 623,
                cipher_suite: 17,
            },
            credentials: "bmc".into(),
            targets: vec![node_id(index)],
            level: 1,
            delay: Duration::ZERO,
            identity: Some(uuid(index)),
        },
        timeout: Duration::from_secs(10),
        deletion: DeletionPolicy::Retain,
        retained: false,
    }
}

/// Address of a machine on the ring's network.
pub fn address(index: usize) -> std::net::IpAddr {
    std::net::Ipv4Addr::new(10, 0, 0, index as u8 + 1).into()
}

/// What a machine says that it is.
pub fn uuid(index: usize) -> SystemUuid {
    SystemUuid(0xa000 + index as u128)
}
