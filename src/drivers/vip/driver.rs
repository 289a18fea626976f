//! Start, stop and look for the executor; renewal, announcements and cleaning for whoever decides about them.

use core::{net::IpAddr, time::Duration};
use std::{collections::BTreeMap, io, path::PathBuf};

use base::{Label, ResourceId, ResourceKind};
use lifecycle::Outcome;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    frames::Mac,
    netlink::{Link, Netlink, Present},
    packet::{PROBE_WAIT, Seen, Voice},
    record::{self, Record},
};
use crate::{
    power::BoxFuture,
    resource::{Instance, ResourceDriver, Survivor, failed, ocf},
};

/// Looks after an address was taken away; the first one is enough unless the kernel is busy.
const GONE_LOOKS_MAX: u32 = 100;

/// Where addresses go on this machine.
#[derive(Clone, Debug)]
pub struct VipConfig {
    /// Interface of each network of the cluster.
    pub networks: BTreeMap<Label, String>,
    /// `/run/palisade/addresses`.
    pub records: PathBuf,
}

/// An address that Palisade put here, by the kernel's mark or by the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedAddress {
    /// Which.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix: u8,
    /// Number of its interface.
    pub index: u32,
    /// Whose it was; `None` when the record is lost. An address that no resource of this machine owns is taken away
    /// before the machine joins (SAFETY.md#S31).
    pub resource: Option<ResourceId>,
}

/// What this machine's kernel believes about an address on one of its networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The station that has it.
    pub mac: Mac,
}

/// Why something about an address could not be done. The address is as it was before, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum VipError {
    /// The address is not there: it expired or was taken away. Renewing does not bring it back without a probe.
    #[error("the address is not on this machine any more")]
    Gone,
    /// The kernel says no.
    #[error("{what}: {error}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// The instance is no address.
    #[error("not an address")]
    NotAnAddress,
    /// The agent's configuration names no interface for the network, or the interface is not there.
    #[error("network {0} has no interface here: name it in the agent's configuration")]
    NoInterface(Label),
}

/// Puts and takes away virtual addresses.
pub struct VipDriver {
    netlink: Netlink,
    config: VipConfig,
}

struct Wanted<'a> {
    address: IpAddr,
    prefix: u8,
    network: &'a Label,
}

fn wanted<'a>(instance: Instance<'a>) -> Result<Wanted<'a>, VipError> {
    match instance.kind {
        ResourceKind::Address { address, prefix, network } => {
            Ok(Wanted { address: *address, prefix: *prefix, network })
        }
        _ => Err(VipError::NotAnAddress),
    }
}

fn kernel(what: &'static str) -> impl Fn(io::Error) -> VipError {
    move |error| VipError::Kernel { what, error }
}

