//! The kernel of one machine: addresses with lifetimes, and processes. It goes on while agents are frozen or dead.

use std::collections::{BTreeMap, BTreeSet};

use base::{NodeId, ResourceId, ResourceKind};

use crate::{fact::Fact, log::Log, params, queue::Time};

/// A configured address.
#[derive(Clone, Copy, Debug)]
struct Address {
    /// `None`: permanent.
    expires_at: Option<Time>,
}

/// What runs on one machine, agents aside.
#[derive(Debug)]
pub struct Kernel {
    node: NodeId,
    addresses: BTreeMap<ResourceId, Address>,
    processes: BTreeMap<ResourceId, u64>,
    promoted: BTreeSet<ResourceId>,
    /// What the executors of this boot wrote down as theirs, in a folder that a power loss empties.
    pub record: BTreeMap<ResourceId, (ResourceKind, bool)>,
    /// The executor is suspended: lies beside the record, and is lost with it when the power goes.
    pub suspended: bool,
    /// The watchdog was disarmed.
    pub watchdog_off: bool,
    runs: u64,
}

impl Kernel {
    /// A machine without anything on it.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            addresses: BTreeMap::new(),
            processes: BTreeMap::new(),
            promoted: BTreeSet::new(),
            record: BTreeMap::new(),
            suspended: false,
            watchdog_off: false,
            runs: 0,
        }
    }

    /// The power is gone, and with it everything.
    pub fn lose_power(&mut self) {
        self.addresses.clear();
        self.processes.clear();
        self.promoted.clear();
        self.record.clear();
        self.suspended = false;
        self.watchdog_off = false;
    }

    /// Configures an address or starts a process; what is there stays there. Returns the run.
    pub fn start(
        &mut self,
        log: &mut Log,
        resource: &ResourceId,
        kind: &ResourceKind,
        exclusive: bool,
        expires_at: Time,
    ) -> u64 {
        self.record.insert(resource.clone(), (kind.clone(), exclusive));
        let address = matches!(kind, ResourceKind::Address { .. });
        let new = !self.is_there(resource);
        if address {
            self.addresses.insert(resource.clone(), Address { expires_at: Some(expires_at) });
        } else if new {
            self.runs += 1;
            self.processes.insert(resource.clone(), self.runs);
        }
        if new {
            let (node, resource) = (self.node, resource.clone());
            log.fact(Fact::Holds { node, resource, exclusive, address });
        }
        self.run(resource)
    }

    /// Takes an address away or ends a process.
    pub fn stop(&mut self, log: &mut Log, resource: &ResourceId, why: &'static str) {
        let there = self.is_there(resource);
        self.demote(log, resource, why);
        self.addresses.remove(resource);
        self.processes.remove(resource);
        if there {
            log.fact(Fact::Drops { node: self.node, resource: resource.clone(), why });
        }
    }

    /// A process takes the role that one has at most.
    pub fn promote(&mut self, log: &mut Log, resource: &ResourceId) {
        if let Some((_, exclusive)) = self.record.get_mut(resource) {
            *exclusive = true;
        }
        if self.processes.contains_key(resource) && self.promoted.insert(resource.clone()) {
            let (node, resource) = (self.node, params::promoted(resource));
            log.fact(Fact::Holds { node, resource, exclusive: true, address: false });
        }
    }

    /// It gives it up.
    pub fn demote(&mut self, log: &mut Log, resource: &ResourceId, why: &'static str) {
        if self.promoted.remove(resource) {
            let (node, resource) = (self.node, params::promoted(resource));
            log.fact(Fact::Drops { node, resource, why });
        }
    }

    /// Whether it has it.
    pub fn is_promoted(&self, resource: &ResourceId) -> bool {
        self.promoted.contains(resource)
    }

    /// Gives an address that is there a new lifetime.
    pub fn renew(&mut self, resource: &ResourceId, expires_at: Option<Time>) {
        if let Some(address) = self.addresses.get_mut(resource) {
            address.expires_at = expires_at;
        }
    }

    /// Takes away what has expired; says when to look again.
    pub fn expire(&mut self, log: &mut Log, now: Time) -> Option<Time> {
        let over: Vec<ResourceId> = self
            .addresses
            .iter()
            .filter(|(_, a)| a.expires_at.is_some_and(|at| at <= now))
            .map(|(resource, _)| resource.clone())
            .collect();
        for resource in over {
            self.stop(log, &resource, "expired");
        }
        self.addresses.values().filter_map(|a| a.expires_at).min()
    }

    /// Whether it is configured or runs.
    pub fn is_there(&self, resource: &ResourceId) -> bool {
        self.addresses.contains_key(resource) || self.processes.contains_key(resource)
    }

    /// The run of a process, 1 for an address, 0 for what is not there.
    pub fn run(&self, resource: &ResourceId) -> u64 {
        match self.processes.get(resource) {
            Some(run) => *run,
            None => u64::from(self.addresses.contains_key(resource)),
        }
    }

    /// Everything managed that is there.
    pub fn all(&self) -> Vec<ResourceId> {
        self.addresses.keys().chain(self.processes.keys()).cloned().collect()
    }
}
