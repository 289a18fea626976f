//! Packets inside a session: AES-CBC inside, HMAC outside, checked before anything is decrypted (IPMI 2.0, 13.28 to
//! 13.32).

use std::vec::Vec;

use super::{
    rmcp::{self, NEXT_HEADER, Packet, PayloadType},
    suite::{CipherSuite, Crypto, CryptoFailed, Tag, equal},
    wire::Malformed,
};

const BLOCK: usize = 16;
/// Bits 7 and 6 of the payload type: encrypted, authenticated.
const SEALED: u8 = 0xc0;

/// The two keys of a session (13.32): K1 for integrity, the first 16 bytes of K2 for secrecy.
pub struct Keys {
    suite: CipherSuite,
    k1: Tag,
    k2: zeroize::Zeroizing<[u8; 16]>,
}

impl Keys {
    /// From the session integrity key. The constants have 20 bytes with both hashes.
    pub fn derive(
        crypto: &impl Crypto,
        suite: CipherSuite,
        sik: &Tag,
    ) -> Result<Self, CryptoFailed> {
        let key = |byte| crypto.hmac(suite.hash(), sik.as_slice(), &[&[byte; 20]]);
        let k1 = key(1)?;
        let k2 = key(2)?;
        let mut aes = zeroize::Zeroizing::new([0; 16]);
        aes.copy_from_slice(k2.as_slice().get(..16).ok_or(CryptoFailed)?);
        Ok(Self { suite, k1, k2: aes })
    }

    /// A whole datagram that carries `message`.
    pub fn seal(
        &self,
        crypto: &mut impl Crypto,
        session: u32,
        sequence: u32,
        message: &[u8],
    ) -> Result<Vec<u8>, CryptoFailed> {
        let mut iv = [0; BLOCK];
        crypto.random(&mut iv)?;
        let mut blocks = message.to_vec();
        // 1, 2, 3, .. and the count of them fill the last block.
        let pad = (BLOCK - (message.len() + 1) % BLOCK) % BLOCK;
        blocks.extend((1..=pad).map(|n| n as u8));
        blocks.push(pad as u8);
        crypto.encrypt(&self.k2, iv, &mut blocks)?;

        let len = u16::try_from(BLOCK + blocks.len()).map_err(|_| CryptoFailed)?;
        let mut out = rmcp::header(PayloadType::Ipmi, SEALED, session, sequence, len);
        out.extend(iv);
        out.extend(blocks);
        // 0xff up to a multiple of four, its count, next header; the code covers all from the session header on.
        let covered = out.len() - rmcp::SESSION_HEADER_AT + 2;
        let pad = (4 - covered % 4) % 4;
        out.extend(core::iter::repeat_n(0xff, pad));
        out.extend([pad as u8, NEXT_HEADER]);
        let code = self.code(crypto, &out[rmcp::SESSION_HEADER_AT..])?;
        out.extend(code.truncated(self.suite.integrity_len()));
        Ok(out)
    }

    /// The message in a packet, if it is authentic.
    pub fn open(&self, crypto: &impl Crypto, packet: &Packet<'_>) -> Result<Vec<u8>, Malformed> {
        if !(packet.encrypted && packet.authenticated) {
            return Err(Malformed("a session packet that is not encrypted and authenticated"));
        }
        let code_at = (packet.from_session_header.len())
            .checked_sub(self.suite.integrity_len())
            .ok_or(Malformed("no room for an integrity code"))?;
        let (covered, code) = packet.from_session_header.split_at(code_at);
        let failed = |_| Malformed("the cryptographic library failed");
        let expected = self.code(crypto, covered).map_err(failed)?;
        if !equal(expected.truncated(self.suite.integrity_len()), code) {
            return Err(Malformed("the integrity code is wrong"));
        }
        let (iv, blocks) =
            packet.payload.split_first_chunk::<BLOCK>().ok_or(Malformed("no room for an IV"))?;
        if blocks.is_empty() || blocks.len() % BLOCK != 0 {
            return Err(Malformed("the encrypted part is no multiple of a block"));
        }
        let mut message = blocks.to_vec();
        crypto.decrypt(&self.k2, *iv, &mut message).map_err(failed)?;
        let pad = usize::from(message.pop().unwrap_or(0));
        let len = message.len().checked_sub(pad).filter(|_| pad < BLOCK);
        let len = len.ok_or(Malformed("more padding than message"))?;
        if !message[len..].iter().zip(1..).all(|(byte, n): (&u8, u8)| *byte == n) {
            return Err(Malformed("padding that is none"));
        }
        message.truncate(len);
        Ok(message)
    }

    fn code(&self, crypto: &impl Crypto, covered: &[u8]) -> Result<Tag, CryptoFailed> {
        crypto.hmac(self.suite.hash(), self.k1.as_slice(), &[covered])
    }
}
