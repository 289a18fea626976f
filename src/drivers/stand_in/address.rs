//! A virtual address where there is no interface to put it on: the same steps as the real driver's, at the stand-in of the
//! kernel.

use core::{net::IpAddr, time::Duration};
use std::io;

use base::ResourceKind;
use lifecycle::Outcome;
use tracing::info;

use super::{
    client::{Kernel, strange},
    proto::{Ask, Present, Station, Told},
};
use crate::{
    power::BoxFuture,
    resource::{Instance, ResourceDriver, Survivor, failed, ocf},
    vip::{Mac, VipError},
};

/// Puts and takes away addresses of loopback.
#[derive(Clone, Debug)]
pub struct LoopbackVip {
    kernel: Kernel,
}

fn wanted(instance: Instance<'_>) -> Result<IpAddr, VipError> {
    match instance.kind {
        ResourceKind::Address { address, .. } => Ok(*address),
        _ => Err(VipError::NotAnAddress),
    }
}

fn kernel(what: &'static str) -> impl Fn(io::Error) -> VipError {
    move |error| VipError::Kernel { what, error }
}

fn ms(lifetime: Option<Duration>) -> Option<u64> {
    lifetime.map(|lifetime| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX))
}

impl LoopbackVip {
    /// By the socket of this machine.
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }

    async fn done(&self, what: &'static str, ask: Ask) -> Result<(), VipError> {
        match self.kernel.ask(&ask).await.map_err(kernel(what))? {
            Told::Done => Ok(()),
            Told::Gone => Err(VipError::Gone),
            other => Err(kernel(what)(strange(&other))),
        }
    }

    async fn asked_for_station(&self, ask: Ask) -> Result<Option<Station>, VipError> {
        match self.kernel.ask(&ask).await.map_err(kernel("asking the network"))? {
            Told::Station(station) => Ok(station),
            other => Err(kernel("asking the network")(strange(&other))),
        }
    }

    async fn all(&self) -> Result<Vec<Present>, VipError> {
        match self.kernel.ask(&Ask::Addresses {}).await.map_err(kernel("reading addresses"))? {
            Told::Addresses(all) => Ok(all),
            other => Err(kernel("reading addresses")(strange(&other))),
        }
    }

    async fn here(&self, address: IpAddr) -> Result<Option<Present>, VipError> {
        Ok(self.all().await?.into_iter().find(|present| present.address == address))
    }

    async fn up(&self, instance: Instance<'_>) -> Result<Outcome, VipError> {
        let address = wanted(instance)?;
        if self.here(address).await?.is_none()
            && let Some(station) = self.asked_for_station(Ask::WhoHas { address }).await?
        {
            let why = format!("{address} is in use by station {}", Mac(station));
            return Ok(failed(ocf::GENERIC, why));
        }
        let present = Present {
            address,
            resource: instance.resource.clone(),
            kind: instance.kind.clone(),
            lifetime_ms: ms(instance.lifetime),
            run: 0,
        };
        self.done("adding", Ask::Put { present }).await?;
        self.done("announcing", Ask::Announce { address }).await?;
        info!(resource = %instance.resource, %address, "address up, at the stand-in");
        Ok(Outcome::Ok)
    }

    async fn look(&self, instance: Instance<'_>) -> Result<Outcome, VipError> {
        let found = self.here(wanted(instance)?).await?;
        Ok(if found.is_some() { Outcome::Ok } else { Outcome::NotRunning })
    }

    async fn down(&self, instance: Instance<'_>) -> Result<Outcome, VipError> {
        let address = wanted(instance)?;
        self.done("taking away", Ask::Remove { address }).await?;
        info!(resource = %instance.resource, %address, "address gone");
        Ok(Outcome::Ok)
    }

    /// Gives an address that is here the instance's lifetime anew.
    pub async fn renew(&self, instance: Instance<'_>) -> Result<(), VipError> {
        let address = wanted(instance)?;
        self.done("renewing", Ask::Renew { address, lifetime_ms: ms(instance.lifetime) }).await
    }

    /// Tells the network once that the address is here.
    pub async fn announce(&self, instance: Instance<'_>) -> Result<(), VipError> {
        self.done("announcing", Ask::Announce { address: wanted(instance)? }).await
    }

    /// Of this machine.
    pub async fn station(&self) -> Result<Option<Station>, VipError> {
        self.asked_for_station(Ask::Station {}).await
    }

    /// Whether this machine takes `station` for the holder of the address.
    pub async fn sees(&self, instance: Instance<'_>, station: Station) -> Result<bool, VipError> {
        let known = self.asked_for_station(Ask::Neighbour { address: wanted(instance)? }).await?;
        Ok(known == Some(station))
    }
}

fn said(result: Result<Outcome, VipError>) -> Outcome {
    result.unwrap_or_else(|error| failed(ocf::GENERIC, error))
}

impl ResourceDriver for LoopbackVip {
    fn probe<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.look(instance).await) })
    }

    fn start<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.up(instance).await) })
    }

    fn stop<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.down(instance).await) })
    }

    fn monitor<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.look(instance).await) })
    }

    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
        Box::pin(async move {
            let all = self.all().await.unwrap_or_default();
            all.into_iter()
                .map(|p| Survivor { resource: p.resource, kind: Some(p.kind), run: p.run })
                .collect()
        })
    }

    fn run<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<u64>> {
        Box::pin(
            async move { self.here(wanted(instance).ok()?).await.ok()?.map(|present| present.run) },
        )
    }
}
