//! The executor's process.

use std::{io, path::PathBuf};

use drivers::{
    container::ContainerConfig,
    haproxy::{BalancerConfig, Engine},
    ocf::{self, AgentsConfig, Launch, OcfConfig, Tools},
    process::{Cgroups, ProcessConfig, TEMPLATES},
    systemd::SystemdConfig,
    vip::VipConfig,
};
use tokio::sync::mpsc;

use super::{
    Exit, Machine, PART_LOCK_PATIENCE, accept, asked_to_end, before::lead_to_fencer, runtime,
};
use crate::{
    OWN_PROGRAM,
    config::{Options, ProcessRuntime},
    executor::{AddressesBy, RealOutside, RealSetup, Setup, run},
    ipc::Admitted,
    privileges,
    run_dir::Entry,
    state::DirLock,
};

/// Where systemd's machines have it.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// The load balancer, where the machine's configuration names no other.
const HAPROXY: &str = "/usr/sbin/haproxy";
/// Word of announcements that waits for the ring part.
const NEWS_MAX: usize = 256;

pub(super) fn main(options: Options) -> io::Result<Exit> {
    let dirs = options.run_dir();
    let for_ring = Admitted::ring(options.ring_user());
    dirs.make(for_ring.group()).map_err(io::Error::other)?;
    let run_dir = dirs.path().to_owned();
    let _lock =
        DirLock::take(&run_dir, "executor.lock", PART_LOCK_PATIENCE).map_err(io::Error::other)?;
    for refusal in [privileges::oom_protection(), privileges::lock_memory()] {
        if let Err(refusal) = refusal {
            tracing::info!(what = refusal.what, error = refusal.error, "a privilege was refused");
        }
    }
    runtime()?.block_on(async move {
        let machine = Machine::read(&options.config)?;
        let ring_socket = dirs.make_entry(Entry::Executor, for_ring.group()).map_err(io::Error::other)?;
        let fencer_socket = dirs.make_entry(Entry::Watch, None).map_err(io::Error::other)?;
        for entry in [Entry::Agent, Entry::Watch] {
            if let Err(error) = dirs.link_old_path(entry) {
                tracing::warn!(%error, "whoever looks for a socket where the version before had it does not find it");
            }
        }
        let (news, told) = mpsc::channel(NEWS_MAX);
        let templates = options.config.process_templates.clone();
        let templates = templates.unwrap_or_else(|| PathBuf::from(TEMPLATES));
        let bus = options.config.system_bus.clone().unwrap_or_else(|| SYSTEM_BUS.into());
        let systemd = (options.config.process_runtime == ProcessRuntime::Systemd)
            .then(|| SystemdConfig { templates: templates.clone(), bus });
        let containers = options.config.containers.clone().map(|given| ContainerConfig {
            templates: templates.clone(),
            socket: given.socket,
            namespace: given.namespace,
            snapshotter: given.snapshotter,
            records: run_dir.join("containers"),
            boot: machine.boot_id.to_string(),
        });
        let shim = vec![OWN_PROGRAM.into(), "shim".into()];
        let cgroups = match &options.config.resource_cgroup {
            Some(to) => Cgroups::Leave { to: to.clone() },
            None => Cgroups::Stay,
        };
        let config = &options.config;
        let ocf = OcfConfig {
            agents: AgentsConfig {
                root: config.ocf_root.clone().unwrap_or_else(|| PathBuf::from(ocf::ROOT)),
                allowed: config.ocf_agents.iter().cloned().collect(),
                launch: Some(Launch { shim: shim.clone(), cgroups: cgroups.clone() }),
            },
            secrets: config.secrets.clone().unwrap_or_else(|| PathBuf::from(ocf::SECRETS)),
            records: run_dir.join("ocf"),
            node: options.node_name.clone(),
            tools: Some(Tools {
                folder: run_dir.join("ocf-tools"),
                // agents have another /proc/self
                program: format!("/proc/{}/exe", std::process::id()).into(),
            }),
        };
        let engine = match &options.config.stand_in {
            Some(stand_in) => {
                tracing::warn!(
                    "load balancers of this machine are no HAProxy: this program plays it"
                );
                Engine::StandIn {
                    program: [OWN_PROGRAM, "dev", "balance"].map(Into::into).into(),
                    kernel: stand_in.kernel.clone(),
                }
            }
            None => {
                let own = options.config.haproxy.clone();
                Engine::haproxy(own.unwrap_or_else(|| PathBuf::from(HAPROXY)))
            }
        };
        let outside = RealOutside::open(RealSetup {
            ocf,
            process: ProcessConfig {
                templates,
                resources: run_dir.join("resources"),
                shim: shim.clone(),
                cgroups: cgroups.clone(),
            },
            balancers: BalancerConfig { root: run_dir.join("balancers"), shim, cgroups, engine },
            systemd,
            containers,
            addresses: match &options.config.stand_in {
                Some(stand_in) => AddressesBy::StandIn(stand_in.kernel.clone()),
                None => AddressesBy::Kernel(VipConfig {
                    networks: std::collections::BTreeMap::new(),
                    records: run_dir.join("addresses"),
                }),
            },
            self_fence: options.config.self_fence,
            news,
        });
        let (ring, rings) = mpsc::channel(1);
        let (asker, askers) = mpsc::channel(1);
        let setup = Setup {
            run_dir: run_dir.clone(),
            boot_id: machine.boot_id,
            outside: std::sync::Arc::new(outside),
            rings,
            askers,
            news: told,
            health: super::health_of_part(options.health_listen),
        };
        tokio::select! {
            ended = accept(ring_socket, for_ring.clone(), ring) => ended?,
            ended = accept(fencer_socket, Admitted::own(), asker) => ended?,
            ended = lead_to_fencer(&dirs, for_ring) => ended?,
            () = run(setup) => {}
            ended = asked_to_end() => ended?,
        }
        Ok(Exit::Done)
    })
}
