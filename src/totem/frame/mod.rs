//! The datagram frame of the ring (SAFETY.md 4.5): authenticate, then parse.
//!
//! ```text
//! offset size field        all 32 bytes are associated data
//!  0      1   version      1
//!  1      1   kind         1 data, 2 challenge, 3 response
//!  2      2   sender       node id
//!  4      2   target       node id, 0: every node of the cluster
//!  6      2   key id
//!  8      8   cluster id
//! 16      8   life         16 bits of the incarnation's counter, 48 of its random number
//! 24      8   counter      from 1 in each life; the nonce
//! 32          ciphertext: u16 newest key id that the sender has, then the body; then the tag
//! ```
//!
//! Invariants: nothing behind the header is looked at before the cipher says that it is authentic; a counter is never
//! used twice under one key, because the key depends on (cluster, key id, sender, life); memory per peer is constant;
//! a dropped datagram changes nothing but counters. Little-endian.

mod channel;
mod counters;
#[cfg(test)]
mod tests;
mod window;

use alloc::vec::Vec;

use base::{Incarnation, NodeId};

pub use channel::{Channel, ChannelConfig, ChannelError, Received};
pub use counters::{Counters, Dropped};

/// Bytes before the ciphertext.
pub const HEADER_BYTES: usize = 32;
/// Version of the frame.
const VERSION: u8 = 1;
/// Bytes of the text before the body.
const PREFIX_BYTES: usize = 2;
const DATA: u8 = 1;
const CHALLENGE: u8 = 2;
const RESPONSE: u8 = 3;

/// Number of a cluster key. Grows by one at each rotation; compared as a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u16);

/// Which key seals a frame: HKDF of the cluster key `id` over (cluster, id, sender, life).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    /// Which cluster key.
    pub id: KeyId,
    /// The cluster.
    pub cluster: u64,
    /// Who seals.
    pub sender: NodeId,
    /// Life of the sender as it stands in the header.
    pub life: u64,
}

/// The bytes were not sealed under this key. Nothing of them may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the datagram is not authentic; if this persists, compare the ring keys of the machines")]
pub struct Forged;

/// The cryptography, given in as a value: AES-256-GCM-SIV or ChaCha20-Poly1305 in the agent. Keys should be zeroized
/// when dropped; the channel drops a key as soon as its sender, life or id is gone.
pub trait Cipher {
    /// A derived key, ready for use.
    type Key;

    /// Derives a key; `None` when the cluster key `name.id` is not held.
    fn derive(&self, name: &KeyName) -> Option<Self::Key>;

    /// Encrypts `datagram[text..]` in place with `datagram[..text]` as associated data and `counter` as nonce, and
    /// appends the tag.
    fn seal(&self, key: &Self::Key, counter: u64, datagram: &mut Vec<u8>, text: usize);

    /// Checks and decrypts in place; returns the length of the text without the tag.
    fn open(
        &self,
        key: &Self::Key,
        counter: u64,
        datagram: &mut [u8],
        text: usize,
    ) -> Result<usize, Forged>;
}

/// The 64 bits of an incarnation that stand in each header. The counter's part makes the lives of one disk differ for
/// sure, the random part those of a wiped one.
pub fn life(incarnation: &Incarnation) -> u64 {
    (incarnation.counter << 48) | (incarnation.random >> 80) as u64
}

/// The readable part of a datagram, before anything was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: u8,
    sender: NodeId,
    target: Option<NodeId>,
    key: KeyId,
    cluster: u64,
    life: u64,
    counter: u64,
}

impl Header {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, self.kind]);
        out.extend_from_slice(&self.sender.as_u16().to_le_bytes());
        out.extend_from_slice(&self.target.map_or(0, NodeId::as_u16).to_le_bytes());
        out.extend_from_slice(&self.key.0.to_le_bytes());
        out.extend_from_slice(&self.cluster.to_le_bytes());
        out.extend_from_slice(&self.life.to_le_bytes());
        out.extend_from_slice(&self.counter.to_le_bytes());
    }

    fn read(datagram: &[u8]) -> Result<Self, Dropped> {
        let Some(header) = datagram.first_chunk::<HEADER_BYTES>() else {
            return Err(Dropped::Short);
        };
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u64_at = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(word)
        };
        if header[0] != VERSION {
            return Err(Dropped::Version);
        }
        if !(DATA..=RESPONSE).contains(&header[1]) {
            return Err(Dropped::Kind);
        }
        Ok(Self {
            kind: header[1],
            sender: NodeId::new(u16_at(2)).ok_or(Dropped::UnknownSender)?,
            target: NodeId::new(u16_at(4)),
            key: KeyId(u16_at(6)),
            cluster: u64_at(8),
            life: u64_at(16),
            counter: u64_at(24),
        })
    }
}

/// What a datagram's header and decryption say, for fuzzing: reads the header the way the channel does and never
/// panics. Returns the sender.
pub fn read_header(datagram: &[u8]) -> Result<NodeId, Dropped> {
    Header::read(datagram).map(|header| header.sender)
}
