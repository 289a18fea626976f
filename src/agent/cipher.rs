//! The cryptography of ring datagrams, as a value for `totem` (SAFETY.md 4.5).
//!
//! Invariants: one key per (cluster, key id, sender, life) by HKDF-SHA256, so the frame's counter is a nonce that never
//! repeats; key material has no `Debug` and is wiped when dropped.

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    digest, hkdf,
};
use totem::frame::{Cipher, Forged, KeyId, KeyName};
use zeroize::Zeroizing;

use crate::keys::{KEY_BYTES, RingKeys};

/// Domain of the derivation; another use of the same key would have another one.
const SALT: &[u8] = b"palisade ring datagrams 1";

/// Number of a cluster in each datagram: of its name, not of its uid, because a cluster object that was deleted and made
/// again is the same ring.
pub fn cluster_number(namespace: &str, name: &str) -> u64 {
    let digest = digest::digest(&digest::SHA256, format!("{namespace}/{name}").as_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&digest.as_ref()[..8]);
    u64::from_le_bytes(number)
}

/// AES-256-GCM-SIV or ChaCha20-Poly1305 over the ring keys.
pub struct RingCipher {
    keys: RingKeys,
    kind: policy::revision::Cipher,
}

impl RingCipher {
    /// With all keys that are held.
    pub const fn new(keys: RingKeys, kind: policy::revision::Cipher) -> Self {
        Self { keys, kind }
    }

    /// Holds these too: rotation. What is held already stays until it is dropped.
    pub fn add_keys(&mut self, keys: &RingKeys) {
        self.keys.merge(keys);
    }

    /// Ids under which these are other keys than those that are held.
    pub fn differing(&self, keys: &RingKeys) -> Vec<u16> {
        let differs = |id: &u16| match (self.keys.key(*id), keys.key(*id)) {
            (Some(held), Some(other)) => held.expose() != other.expose(),
            _ => false,
        };
        keys.ids().into_iter().filter(differs).collect()
    }

    /// Forgets a key that the channel has retired.
    pub fn drop_key(&mut self, id: u16) {
        self.keys.remove(id);
    }
}

/// A derived key. No `Debug`.
pub struct DerivedKey(LessSafeKey);

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl Cipher for RingCipher {
    type Key = DerivedKey;

    fn derive(&self, name: &KeyName) -> Option<DerivedKey> {
        let KeyName { id: KeyId(id), cluster, sender, life } = *name;
        let key = self.keys.key(id)?;
        let mut info = [0_u8; 20];
        info[..8].copy_from_slice(&cluster.to_le_bytes());
        info[8..10].copy_from_slice(&id.to_le_bytes());
        info[10..12].copy_from_slice(&sender.as_u16().to_le_bytes());
        info[12..].copy_from_slice(&life.to_le_bytes());
        let mut derived = Zeroizing::new([0_u8; KEY_BYTES]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
            .extract(key.expose())
            .expand(&[&info], Length)
            .and_then(|okm| okm.fill(derived.as_mut_slice()))
            .ok()?;
        let algorithm = match self.kind {
            policy::revision::Cipher::Aes256GcmSiv => &AES_256_GCM_SIV,
            policy::revision::Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        UnboundKey::new(algorithm, derived.as_slice()).ok().map(LessSafeKey::new).map(DerivedKey)
    }

    fn seal(&self, key: &DerivedKey, counter: u64, datagram: &mut Vec<u8>, text: usize) {
        let (header, body) = datagram.split_at_mut(text);
        let tag = key.0.seal_in_place_separate_tag(nonce(counter), Aad::from(&*header), body);
        match tag {
            Ok(tag) => datagram.extend_from_slice(tag.as_ref()),
            // Only for a body above 64 GiB. Nothing may leave unsealed.
            Err(_) => datagram.clear(),
        }
    }

    fn open(
        &self,
        key: &DerivedKey,
        counter: u64,
        datagram: &mut [u8],
        text: usize,
    ) -> Result<usize, Forged> {
        let (header, body) = datagram.split_at_mut_checked(text).ok_or(Forged)?;
        let opened = key.0.open_in_place(nonce(counter), Aad::from(&*header), body);
        opened.map(|text| text.len()).map_err(|_| Forged)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use base::NodeId;

    use super::*;

    const KEYS: &str = "7 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn cipher(kind: policy::revision::Cipher) -> RingCipher {
        match RingKeys::parse(KEYS.as_bytes()) {
            Ok(keys) => RingCipher::new(keys, kind),
            Err(error) => panic!("{error}"),
        }
    }

    fn name(sender: u16, life: u64) -> KeyName {
        let sender = NodeId::new(sender).expect("not zero");
        KeyName { id: KeyId(7), cluster: 5, sender, life }
    }

    #[test]
    fn only_the_same_sender_life_counter_header_and_text_open() {
        for kind in
            [policy::revision::Cipher::Aes256GcmSiv, policy::revision::Cipher::ChaCha20Poly1305]
        {
            let cipher = cipher(kind);
            let key = cipher.derive(&name(1, 9)).expect("held");
            let mut sealed = b"header...text".to_vec();
            cipher.seal(&key, 42, &mut sealed, 9);
            assert_eq!(&sealed[..9], b"header...");
            assert_eq!(sealed.len(), 13 + 16);
            assert_ne!(&sealed[9..13], b"text");

            let mut opened = sealed.clone();
            assert_eq!(cipher.open(&key, 42, &mut opened, 9), Ok(4));
            assert_eq!(&opened[..13], b"header...text");
            assert_eq!(cipher.open(&key, 43, &mut sealed.clone(), 9), Err(Forged));
            for (other, what) in [(name(2, 9), "sender"), (name(1, 10), "life")] {
                let other = cipher.derive(&other).expect("held");
                assert_eq!(cipher.open(&other, 42, &mut sealed.clone(), 9), Err(Forged), "{what}");
            }
            for bit in 0..sealed.len() * 8 {
                let mut altered = sealed.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(cipher.open(&key, 42, &mut altered, 9), Err(Forged), "bit {bit}");
            }
            assert_eq!(cipher.open(&key, 42, &mut [0; 4], 9), Err(Forged), "shorter than a header");
        }
    }

    #[test]
    fn a_key_that_is_not_held_derives_nothing() {
        let cipher = cipher(policy::revision::Cipher::Aes256GcmSiv);
        assert!(cipher.derive(&KeyName { id: KeyId(8), ..name(1, 9) }).is_none());
    }
}
