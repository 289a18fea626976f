//! What a machine says about itself, and how others are asked whether they are there.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use base::{BootId, SystemUuid};
use cluster::Verdict;
use drivers::{
    power::BoxFuture,
    probe::{Link, Port, Prober as Driver, Reply},
};

use crate::{config::Config, ring::Prober};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Where the firmware says which machine this is.
const SYSTEM_UUID: &str = "/sys/class/dmi/id/product_uuid";

/// Identity of this machine (CLUSTER.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// This boot.
    pub boot_id: BootId,
    /// The machine itself, where the firmware says so.
    pub system_uuid: Option<SystemUuid>,
}

impl Machine {
    /// Reads both. Without a boot id there is no agent; without a system UUID its fence devices cannot be enrolled.
    pub fn read(config: &Config) -> io::Result<Self> {
        let boot = config.boot_id_file.as_deref().unwrap_or_else(|| Path::new(BOOT_ID));
        let boot_id = first_line(boot)?
            .parse()
            .map_err(|error| io::Error::other(format!("{}: {error}", boot.display())))?;
        let uuid = config.system_uuid_file.as_deref().unwrap_or_else(|| Path::new(SYSTEM_UUID));
        let system_uuid = match first_line(uuid).map(|text| text.parse::<SystemUuid>()) {
            Ok(Ok(uuid)) => Some(uuid),
            Ok(Err(error)) => {
                tracing::warn!(%error, file = %uuid.display(), "no system UUID: fence devices of this machine cannot be enrolled");
                None
            }
            Err(error) => {
                tracing::warn!(%error, file = %uuid.display(), "no system UUID: name a file by system_uuid_file in the configuration");
                None
            }
        };
        Ok(Self { boot_id, system_uuid })
    }
}

fn first_line(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(text.lines().next().unwrap_or("").trim().to_owned())
}

/// Asks machines by ARP, ICMP and the agent's port.
pub struct RealProber {
    driver: Arc<Driver>,
    own: Vec<IpAddr>,
}

impl RealProber {
    /// `driver`: opened while the rights were there. `own`: this machine's address on each link.
    pub const fn new(driver: Arc<Driver>, own: Vec<IpAddr>) -> Self {
        Self { driver, own }
    }
}

impl Prober for RealProber {
    fn probe(&self, addresses: Vec<IpAddr>, port: u16) -> BoxFuture<'static, Verdict> {
        let links: Vec<Link> = addresses
            .into_iter()
            .enumerate()
            .map(|(link, address)| Link {
                peer: SocketAddr::new(address, port),
                local: self.own.get(link).copied(),
                interface: None,
            })
            .collect();
        let driver = Arc::clone(&self.driver);
        Box::pin(async move {
            let replies = driver.probe(&[links]).await;
            match replies.map(|mut all| all.pop()) {
                Ok(Some(Ok(Reply::Answers(Port::Closed)))) => Verdict::PortClosed,
                Ok(Some(Ok(Reply::Answers(Port::Open)))) => Verdict::PortOpen,
                Ok(Some(Ok(Reply::Silent))) => Verdict::Silent,
                // What could not be asked is not taken for silence: the longer grace applies.
                Ok(Some(Err(error))) | Err(error) => {
                    tracing::warn!(%error, "a silent machine cannot be probed");
                    Verdict::PortClosed
                }
                Ok(None) => Verdict::PortClosed,
            }
        })
    }
}
