//! Things larger than a message, in chunks over the ring: snapshots and revisions (CLUSTER.md section 3.3).
//!
//! Invariants: one transfer of a sender at a time; parts come in the ring's order, so a part out of turn ends the transfer;
//! never more than the named limit is held.

use alloc::{collections::BTreeMap, vec::Vec};

use base::NodeId;

use crate::wire::{CHUNK_MAX, Chunk};

/// The parts of `bytes`.
pub(crate) fn split(transfer: u32, bytes: &[u8]) -> Vec<Chunk> {
    let parts = bytes.len().div_ceil(CHUNK_MAX).max(1);
    // Limits of what is sent keep this far below 65,535 parts (16 MiB / 32 KiB = 512).
    let count = u16::try_from(parts).unwrap_or(u16::MAX);
    (0..count)
        .map(|part| {
            let from = usize::from(part) * CHUNK_MAX;
            let to = (from + CHUNK_MAX).min(bytes.len());
            let bytes = bytes.get(from..to).unwrap_or_default().to_vec();
            Chunk { transfer, part, parts: count, bytes }
        })
        .collect()
}

/// What has arrived of each sender's transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assembly {
    open: BTreeMap<NodeId, Open>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Open {
    transfer: u32,
    parts: u16,
    next: u16,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes one part; gives the whole when it was the last.
    pub(crate) fn take(&mut self, from: NodeId, chunk: &Chunk, limit: usize) -> Option<Vec<u8>> {
        if chunk.part == 0 {
            let (transfer, parts) = (chunk.transfer, chunk.parts);
            self.open.insert(from, Open { transfer, parts, next: 0, bytes: Vec::new() });
        }
        let open = self.open.get_mut(&from)?;
        let in_turn = open.transfer == chunk.transfer
            && open.parts == chunk.parts
            && open.next == chunk.part
            && chunk.part < chunk.parts
            && open.bytes.len() + chunk.bytes.len() <= limit;
        if !in_turn {
            self.open.remove(&from);
            return None;
        }
        open.bytes.extend_from_slice(&chunk.bytes);
        open.next += 1;
        if open.next < open.parts {
            return None;
        }
        self.open.remove(&from).map(|open| open.bytes)
    }

    /// A new configuration: what was half way is void.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}
