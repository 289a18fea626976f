//! The BMC of a machine: real IPMI or Redfish on loopback in front of the machine's power.

use std::sync::{Arc, Weak};

use anyhow::Result;
use bmcsim::{Account, Bmc, Command, Done, Machine, Redfish, Said, Speaker};
use drivers::bmc::ipmi::{
    CipherSuite,
    double::{Double, Event},
};

use super::{super::plan::BMC_USER, World, bound};

pub(super) async fn start(world: &Arc<World>, index: usize) -> Result<Bmc> {
    let node = &world.plan.nodes[index];
    let address = world.plan.bmc(node);
    let hook = Arc::new(Power { world: Arc::downgrade(world), index });
    let power = world.times.power;
    if let Some(kept) = &node.redfish {
        let account = Account {
            user: BMC_USER.into(),
            password: node.bmc_password.clone(),
            system: node.name.to_string(),
            uuid: node.uuid.to_string(),
        };
        let service = Redfish::new(account, kept.certificate()?);
        return bound(Bmc::start_redfish(address, true, power, service, hook).await, address);
    }
    let mut double = Double::new(&[CipherSuite::Suite17, CipherSuite::Suite3]);
    double.user = BMC_USER.into();
    double.password = node.bmc_password.clone().into();
    double.guid = node.uuid.into_bytes();
    // What it carries out is decided by the chassis.
    double.faults.ignores_commands = true;
    bound(Bmc::start(address, true, power, Box::new(Ipmi(double)), hook).await, address)
}

struct Ipmi(Double);

impl Speaker for Ipmi {
    fn hear(&mut self, datagram: &[u8], power: bool) -> Said {
        self.0.power = power;
        let answer = self.0.handle(datagram);
        let command = self.0.events.drain(..).rev().find_map(|event| match event {
            Event::Cycled => Some(Command::Cycle),
            Event::Off => Some(Command::Off),
            Event::On => Some(Command::On),
            _ => None,
        });
        Said { answer, command }
    }
}

/// Weak: the world holds its BMCs.
struct Power {
    world: Weak<World>,
    index: usize,
}

impl Machine for Power {
    fn cut(&self) -> Done {
        let (world, index) = (self.world.upgrade(), self.index);
        Box::pin(async move {
            if let Some(world) = world {
                world.cut(index).await;
            }
        })
    }

    fn start(&self) -> Done {
        let (world, index) = (self.world.upgrade(), self.index);
        Box::pin(async move {
            if let Some(world) = world {
                world.machines[index].boot_after(world.times.boot);
            }
        })
    }
}
