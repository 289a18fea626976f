//! Who puts addresses on this machine: its kernel, or on a machine that is none whoever plays it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base::Label;
use cluster::Station;
use drivers::{
    power::BoxFuture,
    resource::{Instance, ResourceDriver},
    stand_in::{Kernel, LoopbackVip},
    vip::{VipConfig, VipDriver, VipError},
};
use lifecycle::Outcome;

use super::announce::Wire;

/// What the configuration of this machine says.
#[derive(Clone, Debug)]
pub enum AddressesBy {
    /// Netlink; the networks come with the revision.
    Kernel(VipConfig),
    /// The stand-in at this socket (`palisade dev`).
    StandIn(PathBuf),
}

/// Everything that is done with addresses.
pub(super) trait Addresses: ResourceDriver + Wire {
    /// Gives one that is here a new lifetime.
    fn renew<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Result<(), VipError>>;
    /// Takes away what is marked as ours and nobody knows whose, before this machine joins (SAFETY.md#S31).
    fn clean(&self) -> BoxFuture<'_, ()>;
}

impl Addresses for VipDriver {
    fn renew<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Result<(), VipError>> {
        Box::pin(Self::renew(self, instance))
    }

    fn clean(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for address in self.managed().await.unwrap_or_default() {
                if address.resource.is_none() {
                    tracing::warn!(address = %address.address, "managed and without a record: taken away");
                    if let Err(error) = self.remove_managed(&address).await {
                        tracing::error!(%error, address = %address.address, "cannot be taken away");
                    }
                }
            }
        })
    }
}

impl Addresses for LoopbackVip {
    fn renew<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Result<(), VipError>> {
        Box::pin(Self::renew(self, instance))
    }

    /// Whose each one is stands beside it: there is nothing that nobody knows.
    fn clean(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Wire for LoopbackVip {
    fn station<'a>(&'a self, _instance: Instance<'a>) -> BoxFuture<'a, Option<Station>> {
        Box::pin(async move { Self::station(self).await.ok()? })
    }

    fn here<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<bool>> {
        Box::pin(async move {
            match self.monitor(instance).await {
                Outcome::Ok => Some(true),
                Outcome::NotRunning => Some(false),
                _ => None,
            }
        })
    }

    fn announce<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, bool> {
        Box::pin(async move { Self::announce(self, instance).await.is_ok() })
    }

    fn sees<'a>(&'a self, instance: Instance<'a>, station: Station) -> BoxFuture<'a, Option<bool>> {
        Box::pin(async move { Self::sees(self, instance, station).await.ok() })
    }
}

/// The one that is in use, and what it needs to be opened anew.
pub(super) struct Place(Mutex<Inner>);

enum Inner {
    Kernel(VipConfig, Option<Arc<VipDriver>>),
    StandIn(Arc<LoopbackVip>),
}

impl Place {
    /// Needs a runtime: the kernel's netlink is read by a task.
    pub(super) fn open(by: AddressesBy) -> Self {
        Self(Mutex::new(match by {
            AddressesBy::Kernel(config) => {
                let driver = open(&config);
                Inner::Kernel(config, driver)
            }
            AddressesBy::StandIn(socket) => {
                Inner::StandIn(Arc::new(LoopbackVip::new(Kernel::new(socket))))
            }
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None where the kernel lets nobody in.
    pub(super) fn driver(&self) -> Option<Arc<dyn Addresses>> {
        match &*self.inner() {
            Inner::Kernel(_, driver) => driver.clone().map(|driver| driver as Arc<dyn Addresses>),
            Inner::StandIn(driver) => Some(Arc::clone(driver) as Arc<dyn Addresses>),
        }
    }

    /// Interface of each network.
    pub(super) fn set_networks(&self, networks: BTreeMap<Label, String>) {
        if let Inner::Kernel(config, driver) = &mut *self.inner()
            && config.networks != networks
        {
            config.networks = networks;
            *driver = open(config);
        }
    }
}

fn open(config: &VipConfig) -> Option<Arc<VipDriver>> {
    match VipDriver::open(config.clone()) {
        Ok(driver) => Some(Arc::new(driver)),
        Err(error) => {
            tracing::error!(%error, "netlink cannot be opened: no addresses on this machine");
            None
        }
    }
}
