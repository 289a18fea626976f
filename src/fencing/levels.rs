//! Which devices are used together, and in which order.

use alloc::vec::Vec;

use base::{FenceDevice, NodeId};

/// Devices of one level; all of them must succeed for the level to succeed. A command with more is refused as a whole:
/// leaving one out would take a machine for off that has power by the other way.
pub const DEVICES_MAX: usize = 8;

/// The levels of one machine in the order in which they are tried: ascending, devices of one level by name. Empty means
/// that nothing can fence it.
pub fn levels(
    devices: impl IntoIterator<Item = FenceDevice>,
    target: NodeId,
) -> Vec<Vec<FenceDevice>> {
    let mut usable: Vec<FenceDevice> =
        devices.into_iter().filter(|d| d.targets.contains(&target)).collect();
    usable.sort_by(|a, b| (a.level, &a.name).cmp(&(b.level, &b.name)));
    let mut levels: Vec<Vec<FenceDevice>> = Vec::new();
    for device in usable {
        match levels.last_mut() {
            Some(last) if last.first().is_some_and(|d| d.level == device.level) => {
                last.push(device);
            }
            _ => levels.push(alloc::vec![device]),
        }
    }
    levels
}
