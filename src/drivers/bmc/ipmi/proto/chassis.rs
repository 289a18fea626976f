//! The commands that we send (IPMI 2.0, 20.8, 22.18, 22.19, 28.2, 28.3), and what their answers say.

use std::vec;

use super::{
    message::Request,
    suite::Privilege,
    wire::{Malformed, Reader},
};
use crate::power::{DeviceIdentity, PowerState};

const CHASSIS: u8 = 0x00;
const APP: u8 = 0x06;

/// Completion codes (table 5-2) that mean something to the session.
pub(crate) const BUSY: u8 = 0xc0;
pub(crate) const INSUFFICIENT_PRIVILEGE: u8 = 0xd4;

pub(crate) fn set_privilege(level: Privilege) -> Request {
    Request { netfn: APP, command: 0x3b, data: vec![level.level()] }
}

pub(crate) fn system_guid() -> Request {
    Request { netfn: APP, command: 0x37, data: vec![] }
}

pub(crate) fn close_session(id: u32) -> Request {
    Request { netfn: APP, command: 0x3c, data: id.to_le_bytes().to_vec() }
}

pub(crate) fn chassis_status() -> Request {
    Request { netfn: CHASSIS, command: 0x01, data: vec![] }
}

/// Down: at once, without asking the operating system.
pub(crate) fn power_off() -> Request {
    Request { netfn: CHASSIS, command: 0x02, data: vec![0] }
}

pub(crate) fn power_on() -> Request {
    Request { netfn: CHASSIS, command: 0x02, data: vec![1] }
}

/// Bit 0 of the first of three or four bytes.
pub fn parse_chassis_status(data: &[u8]) -> Result<PowerState, Malformed> {
    let [power, _, _] = Reader::new(data, "a chassis status of fewer than three bytes").array()?;
    if data.len() > 4 {
        return Err(Malformed("a chassis status of more than four bytes"));
    }
    Ok(if power & 1 == 1 { PowerState::On } else { PowerState::Off })
}

/// Exactly 16 bytes.
pub fn parse_system_guid(data: &[u8]) -> Result<DeviceIdentity, Malformed> {
    data.try_into().map(DeviceIdentity).map_err(|_| Malformed("a system GUID that is not 16 bytes"))
}
