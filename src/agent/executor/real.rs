//! The machine itself: addresses by netlink, processes under shims, OCF agents, reboot(2).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use base::{Label, NodeName, ResourceId, ResourceKind};
use cluster::Station;
use drivers::{
    container::{ContainerConfig, ContainerDriver},
    haproxy::{BalancerConfig, BalancerDriver},
    ocf::{OcfConfig, OcfDriver},
    power::{BoxFuture, Permit},
    process::{ProcessConfig, ProcessDriver},
    resource::{self, Instance, ResourceDriver, Survivor},
    systemd::{SystemdConfig, SystemdDriver},
};
use lifecycle::{Answer, Call, Operation, Outcome};
use tokio::sync::mpsc;

use super::{
    Outside,
    addresses::{AddressesBy, Place},
    announce::Announcer,
};
use crate::{config::SelfFenceConfig, messages::FromExecutor};

/// While a start waits (a probe of the network, a process that comes up) its permit is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where things lie on this machine.
pub struct RealSetup {
    /// Processes under shims.
    pub process: ProcessConfig,
    /// Processes as units of the machine, in place of shims; what already runs under one stays there until it is stopped.
    pub systemd: Option<SystemdConfig>,
    /// Processes whose template names an image, as containers. None: such a template is refused.
    pub containers: Option<ContainerConfig>,
    /// Load balancers.
    pub balancers: BalancerConfig,
    /// OCF agents.
    pub ocf: OcfConfig,
    /// Addresses.
    pub addresses: AddressesBy,
    /// How the machine is taken down.
    pub self_fence: SelfFenceConfig,
    /// Where word of announcements goes.
    pub news: mpsc::Sender<FromExecutor>,
}

/// The drivers.
pub struct RealOutside {
    process: ProcessDriver,
    systemd: Option<SystemdDriver>,
    containers: Option<ContainerDriver>,
    balancers: Arc<BalancerDriver>,
    ocf: OcfDriver,
    addresses: Place,
    self_fence: SelfFenceConfig,
    announcer: Announcer,
}

impl RealOutside {
    /// Needs a runtime: the kernel's netlink is read by a task. Without rights for it addresses cannot be served, and
    /// each operation on one says so.
    pub fn open(setup: RealSetup) -> Self {
        Self {
            process: ProcessDriver::new(setup.process),
            systemd: setup.systemd.map(SystemdDriver::new),
            containers: setup.containers.map(ContainerDriver::new),
            balancers: Arc::new(BalancerDriver::new(setup.balancers)),
            ocf: OcfDriver::new(setup.ocf),
            addresses: Place::open(setup.addresses),
            self_fence: setup.self_fence,
            announcer: Announcer::new(setup.news),
        }
    }

    async fn run(&self, call: &Call, permit: &Permit) -> Answer {
        match call.kind {
            ResourceKind::Address { .. } => match self.addresses.driver() {
                Some(driver) => guarded(&*driver, call, permit).await,
                None => failed(
                    "netlink cannot be opened on this machine: give the executor CAP_NET_ADMIN",
                ),
            },
            ResourceKind::LoadBalancer(_) => guarded(&*self.balancers, call, permit).await,
            ResourceKind::Ocf(_) => {
                let driver = self.ocf.within(call.timeout, call.interval);
                guarded(&driver, call, permit).await
            }
            ResourceKind::Process { ref template } => {
                match self.processes(&call.resource, template).await {
                    Ok(driver) => guarded(driver, call, permit).await,
                    Err(outcome) => Answer::new(outcome, 0),
                }
            }
        }
    }

    /// The form that this resource runs in. A changed configuration changes the next start, not what runs: else the same
    /// process would be started a second time beside the first.
    async fn processes(
        &self,
        resource: &ResourceId,
        template: &Label,
    ) -> Result<&dyn ResourceDriver, Outcome> {
        if self.process.holds(resource) {
            return Ok(&self.process);
        }
        if let Some(containers) = &self.containers
            && containers.wants(resource, template)
        {
            return Ok(match &self.systemd {
                Some(systemd) if systemd.holds(resource).await? => systemd,
                _ => containers,
            });
        }
        Ok(match &self.systemd {
            Some(systemd) => systemd,
            None => &self.process,
        })
    }
}

