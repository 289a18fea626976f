//! From the description of a device to something that can be asked.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use base::{FenceDevice, FenceDriver, Label};
use drivers::{
    bmc::{
        ipmi::{CipherSuite, IpmiDevice, IpmiTarget, Privilege, Suites},
        redfish::{RedfishDevice, RedfishTarget, Trust},
    },
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
            && self.credential.authority == credential.authority
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
        let made = make(device, credential)?;
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
    device: &FenceDevice,
    credential: &Credential,
) -> Result<Arc<dyn PowerDevice>, DeviceError> {
    match &device.driver {
        &FenceDriver::Ipmi { address, port, cipher_suite } => {
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
        FenceDriver::Redfish(service) => {
            let trust = match (service.certificate, &credential.authority) {
                (Some(pinned), _) => Trust::Fingerprint(pinned),
                (None, Some(bundle)) => {
                    Trust::Authority { bundle: bundle.clone(), name: service.server_name.clone() }
                }
                (None, None) => {
                    return Err(DeviceError::NotSent(format!(
                        "nothing says which certificate is the BMC's: write spec.redfish.certificateSha256, or put ca.crt into the Secret {}",
                        device.credentials
                    )));
                }
            };
            Ok(Arc::new(RedfishDevice::new(RedfishTarget {
                address: SocketAddr::new(service.address, service.port),
                user: credential.user.clone(),
                password: credential.password.clone(),
                system: service.system.clone(),
                trust,
            })))
        }
    }
}

#[cfg(test)]
mod tests {
    use drivers::secret::Password;

    use super::*;

    fn redfish(certificate: Option<[u8; 32]>) -> FenceDevice {
        FenceDevice {
            name: "bmc-1".parse().expect("valid"),
            driver: FenceDriver::Redfish(Box::new(base::RedfishService {
                address: [127, 0, 0, 1].into(),
                port: 443,
                system: None,
                certificate,
                server_name: None,
            })),
            credentials: "bmc-1".into(),
            targets: vec![],
            level: 1,
            delay: std::time::Duration::ZERO,
            identity: None,
        }
    }

    #[test]
    fn a_service_that_nothing_vouches_for_is_not_even_opened() {
        let devices = RealDevices::default();
        let plain = Credential {
            user: "operator".into(),
            password: Password::new(b"x".to_vec()),
            authority: None,
        };
        let vouched = Credential { authority: Some(b"PEM".to_vec()), ..plain.clone() };
        let refused = devices.open(&redfish(None), Some(&plain)).err().expect("refused");
        assert!(refused.to_string().contains("ca.crt into the Secret bmc-1"), "{refused}");
        assert!(devices.open(&redfish(Some([7; 32])), Some(&plain)).is_ok());
        let one = devices.open(&redfish(None), Some(&vouched)).expect("opened");
        let same = devices.open(&redfish(None), Some(&vouched)).expect("opened");
        assert!(Arc::ptr_eq(&one, &same));
        let other = Credential { authority: Some(b"other".to_vec()), ..plain };
        let new = devices.open(&redfish(None), Some(&other)).expect("opened");
        assert!(!Arc::ptr_eq(&one, &new), "a new authority makes a new device");
    }
}
