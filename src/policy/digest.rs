//! Digests of parameters: history keeps them, so that a later plan sees whether a definition has changed.
//!
//! The text and the hash are those of Pacemaker's histories, so that imported ones compare. Nothing here protects
//! anything; MD5 only tells two definitions apart.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

/// Digest of an operation's parameters, in hexadecimal. A recurring operation's timeout counts as a parameter
/// (`CRM_meta_timeout`, in milliseconds).
#[must_use]
pub fn parameters(values: &BTreeMap<&str, &str>) -> String {
    of_pairs(values.iter().map(|(name, value)| (*name, *value)))
}

/// As [`parameters`], of pairs that are sorted by name.
pub(crate) fn of_pairs<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    md5(text(values).as_bytes())
}

/// Digests that are remembered at most; more are made anew each time.
const DIGESTS_MAX: usize = 16_384;

/// Digests by the text that they are of: a plan compares the same ones again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests(BTreeMap<String, String>);

impl Digests {
    /// Whether these parameters, sorted by name, have this digest.
    pub(crate) fn is<'a>(
        &mut self,
        digest: &str,
        values: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> bool {
        let text = text(values);
        if let Some(known) = self.0.get(&text) {
            return known == digest;
        }
        let made = md5(text.as_bytes());
        let same = made == digest;
        if self.0.len() < DIGESTS_MAX {
            self.0.insert(text, made);
        }
        same
    }
}

fn text<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::with_capacity(64);
    text.push_str(" <parameters");
    for (name, value) in values {
        text.push(' ');
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '&' => text.push_str("&amp;"),
                '<' => text.push_str("&lt;"),
                '>' => text.push_str("&gt;"),
                '"' => text.push_str("&quot;"),
                '\n' => text.push_str("&#10;"),
                '\r' => text.push_str("&#13;"),
                '\t' => text.push_str("&#9;"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text.push_str("/>\n");
    text
}

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// Floor of 2^32 times the absolute sine of 1 to 64 (RFC 1321 section 3.4).
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// Sixteen of the 64 steps.
#[inline]
fn round(
    parts: &mut [u32; 4],
    number: usize,
    word: impl Fn(usize) -> u32,
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    let [mut a, mut b, mut c, mut d] = *parts;
    let step = |at: usize, a: u32, b: u32, c: u32, d: u32| {
        let sine = SINES[number * 16 + at];
        let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(sine).wrapping_add(word(at));
        b.wrapping_add(sum.rotate_left(SHIFTS[number][at % 4]))
    };
    for at in [0, 4, 8, 12] {
        a = step(at, a, b, c, d);
        d = step(at + 1, d, a, b, c);
        c = step(at + 2, c, d, a, b);
        b = step(at + 3, b, c, d, a);
    }
    *parts = [a, b, c, d];
}

fn md5(input: &[u8]) -> String {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut message: Vec<u8> = Vec::with_capacity(input.len() + 72);
    message.extend_from_slice(input);
    let bits = (input.len() as u64).wrapping_mul(8);
    message.push(0x80);
    while message.len() % 64 != 56 {
        message.push(0);
    }
    message.extend_from_slice(&bits.to_le_bytes());
    for block in message.chunks_exact(64) {
        let mut words = [0_u32; 16];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let mut parts = state;
        round(&mut parts, 0, |at| words[at], |b, c, d| (b & c) | (!b & d));
        round(&mut parts, 1, |at| words[(5 * at + 1) % 16], |b, c, d| (d & b) | (!d & c));
        round(&mut parts, 2, |at| words[(3 * at + 5) % 16], |b, c, d| b ^ c ^ d);
        round(&mut parts, 3, |at| words[(7 * at) % 16], |b, c, d| c ^ (b | !d));
        for (total, part) in state.iter_mut().zip(parts) {
            *total = total.wrapping_add(part);
        }
    }
    let mut hex = String::with_capacity(32);
    for byte in state.iter().flat_map(|word| word.to_le_bytes()) {
        for half in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(half.into(), 16).unwrap_or('0'));
        }
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_rfc() {
        assert_eq!(md5(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            md5(
                b"12345678901234567890123456789012345678901234567890123456789012345678901234567890"
            ),
            "57edf4a22be3c955ac49da2e2107b67a"
        );
    }

    #[test]
    fn no_parameters_have_the_digest_that_histories_show() {
        assert_eq!(parameters(&BTreeMap::new()), "f2317cad3d54cec5d7d7aa7d0bf35cf8");
    }
}
