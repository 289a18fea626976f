//! Fixed vectors: the cryptography against published answers, a suite 17 packet against one computed apart.

use crate::bmc::ipmi::{
    AwsLc, CipherSuite,
    proto::{Crypto, CryptoFailed, Hash, Keys, PayloadType, Tag, checksum, parse_packet},
};

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn hmac_answers_as_rfc_2202_and_rfc_4231_say() {
    let (key, data) = (b"Jefe", b"what do ya want for nothing?");
    let sha1 = AwsLc.hmac(Hash::Sha1, key, &[data]).expect("works");
    assert_eq!(sha1.as_slice(), hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
    let sha256 = AwsLc.hmac(Hash::Sha256, key, &[&data[..5], &data[5..]]).expect("works");
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(sha256.as_slice(), hex(expected));
}

#[test]
fn aes_cbc_answers_as_sp_800_38a_says() {
    let key: [u8; 16] = hex("2b7e151628aed2a6abf7158809cf4f3c").try_into().expect("16");
    let iv: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f").try_into().expect("16");
    let plain = hex("6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51");
    let mut blocks = plain.clone();
    AwsLc.encrypt(&key, iv, &mut blocks).expect("works");
    let expected = "7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2";
    assert_eq!(blocks, hex(expected));
    AwsLc.decrypt(&key, iv, &mut blocks).expect("works");
    assert_eq!(blocks, plain);
}

/// As `AwsLc`, with a known IV.
struct FixedIv;

impl Crypto for FixedIv {
    fn hmac(&self, hash: Hash, key: &[u8], parts: &[&[u8]]) -> Result<Tag, CryptoFailed> {
        AwsLc.hmac(hash, key, parts)
    }
    fn encrypt(&self, key: &[u8; 16], iv: [u8; 16], blocks: &mut [u8]) -> Result<(), CryptoFailed> {
        AwsLc.encrypt(key, iv, blocks)
    }
    fn decrypt(&self, key: &[u8; 16], iv: [u8; 16], blocks: &mut [u8]) -> Result<(), CryptoFailed> {
        AwsLc.decrypt(key, iv, blocks)
    }
    fn random(&mut self, out: &mut [u8]) -> Result<(), CryptoFailed> {
        (0..).zip(out).for_each(|(n, byte)| *byte = n);
        Ok(())
    }
}

/// Computed by `tests/suite17.py` with Python's hmac and openssl's AES.
const SUITE17_PACKET: &str = include_str!("suite17.hex");

#[test]
fn a_suite_17_packet_is_the_one_that_was_computed_apart() {
    let sik = Tag::new(&(0..32).collect::<Vec<u8>>()).expect("32");
    let keys = Keys::derive(&FixedIv, CipherSuite::Suite17, &sik).expect("works");
    let message = [0x20, 0x00, 0xe0, 0x81, 0x04, 0x02, 0x00, 0x79];
    let sealed = keys.seal(&mut FixedIv, 0x0403_0201, 3, &message).expect("works");
    assert_eq!(sealed, hex(SUITE17_PACKET));
    let packet = parse_packet(&sealed).expect("own words");
    assert_eq!((packet.kind, packet.session, packet.sequence), (PayloadType::Ipmi, 0x0403_0201, 3));
    assert_eq!(keys.open(&FixedIv, &packet).expect("authentic"), message);
}

#[test]
fn each_changed_bit_of_a_packet_is_noticed() {
    let sik = Tag::new(&[9; 20]).expect("20");
    let keys = Keys::derive(&FixedIv, CipherSuite::Suite3, &sik).expect("works");
    let sealed = keys.seal(&mut FixedIv, 1, 1, &[1, 2, 3]).expect("works");
    // From the session header on; the RMCP header is nobody's business.
    for bit in 4 * 8..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let opened = parse_packet(&changed).and_then(|packet| keys.open(&FixedIv, &packet));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn a_message_and_its_checksum_sum_to_zero() {
    assert_eq!(checksum(&[0x20, 0x18]), 0xc8);
}
