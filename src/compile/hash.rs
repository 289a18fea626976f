//! A digest of a spec: one generation with two contents is a restored or stale store (CLUSTER.md section 7).
//!
//! It tells two honest contents apart; it is no defence against somebody who can write objects anyway.

use serde::Serialize;

/// FNV-1a with 128 bits (draft-eastlake-fnv) over the canonical JSON of a spec: keys in order, no spaces.
pub fn of_spec(spec: &impl Serialize) -> u128 {
    // serde_json's map is ordered by key unless told otherwise, so a detour over Value is canonical
    let text = serde_json::to_value(spec).map(|v| v.to_string()).unwrap_or_default();
    text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_draft_and_sees_one_changed_letter() {
        // an empty string has the offset basis folded over nothing; JSON of "" is two quotes
        assert_ne!(of_spec(&"a"), of_spec(&"b"));
        assert_eq!(of_spec(&[1, 2]), of_spec(&vec![1, 2]));
        let map = |pairs: [(&'static str, i32); 2]| {
            pairs.into_iter().collect::<std::collections::HashMap<_, _>>()
        };
        assert_eq!(of_spec(&map([("a", 1), ("b", 2)])), of_spec(&map([("b", 2), ("a", 1)])));
    }
}
