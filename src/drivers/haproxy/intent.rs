//! The configuration of the stand-in: the same parameters, as JSON.

use core::net::IpAddr;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use base::{NodeName, Proxy, ResourceId};
use serde::{Deserialize, Serialize};

use super::render::fingerprint;

/// Of the largest balancer.
const BYTES_MAX: u64 = 512 * 1024;

/// All that the stand-in is told. Addresses are those of loopback and no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// Whose configuration it is.
    pub resource: ResourceId,
    /// Names the parameters: what runs says it again (`show info`).
    pub fingerprint: String,
    /// Socket of whoever plays this machine's kernel.
    pub kernel: PathBuf,
    /// Machines that are known to be dead: their servers begin in maintenance.
    pub gone: BTreeSet<NodeName>,
    /// The parameters.
    pub proxy: Proxy,
}

impl Intent {
    /// In the balancer's folder.
    pub const FILE: &'static str = "stand-in.json";
    /// In the balancer's folder: administration, the same words as HAProxy's.
    pub const ADMIN: &'static str = "admin.sock";
    /// In the balancer's folder: where clients arrive.
    pub const FRONT: &'static str = "front.sock";

    pub(super) fn new(
        resource: &ResourceId,
        proxy: &Proxy,
        gone: BTreeSet<NodeName>,
        kernel: PathBuf,
    ) -> Self {
        let (resource, proxy) = (resource.clone(), proxy.clone());
        Self { resource, fingerprint: fingerprint(&proxy), kernel, gone, proxy }
    }

    /// What lies in the folder, checked.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let path = folder.join(Self::FILE);
        if fs::metadata(&path)?.len() > BYTES_MAX {
            return Err(io::Error::other(format!("{} is too long", path.display())));
        }
        let read: Self = serde_json::from_slice(&fs::read(path)?)?;
        read.check().map_err(io::Error::other)?;
        Ok(read)
    }

    /// What a stand-in does not take, with the way out.
    pub(super) fn check(&self) -> Result<(), String> {
        let fronts = self.proxy.frontends.iter().map(|f| (f.name.as_str(), f.address));
        let servers = self.proxy.backends.iter().flat_map(|backend| &backend.servers);
        let servers = servers.map(|s| (s.node.as_str(), s.address));
        let outside = |(_, address): &(&str, IpAddr)| !address.is_loopback();
        if let Some((name, address)) = fronts.chain(servers).find(outside) {
            return Err(format!(
                "{name}: {address} is no address of loopback, and what stands in for HAProxy here takes no other"
            ));
        }
        self.proxy.fault().map_or(Ok(()), Err)
    }
}
