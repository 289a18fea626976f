//! From the description of a device to something that can be asked.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use base::{FenceDevice, FenceDriver, Label};
use drivers::{
    bmc::ipmi::{CipherSuite, IpmiDevice, IpmiTarget, Privilege, Suites},
    power::PowerDevice,
};
use fencing::DeviceError;

use super::Credential;

/// Devices that are kept open to be asked again.
const DEVICES_MAX: usize = 256;

/// Makes devices. A trait so that tests put power supplies of their own in.
pub trait Devices: Send + Sync {
    /// Nothing is sent by this; a device without credentials is refused here.
    fn open(
        &self,
        device: &FenceDevice,
        credential: Option<&Credential>,
    ) -> Result<Arc<dyn PowerDevice>, DeviceError>;
}

/// The real ones. Kept as long as description and credentials stay the same: a device remembers which cipher suite
/// its BMC speaks and holds sessions apart.
#[derive(Default)]
pub struct RealDevices(Mutex<BTreeMap<Label, Kept>>);

struct Kept {
    driver: FenceDriver,
    credential: Credential,
    device: Arc<dyn PowerDevice>,
}

impl Kept {
    fn is(&self, driver: &FenceDriver, credential: &Credential) -> bool {
        self.driver == *driver
            && self.credential.user == credential.user
            && self.credential.password.expose() == credential.password.expose()
    }
}

impl Devices for RealDevices {
    fn open(
        &self,
        device: &FenceDevice,
        credential: Option<&Credential>,
    ) -> Result<Arc<dyn PowerDevice>, DeviceError> {
        let credential = credential.ok_or(DeviceError::NoCredentials)?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&device.name)
            && known.is(&device.driver, credential)
        {
            return Ok(Arc::clone(&known.device));
        }
        if kept.len() >= DEVICES_MAX {
            kept.clear();
        }
        let made = make(&device.driver, credential)?;
        let entry = Kept {
            driver: device.driver.clone(),
            credential: credential.clone(),
            device: Arc::clone(&made),
        };
        kept.insert(device.name.clone(), entry);
        Ok(made)
    }
}

fn make(
    driver: &FenceDriver,
    credential: &Credential,
) -> Result<Arc<dyn PowerDevice>, DeviceError> {
    match *driver {
        FenceDriver::Ipmi { address, port, cipher_suite } => {
            let suites = match cipher_suite {
                17 => Suites::Best,
                3 => Suites::Only(CipherSuite::Suite3),
                other => {
                    return Err(DeviceError::NotSent(format!(
                        "IPMI cipher suite {other} is refused: use 17 or 3"
                    )));
                }
            };
            Ok(Arc::new(IpmiDevice::new(IpmiTarget {
                address: SocketAddr::new(address, port),
                user: credential.user.clone(),
                password: credential.password.clone(),
                privilege: Privilege::Operator,
                suites,
            })))
        }
    }
}
