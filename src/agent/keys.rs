//! The ring keys: read, kept and forgotten.
//!
//! Invariants: a key has no `Debug`, no `Display`, no `Serialize` (redaction by type, SAFETY.md 4.4); it is zeroized
//! when dropped; there are one or two of them, so that rotation has no gap (SAFETY.md 4.5).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// Keys that are valid at one time: the one in use and the one before or after it.
pub const KEYS_MAX: usize = 2;
/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;
/// Length of a key file in bytes that is still read.
pub const KEY_FILE_BYTES_MAX: usize = 4096;

/// One cluster key with its id. The bytes are only used to derive per-sender keys.
pub struct RingKey {
    id: u16,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl RingKey {
    /// From its parts.
    pub const fn new(id: u16, bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { id, bytes }
    }

    /// Travels in the clear in each datagram.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// The secret, for key derivation only.
    pub(crate) fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl Clone for RingKey {
    fn clone(&self) -> Self {
        Self { id: self.id, bytes: Zeroizing::new(*self.bytes) }
    }
}

/// One or two keys, the newest last. During rotation the new key is added first (everybody accepts it), and the old line is
/// removed when everybody sends with the new one (SAFETY.md 4.5).
#[derive(Clone)]
pub struct RingKeys(Vec<RingKey>);

/// Why a key file was refused. Nothing of its content is repeated here (SAFETY.md#S27).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// More than [`KEY_FILE_BYTES_MAX`] or not UTF-8.
    #[error(
        "is no text of at most 4096 bytes; write one line per key: ID, a space, 32 bytes in base64"
    )]
    NotText,
    /// A key in base64 that is not as long as a key is.
    #[error(
        "line {line} is {found} bytes, need 32: make a key with `head -c32 /dev/urandom | base64`"
    )]
    Length {
        /// Counted from 1.
        line: usize,
        /// How many bytes it has.
        found: usize,
    },
    /// A line that is not `ID KEY`.
    #[error(
        "line {line} must read ID KEY with ID from 0 to 65535 and KEY of 32 bytes in base64 or hexadecimal"
    )]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// Two lines with one id.
    #[error("line {line}: this id stands there twice; give each key an id of its own")]
    Twice {
        /// Counted from 1.
        line: usize,
    },
    /// Nothing in it, or more than two.
    #[error("must hold one or two keys (the second only during rotation), found {found}")]
    Count {
        /// How many there were.
        found: usize,
    },
    /// 32 equal bytes: a placeholder.
    #[error(
        "line {line}: all bytes of the key are equal; make one with `head -c32 /dev/urandom | base64`"
    )]
    Weak {
        /// Counted from 1.
        line: usize,
    },
}

impl RingKeys {
    /// Reads the text form: one line `ID KEY` per key, `#` begins a comment. A file with a single bare key, as people
    /// make it with `head -c32 /dev/urandom | base64`, has the id 0.
    pub fn parse(text: &[u8]) -> Result<Self, KeyFileError> {
        if text.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyFileError::NotText);
        }
        let text = core::str::from_utf8(text).map_err(|_| KeyFileError::NotText)?;
        let mut keys: Vec<RingKey> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let refused = KeyFileError::Line { line: line_number };
            let (id, key) = match line.split_once([' ', '\t', ':']) {
                Some((id, key)) => (id.trim().parse().map_err(|_| refused)?, key.trim()),
                None => (0, line),
            };
            let bytes = decode(key).map_err(|found| match found {
                Some(found) => KeyFileError::Length { line: line_number, found },
                None => KeyFileError::Line { line: line_number },
            })?;
            if bytes.iter().all(|byte| *byte == bytes[0]) {
                return Err(KeyFileError::Weak { line: line_number });
            }
            if keys.iter().any(|known| known.id == id) {
                return Err(KeyFileError::Twice { line: line_number });
            }
            keys.push(RingKey::new(id, bytes));
        }
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(KeyFileError::Count { found: keys.len() });
        }
        keys.sort_by_key(|key| key.id);
        Ok(Self(keys))
    }

    /// The text form, for the state directory only.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = String::with_capacity(KEYS_MAX * 64);
        for key in &self.0 {
            text.push_str(&key.id.to_string());
            text.push(' ');
            let encoded = Zeroizing::new(STANDARD.encode(key.expose()));
            text.push_str(&encoded);
            text.push('\n');
        }
        Zeroizing::new(text)
    }

    /// Holds the others too; an id that is held already keeps its key: an id is never given to another key.
    pub(crate) fn merge(&mut self, others: &Self) {
        for key in &others.0 {
            if self.key(key.id).is_none() {
                self.0.push(key.clone());
            }
        }
        self.0.sort_by_key(|key| key.id);
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, id: u16) {
        self.0.retain(|key| key.id != id);
    }

    /// The oldest first: ids grow by one at each rotation.
    pub fn iter(&self) -> core::slice::Iter<'_, RingKey> {
        self.0.iter()
    }

    /// The ids that this member accepts, for rotation.
    pub fn ids(&self) -> Vec<u16> {
        self.0.iter().map(RingKey::id).collect()
    }

    /// The key with this id.
    pub fn key(&self, id: u16) -> Option<&RingKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

/// 64 hexadecimal digits or 32 bytes in base64; else how many bytes it is, if it can be read at all.
fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, Option<usize>> {
    let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
    if text.len() == 2 * KEY_BYTES {
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or(None)?;
            let low = char::from(pair[1]).to_digit(16).ok_or(None)?;
            *byte = u8::try_from(high * 16 + low).map_err(|_| None)?;
        }
        return Ok(bytes);
    }
    let decoded = Zeroizing::new(STANDARD.decode(text).map_err(|_| None)?);
    if decoded.len() != KEY_BYTES {
        return Err(Some(decoded.len()));
    }
    bytes.copy_from_slice(&decoded);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn refusal(text: &str) -> KeyFileError {
        match RingKeys::parse(text.as_bytes()) {
            Ok(_) => panic!("{text:?} was accepted"),
            Err(error) => error,
        }
    }

    #[test]
    fn base64_and_hexadecimal_name_the_same_key() {
        let keys = RingKeys::parse(format!("# ours\n7 {A}\n8:{HEX}\n").as_bytes())
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(keys.ids(), [7, 8]);
        assert!(keys.key(7).map(RingKey::expose) == keys.key(8).map(RingKey::expose));
    }

    #[test]
    fn a_bare_key_has_the_id_zero_and_reads_back() {
        let keys = RingKeys::parse(A.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(keys.to_text().as_str(), format!("0 {A}\n"));
    }

    #[test]
    fn broken_files_are_refused_without_repeating_them() {
        assert_eq!(refusal(""), KeyFileError::Count { found: 0 });
        assert_eq!(refusal("1 short!"), KeyFileError::Line { line: 1 });
        assert_eq!(refusal("AAECAwQFBgc="), KeyFileError::Length { line: 1, found: 8 });
        assert_eq!(refusal(&format!("65536 {A}")), KeyFileError::Line { line: 1 });
        assert_eq!(refusal(&format!("1 {A}\n1 {A}")), KeyFileError::Twice { line: 2 });
        assert_eq!(refusal(&format!("1 {A}\n2 {A}\n3 {A}")), KeyFileError::Count { found: 3 });
        assert_eq!(refusal(&"0".repeat(64)), KeyFileError::Weak { line: 1 });
        assert!(!refusal("1 canary-secret").to_string().contains("canary"));
    }
}