impl VipDriver {
    /// In the network namespace of the calling thread. Needs a runtime.
    pub fn open(config: VipConfig) -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open()?, config })
    }

    /// The interface of a network and whether it carries traffic.
    pub async fn link(&self, network: &Label) -> Result<Link, VipError> {
        let none = || VipError::NoInterface(network.clone());
        let name = self.config.networks.get(network).ok_or_else(none)?;
        self.netlink.link(name).await.map_err(kernel("reading interfaces"))?.ok_or_else(none)
    }

    /// Gives an address that is there the instance's lifetime anew. Call it only on a token of a quorate ring whose era is open
    /// (CLUSTER.md section 8).
    pub async fn renew(&self, instance: Instance<'_>) -> Result<(), VipError> {
        let wanted = wanted(instance)?;
        let link = self.link(wanted.network).await?;
        // The kernel would add what expired since this look: a window of one system call, by somebody who may hold it.
        if !self.here(&wanted).await?.iter().any(|present| fits(present, &wanted, &link)) {
            return Err(VipError::Gone);
        }
        let lifetime = instance.lifetime.into();
        let put = self.netlink.put(link.index, wanted.address, wanted.prefix, lifetime);
        put.await.map_err(kernel("renewing"))
    }

    /// One question to the network, 30 ms.
    pub async fn probe_network(&self, instance: Instance<'_>) -> Result<Seen, VipError> {
        let wanted = wanted(instance)?;
        let link = self.link(wanted.network).await?;
        let voice = Voice::open(&link, wanted.address).map_err(kernel("probing"))?;
        voice.probe(PROBE_WAIT).await.map_err(kernel("probing"))
    }

    /// Tells the network `rounds` times, 10 ms apart, that the address is here.
    pub async fn announce(&self, instance: Instance<'_>, rounds: u8) -> Result<(), VipError> {
        let wanted = wanted(instance)?;
        let link = self.link(wanted.network).await?;
        let voice = Voice::open(&link, wanted.address).map_err(kernel("announcing"))?;
        voice.announce(rounds).await.map_err(kernel("announcing"))
    }

    /// What this machine believes who has the address: asked on the *peers* of a new holder, which announces until
    /// one of them names its station.
    pub async fn neighbour(&self, instance: Instance<'_>) -> Result<Option<Neighbour>, VipError> {
        let wanted = wanted(instance)?;
        let link = self.link(wanted.network).await?;
        let found = self.netlink.neighbour(link.index, wanted.address).await;
        Ok(found.map_err(kernel("reading neighbours"))?.map(|mac| Neighbour { mac }))
    }

    /// The own station on the network of the address; `None` where it is no Ethernet.
    pub async fn station(&self, instance: Instance<'_>) -> Result<Option<Mac>, VipError> {
        Ok(self.link(wanted(instance)?.network).await?.mac)
    }

    /// Whether this machine, as a peer on that network, takes `station` for the holder of the address: by its neighbour
    /// table, or, where it knows nobody, by asking once.
    pub async fn sees(&self, instance: Instance<'_>, station: Mac) -> Result<bool, VipError> {
        match self.neighbour(instance).await? {
            Some(known) => Ok(known.mac == station),
            None => Ok(self.probe_network(instance).await? == Seen::Station(station)),
        }
    }

    /// Every address here that Palisade put.
    pub async fn managed(&self) -> Result<Vec<ManagedAddress>, VipError> {
        let records = record::all(&self.config.records);
        let present = self.netlink.addresses().await.map_err(kernel("reading addresses"))?;
        Ok(present
            .iter()
            .filter_map(|present| {
                let record = records.iter().find(|record| record.address == present.address);
                (present.ours || record.is_some()).then(|| ManagedAddress {
                    address: present.address,
                    prefix: present.prefix,
                    index: present.index,
                    resource: record.map(|record| record.resource.clone()),
                })
            })
            .collect())
    }

    /// Takes one of them away; `Ok` when it is gone.
    pub async fn remove_managed(&self, managed: &ManagedAddress) -> Result<(), VipError> {
        self.remove(managed.address, |present| {
            (present.index, present.prefix) == (managed.index, managed.prefix)
        })
        .await
    }

    async fn here(&self, wanted: &Wanted<'_>) -> Result<Vec<Present>, VipError> {
        let mut all = self.netlink.addresses().await.map_err(kernel("reading addresses"))?;
        all.retain(|present| present.address == wanted.address);
        Ok(all)
    }

    async fn remove(
        &self,
        address: IpAddr,
        which: impl Fn(&Present) -> bool,
    ) -> Result<(), VipError> {
        for look in 0..GONE_LOOKS_MAX {
            let mut all = self.netlink.addresses().await.map_err(kernel("reading addresses"))?;
            all.retain(|present| present.address == address);
            let others = all.iter().filter(|present| !which(present)).count();
            all.retain(&which);
            if all.is_empty() {
                if others == 0 {
                    let removed = record::remove(&self.config.records, address);
                    removed.map_err(kernel("removing the record"))?;
                }
                return Ok(());
            }
            for present in &all {
                self.netlink.take_away(present).await.map_err(kernel("taking away"))?;
            }
            if look > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        }
        let error = io::Error::other("it is still there");
        Err(VipError::Kernel { what: "taking away", error })
    }

    async fn up(&self, instance: Instance<'_>) -> Result<Outcome, VipError> {
        let wanted = wanted(instance)?;
        let link = self.link(wanted.network).await?;
        let here = self.here(&wanted).await?;
        let renewed = !here.is_empty();
        if !here.iter().all(|present| fits(present, &wanted, &link)) {
            let why =
                "the address is here already, with another prefix or interface: stop it first";
            return Ok(failed(ocf::GENERIC, why));
        }
        if !link.running {
            let why = format!("{} is down or has no carrier", link.name);
            return Ok(failed(ocf::GENERIC, why));
        }
        let voice = Voice::open(&link, wanted.address).map_err(kernel("probing"))?;
        if !renewed {
            let seen = voice.probe(PROBE_WAIT).await;
            if let Seen::Station(mac) = seen.map_err(kernel("probing"))? {
                let why = format!("{} is in use by station {mac} on {}", wanted.address, link.name);
                return Ok(failed(ocf::GENERIC, why));
            }
        }
        let record = Record {
            address: wanted.address,
            resource: instance.resource.clone(),
            kind: instance.kind.clone(),
        };
        record::write(&self.config.records, &record).map_err(kernel("writing the record"))?;
        keep_secondaries(&link, wanted.address);
        let put =
            self.netlink.put(link.index, wanted.address, wanted.prefix, instance.lifetime.into());
        put.await.map_err(kernel("adding"))?;
        // The first word at once; how often it is repeated is decided above.
        voice.announce(1).await.map_err(kernel("announcing"))?;
        info!(resource = %instance.resource, address = %wanted.address, link = link.name, "address up");
        Ok(Outcome::Ok)
    }

    async fn look(&self, instance: Instance<'_>, deep: bool) -> Result<Outcome, VipError> {
        let wanted = wanted(instance)?;
        let here = self.here(&wanted).await?;
        let Some(present) = here.first() else { return Ok(Outcome::NotRunning) };
        let link = match self.link(wanted.network).await {
            Ok(link) => link,
            // An executor that has just started asks before it was told the interfaces. What it put there in its former life
            // is no failure: an address that is taken away to be put back is an outage of 40 ms.
            Err(VipError::NoInterface(_))
                if !deep && self.is_as_recorded(instance, &wanted, &here) =>
            {
                return Ok(Outcome::Ok);
            }
            Err(error) => return Err(error),
        };
        Ok(if !here.iter().all(|present| fits(present, &wanted, &link)) {
            failed(ocf::GENERIC, "with another prefix or on another interface")
        } else if present.tentative {
            failed(ocf::GENERIC, "the kernel holds it back: a duplicate on the network")
        } else if deep && !link.running {
            failed(ocf::GENERIC, format_args!("{} is down or has no carrier", link.name))
        } else {
            Outcome::Ok
        })
    }

    /// Whether the record says that this address was put here for this instance, and it has the prefix that it should have.
    fn is_as_recorded(
        &self,
        instance: Instance<'_>,
        wanted: &Wanted<'_>,
        here: &[Present],
    ) -> bool {
        let records = record::all(&self.config.records);
        let ours = records.iter().any(|record| {
            record.address == wanted.address
                && record.resource == *instance.resource
                && record.kind == *instance.kind
        });
        ours && here.iter().all(|present| present.prefix == wanted.prefix && !present.tentative)
    }

    async fn down(&self, instance: Instance<'_>) -> Result<Outcome, VipError> {
        let wanted = wanted(instance)?;
        self.remove(wanted.address, |_| true).await?;
        info!(resource = %instance.resource, address = %wanted.address, "address gone");
        Ok(Outcome::Ok)
    }
}

