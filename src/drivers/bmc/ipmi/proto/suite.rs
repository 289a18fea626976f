//! Cipher suites (IPMI 2.0 table 22-20) and the cryptography that they ask for, as a trait: the pure half brings none.

use base::Instant;

/// The suites that we speak. Suite 0 has no authentication at all, 1 no integrity, 2 no secrecy: they cannot be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CipherSuite {
    /// RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
    Suite3,
    /// RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128.
    Suite17,
}

/// A suite that this program does not speak. A person must choose 3 or 17.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cipher suite {0} is refused: 0, 1 and 2 leave the power of a machine to anybody on the network; \
     choose 17, or 3 where the BMC has no 17"
)]
pub struct UnsafeSuite(pub u8);

/// Hash of the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
}

impl CipherSuite {
    /// From the number that people write.
    pub const fn from_id(id: u8) -> Result<Self, UnsafeSuite> {
        match id {
            3 => Ok(Self::Suite3),
            17 => Ok(Self::Suite17),
            other => Err(UnsafeSuite(other)),
        }
    }

    /// The number that people write.
    pub const fn id(self) -> u8 {
        match self {
            Self::Suite3 => 3,
            Self::Suite17 => 17,
        }
    }

    /// Hash of both authentication and integrity.
    pub const fn hash(self) -> Hash {
        match self {
            Self::Suite3 => Hash::Sha1,
            Self::Suite17 => Hash::Sha256,
        }
    }

    /// (authentication, integrity, confidentiality) as on the wire.
    pub(crate) const fn algorithms(self) -> [u8; 3] {
        match self {
            Self::Suite3 => [1, 1, 1],
            Self::Suite17 => [3, 4, 1],
        }
    }

    /// Length of the code behind each packet, and of the check value in RAKP 4.
    pub(crate) const fn integrity_len(self) -> usize {
        match self {
            Self::Suite3 => 12,
            Self::Suite17 => 16,
        }
    }
}

/// Privilege asked for. Operator is enough to switch power (SAFETY.md 4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Privilege {
    /// Level 4.
    Administrator,
    /// Level 3.
    #[default]
    Operator,
}

impl Privilege {
    pub(crate) const fn level(self) -> u8 {
        match self {
            Self::Operator => 3,
            Self::Administrator => 4,
        }
    }
}

/// An HMAC of up to 32 bytes.
#[derive(Clone)]
pub struct Tag {
    bytes: zeroize::Zeroizing<[u8; 32]>,
    len: usize,
}

impl Tag {
    /// `None` for more than 32 bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut copy = zeroize::Zeroizing::new([0; 32]);
        copy.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: copy, len: bytes.len() })
    }

    /// All of it.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Its first `len` bytes, fewer if it is shorter.
    pub fn truncated(&self, len: usize) -> &[u8] {
        &self.bytes[..len.min(self.len)]
    }
}

/// Compares without telling by its time where the first difference stands. Different lengths are unequal.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

/// The cryptographic library refused to work. The session ends without a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptoFailed;

/// What the suites need. Lengths of `blocks` are multiples of 16, checked by the caller.
pub trait Crypto {
    /// HMAC over the parts in order.
    fn hmac(&self, hash: Hash, key: &[u8], parts: &[&[u8]]) -> Result<Tag, CryptoFailed>;
    /// AES-128 in CBC mode, in place, without padding.
    fn encrypt(&self, key: &[u8; 16], iv: [u8; 16], blocks: &mut [u8]) -> Result<(), CryptoFailed>;
    /// The reverse.
    fn decrypt(&self, key: &[u8; 16], iv: [u8; 16], blocks: &mut [u8]) -> Result<(), CryptoFailed>;
    /// Unpredictable bytes.
    fn random(&mut self, out: &mut [u8]) -> Result<(), CryptoFailed>;
}

/// When something sent is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resend {
    pub(crate) at: Instant,
    pub(crate) tries: u8,
}