/// A start is broken off as soon as it is not permitted any more: its order's epoch or its token may age while it waits.
async fn guarded(driver: &dyn ResourceDriver, call: &Call, permit: &Permit) -> Answer {
    if !matches!(call.operation, Operation::Start | Operation::Promote) {
        return resource::carry_out(driver, call).await;
    }
    let withdrawn = async {
        // A process waits long for its monitor; what counts is that it was permitted when it was spawned.
        let looks = match call.kind {
            ResourceKind::LoadBalancer(_) | ResourceKind::Ocf(_) | ResourceKind::Process { .. } => {
                4
            }
            ResourceKind::Address { .. } => u32::MAX,
        };
        for _ in 0..looks {
            if !permit.stands() {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = withdrawn => failed("the order was withdrawn before it took effect"),
        answer = resource::carry_out(driver, call) => answer,
    }
}

fn failed(reason: &str) -> Answer {
    Answer::new(Outcome::Failed { code: 1, reason: reason.into() }, 0)
}

impl Outside for RealOutside {
    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
        Box::pin(async {
            let mut all = self.process.survivors().await;
            if let Some(systemd) = &self.systemd {
                all.extend(systemd.survivors().await);
            }
            if let Some(containers) = &self.containers {
                all.extend(containers.survivors().await);
            }
            all.extend(self.balancers.survivors().await);
            all.extend(self.ocf.survivors());
            if let Some(addresses) = self.addresses.driver() {
                all.extend(addresses.survivors().await);
                addresses.clean().await;
            }
            all
        })
    }

    fn carry_out<'a>(&'a self, call: &'a Call, permit: Permit) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let answer = self.run(call, &permit).await;
            let address = matches!(call.kind, ResourceKind::Address { .. });
            if address
                && call.operation == Operation::Start
                && answer.outcome == Outcome::Ok
                && let Some(driver) = self.addresses.driver()
            {
                self.announcer.begin(driver, call);
            }
            answer
        })
    }

    fn renew(
        &self,
        resource: &ResourceId,
        kind: &ResourceKind,
        lifetime: Option<Duration>,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let driver = self.addresses.driver()?;
        let (resource, kind) = (resource.clone(), kind.clone());
        Some(tokio::spawn(async move {
            let instance = Instance { resource: &resource, kind: &kind, lifetime };
            if let Err(error) = driver.renew(instance).await {
                tracing::warn!(%resource, %error, "an address was not renewed");
            }
        }))
    }

    fn look_for(&self, resource: &ResourceId, kind: &ResourceKind, station: Station) {
        if let Some(driver) = self.addresses.driver() {
            self.announcer.look_for(driver, resource, kind, station);
        }
    }

    fn seen_at(&self, resource: &ResourceId, station: Station) {
        self.announcer.seen_at(resource, station);
    }

    fn set_networks(&self, networks: BTreeMap<String, String>) {
        let networks: BTreeMap<Label, String> = networks
            .into_iter()
            .filter_map(|(network, interface)| Some((network.parse().ok()?, interface)))
            .collect();
        self.addresses.set_networks(networks);
    }

    fn set_gone(&self, machines: BTreeSet<NodeName>) {
        let balancers = Arc::clone(&self.balancers);
        tokio::spawn(async move { balancers.set_gone(machines).await });
    }

    fn fence_self(&self) {
        match self.self_fence {
            SelfFenceConfig::Watchdog => {}
            SelfFenceConfig::Reboot => {
                let error = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT);
                let error = error.map_or_else(io::Error::from, |never| match never {});
                tracing::error!(%error, "reboot(2) was refused: only the watchdog is left");
            }
        }
    }
}
