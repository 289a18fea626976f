//! Fence devices as data: where the power of a machine can be switched and read.
//!
//! Invariants: no secret is in here, only the name of the Secret that holds it (SAFETY.md 4.4); a device that
//! reports another identity than the enrolled one is never used (SAFETY.md#S8).

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Label, NodeId, SystemUuid};

/// How to talk to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceDriver {
    /// IPMI 2.0 over RMCP+.
    Ipmi {
        /// The BMC.
        address: IpAddr,
        /// UDP port, 623 by default.
        port: u16,
        /// Cipher suite, 17 or 3; 0, 1 and 2 are refused.
        cipher_suite: u8,
    },
    /// Redfish over HTTPS. After IPMI, whose number older states hold.
    Redfish(Box<RedfishService>),
}

/// Where a Redfish service is, and whom it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedfishService {
    /// The BMC.
    pub address: IpAddr,
    /// TCP port, 443 by default.
    pub port: u16,
    /// `Id` or path of the `ComputerSystem`; the only one where it is missing.
    pub system: Option<String>,
    /// SHA-256 of the certificate; where it is missing, `ca.crt` of the Secret vouches for it.
    pub certificate: Option<[u8; 32]>,
    /// The name in a certificate that does not carry the address.
    pub server_name: Option<String>,
}

/// One device, for one or more machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceDevice {
    /// Name of the `FenceDevice` object.
    pub name: Label,
    /// Driver and address.
    pub driver: FenceDriver,
    /// Name of the Secret with `username` and `password`, read by the fencer only.
    pub credentials: String,
    /// Machines that it can switch off.
    pub targets: Vec<NodeId>,
    /// Levels are tried in ascending order; all devices of one level must succeed. 1 to 9.
    pub level: u8,
    /// Wait before the first command of this device.
    pub delay: Duration,
    /// The machine's identity that the BMC must report, compared before each action.
    pub identity: Option<SystemUuid>,
}
