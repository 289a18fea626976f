//! Which devices are used together, and in which order.

use alloc::vec::Vec;

use base::{FenceDevice, NodeId};

/// Devices of one level; all of them must succeed for the level to succeed.
pub const DEVICES_MAX: usize = 8;

/// One level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// 1 to 9.
    pub level: u8,
    /// In the order of their names; at most [`DEVICES_MAX`].
    pub devices: Vec<FenceDevice>,
}

/// The levels of one machine in the order in which they are tried: ascending, devices of one level by name. Empty means
/// that nothing can fence it.
pub fn levels(devices: &[FenceDevice], target: NodeId) -> Vec<Level> {
    let mut usable: Vec<&FenceDevice> =
        devices.iter().filter(|d| d.targets.contains(&target)).collect();
    usable.sort_by(|a, b| (a.level, &a.name).cmp(&(b.level, &b.name)));
    let mut levels: Vec<Level> = Vec::new();
    for device in usable {
        match levels.last_mut() {
            Some(last) if last.level == device.level => {
                if last.devices.len() < DEVICES_MAX {
                    last.devices.push(device.clone());
                }
            }
            _ => levels.push(Level { level: device.level, devices: alloc::vec![device.clone()] }),
        }
    }
    levels
}
