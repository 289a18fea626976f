//! Which old copies of a state directory may be put back.
//!
//! CLUSTER.md section 3.8 forbids it altogether: a copy forgets what its member promised, and no protocol can tell when nobody
//! else who votes knows of it. What is to be seen is that it does no harm wherever somebody does know (section 3.2), so the
//! fault takes hold only there. Asked of disks, not of memory: who knows may lose its power in the next moment.

use base::NodeId;
use cluster::Promises;

use crate::{
    disk::{Files, stored},
    machine::Machine,
};

/// Whether each majority with this machine and without another would know that it forgot something, as it would of every
/// machine that got a copy back before and has not promised anew.
pub fn would_be_noticed(machines: &[Machine], machine: usize) -> bool {
    let Some(copy) = &machines[machine].disk.backup else { return false };
    let after = |index: usize| -> &Files {
        if index == machine { copy } else { &machines[index].disk.files }
    };
    let disks: Vec<(NodeId, Promises)> = machines
        .iter()
        .enumerate()
        .map(|(index, m)| (m.node, stored(after(index)).promises()))
        .collect();
    // of a majority with this machine
    let others = disks.len() / 2;
    disks.iter().enumerate().all(|(index, (node, own))| {
        let forgot = index == machine || own.own < machines[index].disk.forgot;
        // an empty directory says by itself that it forgot everything
        !forgot || !own.counts || unaware(&disks, *node, own) < others
    })
}

/// How many of the others could promise beside this one, and have not heard of a promise that its disk does not have.
fn unaware(disks: &[(NodeId, Promises)], node: NodeId, own: &Promises) -> usize {
    let heard = |other: &Promises| other.known.get(&node).copied() > own.own;
    disks.iter().filter(|(other, disk)| *other != node && disk.counts && !heard(disk)).count()
}
