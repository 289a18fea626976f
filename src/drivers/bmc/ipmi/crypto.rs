//! The suites' cryptography by aws-lc-rs. SHA-1 and CBC are what the protocol prescribes.

use aws_lc_rs::{
    cipher::{
        AES_128, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
        UnboundCipherKey,
    },
    hmac,
    iv::FixedLength,
    rand,
};

use super::proto::{Crypto, CryptoFailed, Hash, Tag};

/// The one provider of the tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLc;

impl Crypto for AwsLc {
    fn hmac(&self, hash: Hash, key: &[u8], parts: &[&[u8]]) -> Result<Tag, CryptoFailed> {
        let algorithm = match hash {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
        for part in parts {
            context.update(part);
        }
        Tag::new(context.sign().as_ref()).ok_or(CryptoFailed)
    }

    fn encrypt(&self, key: &[u8; 16], iv: [u8; 16], blocks: &mut [u8]) -> Result<(), CryptoFailed> {
        let key = UnboundCipherKey::new(&AES_128, key).and_then(EncryptingKey::cbc);
        key.and_then(|key| {
            key.less_safe_encrypt(blocks, EncryptionContext::Iv128(FixedLength::from(iv)))
        })
        .map(drop)
        .map_err(|_| CryptoFailed)
    }

    fn decrypt(&self, key: &[u8; 16], iv: [u8; 16], blocks: &mut [u8]) -> Result<(), CryptoFailed> {
        let key = UnboundCipherKey::new(&AES_128, key).and_then(DecryptingKey::cbc);
        key.and_then(|key| {
            key.decrypt(blocks, DecryptionContext::Iv128(FixedLength::from(iv))).map(drop)
        })
        .map_err(|_| CryptoFailed)
    }

    fn random(&mut self, out: &mut [u8]) -> Result<(), CryptoFailed> {
        rand::fill(out).map_err(|_| CryptoFailed)
    }
}
