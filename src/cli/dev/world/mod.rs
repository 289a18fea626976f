//! What is around the agents of a box: machines, their power, the network between them, the way in from outside.
//!
//! Promises: a machine that lost its power says nothing more, neither to its peers nor to clients, before its first process
//! is ended; power reads as off only when none is left; two machines that hold one address are counted, whoever is right.
//! Never: a decision. Nothing here knows what a cluster is.
//!
//! ```text
//!   agents ─▶ switch (UDP) ─▶ agents        clients ─▶ front (TCP) ─▶ whoever announced the address
//!   agents ─▶ kernel (Unix sockets): addresses, neighbours, knocks; balancers ─▶ kernel ─▶ way ─▶ other machines
//!   agents ─▶ relay (TCP) ─▶ API            fencers ─▶ bmc (IPMI, Redfish) ─▶ power: machine
//! ```

mod bmc;
mod front;
mod kernel;
mod machine;
mod net;
mod relay;
mod switch;
mod way;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bmcsim::{Bmc, Command};
use tokio::task::JoinSet;

use self::{machine::Machine, net::Net};
use super::plan::{Folder, Plan};

/// How long things take here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Of the BMCs.
    pub(super) power: bmcsim::Timing,
    /// From power to the agent's start, at every boot but the first.
    pub(super) boot: Duration,
}

/// All of it. Machines are ended by [`World::end`]; without it they end when this process does.
pub(super) struct World {
    plan: Plan,
    machines: Vec<Arc<Machine>>,
    net: Arc<Net>,
    bmcs: OnceLock<Vec<Bmc>>,
    times: Times,
    /// Ended when dropped.
    _tasks: JoinSet<()>,
}

impl World {
    /// Network and BMCs; all machines are switched on, none has booted.
    pub(super) async fn build(plan: &Plan, folder: &Folder, times: Times) -> Result<Arc<Self>> {
        let machines: Vec<Arc<Machine>> =
            plan.nodes.iter().map(|node| Arc::new(Machine::new(plan, folder, node))).collect();
        let mut tasks = JoinSet::new();
        switch::start(&machines, &mut tasks).await?;
        let (net, doors) = Net::new(machines.clone());
        let net = Arc::new(net);
        kernel::start(&net, &mut tasks)?;
        front::start(&net, doors, &mut tasks);
        let world = Arc::new(Self {
            plan: plan.clone(),
            machines,
            net,
            bmcs: OnceLock::new(),
            times,
            _tasks: tasks,
        });
        let mut bmcs = Vec::new();
        for index in 0..plan.nodes.len() {
            bmcs.push(bmc::start(&world, index).await?);
        }
        // Set here only.
        let _ = world.bmcs.set(bmcs);
        Ok(world)
    }

    /// What a BMC here needs to cut the power.
    pub(super) fn power_off(&self) -> Duration {
        self.times.power.off
    }

    /// A way to the API for each machine, which is cut with its cables.
    pub(super) async fn relays(&self, api: SocketAddr) -> Result<Vec<SocketAddr>> {
        relay::start(&self.machines, api).await
    }

    /// Boots all machines, as at the first start: without delay.
    pub(super) async fn boot_all(&self) -> Result<()> {
        for machine in &self.machines {
            machine.boot().await?;
        }
        Ok(())
    }

    fn index(&self, name: &str) -> Result<usize> {
        let node = self.plan.node(name)?;
        Ok(usize::from(node.id) - 1)
    }

    fn bmc(&self, index: usize) -> Option<&Bmc> {
        self.bmcs.get()?.get(index)
    }

    /// The machine dies as when its power fails. Its BMC has a supply of its own and, until somebody switches it, says on.
    pub(super) async fn kill(&self, name: &str) -> Result<String> {
        let index = self.index(name)?;
        if !self.machines[index].wires().alive {
            bail!("{name} is dead already: `palisade dev start {name}`");
        }
        self.cut(index).await;
        Ok(format!("{name} is dead; its BMC still says on"))
    }

    /// Everything that runs on the machine ends. Cables first: a process that is killed still says good-bye to its peers.
    async fn cut(&self, index: usize) {
        self.machines[index].cut().await;
        self.net.lost(index);
    }

    /// Somebody presses the button: a machine that is off or dead boots.
    pub(super) async fn start(&self, name: &str) -> Result<String> {
        let index = self.index(name)?;
        if self.machines[index].wires().alive {
            bail!("{name} runs");
        }
        let begins = match self.bmc(index) {
            Some(bmc) if !bmc.power() => {
                bmc.press(Command::On);
                true
            }
            _ => self.machines[index].boot_after(self.times.boot),
        };
        Ok(format!("{name} boots{}", if begins { "" } else { " already" }))
    }

    /// All processes of the machine stand still; its kernel goes on answering.
    pub(super) async fn freeze(&self, name: &str) -> Result<String> {
        self.machines[self.index(name)?].word("freeze").await?;
        Ok(format!("{name} stands still; its kernel goes on answering"))
    }

    /// They go on.
    pub(super) async fn thaw(&self, name: &str) -> Result<String> {
        self.machines[self.index(name)?].word("thaw").await?;
        Ok(format!("{name} goes on"))
    }

    /// Its cables are pulled or plugged in: peers, clients and API. The BMC has a cable of its own.
    pub(super) fn plug(&self, name: &str, plugged: bool) -> Result<String> {
        self.machines[self.index(name)?].plug(plugged);
        let text =
            if plugged { "its cables are in" } else { "its cables are out, its BMC's is not" };
        Ok(format!("{name}: {text}"))
    }

    /// For people: state of each machine.
    pub(super) fn describe(&self) -> Vec<String> {
        let each = self.machines.iter().enumerate().map(|(index, machine)| {
            let wires = machine.wires();
            let power = self.bmc(index).is_some_and(Bmc::power);
            let power = if power { "on" } else { "off" };
            let life = if wires.alive { "runs" } else { "dead" };
            let cables = if wires.plugged { "" } else { ", cables out" };
            format!("{}: power {power}, {life}{cables}", machine.name())
        });
        each.collect()
    }

    /// How often two machines held one address at once: what must never happen.
    pub(super) fn overlaps(&self) -> u64 {
        self.net.overlaps()
    }

    /// All machines lose their power; done when nothing of them is left.
    pub(super) async fn end(&self) {
        let all = self.machines.iter().map(|machine| machine.cut());
        futures::future::join_all(all).await;
    }
}

/// A task of the world, with its reason if it cannot be.
fn bound<T>(what: std::io::Result<T>, address: SocketAddr) -> Result<T> {
    what.with_context(|| format!("cannot listen on {address}: does another program use it?"))
}
