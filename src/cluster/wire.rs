//! Bytes of what travels and of what lies on disk: one version number, then postcard.
//!
//! Invariants: input is hostile: nothing here panics, every length is bounded before anything is allocated from it, and
//! what cannot be read is `None`, never a guess. A message of a later version is ignored (SAFETY.md#S30).

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

use crate::admission::{STANDING_MAX, Standing};

/// Version of every encoding in this file. A change of layout takes the next number and keeps the old reader.
const VERSION: u8 = 1;
/// Bytes of one multicast payload. Snapshots and revisions travel in chunks below it.
pub const MESSAGE_MAX: usize = 48 * 1024;

/// What a member says of itself in its joins; `None` if it cannot be read.
pub fn decode_standing(bytes: &[u8]) -> Option<Standing> {
    decode(bytes, STANDING_MAX)
}

/// The bytes for [`crate::Output::Standing`].
pub fn encode_standing(standing: &Standing) -> Vec<u8> {
    encode(standing)
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising our own types into memory cannot fail: no unsupported shapes, no size limit.
    let body = postcard::to_allocvec(value).unwrap_or_default();
    let mut bytes = Vec::with_capacity(body.len() + 1);
    bytes.push(VERSION);
    bytes.extend_from_slice(&body);
    bytes
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Option<T> {
    if bytes.len() > limit {
        return None;
    }
    let (version, body) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    postcard::take_from_bytes(body).ok().map(|(value, _rest)| value)
}