/// Of several IPv4 addresses of one prefix the first is the primary, and by default the others go with it: two virtual
/// addresses on an interface without an address of its own. Where this may not be set, the monitor sees the loss.
fn keep_secondaries(link: &Link, address: IpAddr) {
    let file = format!("/proc/sys/net/ipv4/conf/{}/promote_secondaries", link.name);
    if address.is_ipv4()
        && !std::fs::read_to_string(&file).is_ok_and(|value| value.trim() == "1")
        && let Err(error) = std::fs::write(&file, "1")
    {
        warn!(file, %error, "an address may take others of its prefix with it: set it to 1");
    }
}

fn fits(present: &Present, wanted: &Wanted<'_>, link: &Link) -> bool {
    present.index == link.index && present.prefix == wanted.prefix
}

fn said(result: Result<Outcome, VipError>) -> Outcome {
    result.unwrap_or_else(|error| {
        let code = match error {
            VipError::NotAnAddress | VipError::NoInterface(_) => ocf::NOT_CONFIGURED,
            VipError::Gone | VipError::Kernel { .. } => ocf::GENERIC,
        };
        failed(code, error)
    })
}

impl ResourceDriver for VipDriver {
    fn probe<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.look(instance, false).await) })
    }

    fn start<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.up(instance).await) })
    }

    fn stop<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.down(instance).await) })
    }

    fn monitor<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.look(instance, true).await) })
    }

    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
        Box::pin(async move {
            let Ok(present) = self.netlink.addresses().await else { return Vec::new() };
            let mut found: Vec<_> = record::all(&self.config.records)
                .into_iter()
                .filter_map(|record| {
                    let present = present.iter().find(|p| p.address == record.address)?;
                    Some(Survivor {
                        resource: record.resource,
                        kind: Some(record.kind),
                        run: token(present),
                    })
                })
                .collect();
            found.sort_by(|a, b| a.resource.cmp(&b.resource));
            found
        })
    }

    fn run<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<u64>> {
        Box::pin(async move {
            let here = self.here(&wanted(instance).ok()?).await.ok()?;
            here.first().map(token)
        })
    }
}

/// When and where it was added; a renewal changes neither.
fn token(present: &Present) -> u64 {
    (u64::from(present.index) << 32) | u64::from(present.created)
}
