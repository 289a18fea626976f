//! What decodes encodes to the same bytes; what is cut, stretched or out of range does not decode.

use alloc::{string::ToString, sync::Arc, vec, vec::Vec};

use base::{Guarantee, Incarnation, Member, NodeId, RingId, SplitMix64};

use super::*;

fn node(id: u16) -> NodeId {
    NodeId::new(id).expect("not zero")
}

fn member(id: u16) -> Member {
    Member { node: node(id), incarnation: Incarnation { counter: 7, random: u128::from(id) << 90 } }
}

fn ring(rep: u16, seq: u64) -> RingId {
    RingId { seq, rep: node(rep) }
}

/// One of each kind, with lists that are empty and lists that are not.
pub(crate) fn samples() -> Vec<Message> {
    let entry = |id, old_ring| CommitEntry {
        member: member(id),
        old_ring,
        aru: 5,
        high: 9,
        delivered: 4,
        obliged: vec![node(1), node(3)],
    };
    let known = |id, failed| Known { member: member(id), failed };
    vec![
        Message::Token(Token {
            ring: ring(1, 0x1234),
            token_seq: 3,
            seq: u32::MAX,
            aru: 1,
            aru_addr: Some(node(3)),
            backlog: 17,
            fcc: 2,
            recovering: true,
            requests: vec![2, 3, 9],
        }),
        Message::Mcast(Mcast {
            ring: ring(1, 9),
            seq: 10,
            origin: node(2),
            guarantee: Guarantee::Safe,
            recovered: Some(Recovered { ring: ring(2, 8), seq: 77 }),
            payload: Arc::from(&b"payload"[..]),
        }),
        Message::Mcast(Mcast {
            ring: ring(1, 9),
            seq: 11,
            origin: node(2),
            guarantee: Guarantee::Agreed,
            recovered: None,
            payload: Arc::from(&b""[..]),
        }),
        Message::MergeDetect(MergeDetect {
            ring: ring(1, 9),
            members: vec![node(1), node(2)],
            hears: vec![node(2), node(3)],
            standing: Arc::from(&b"standing"[..]),
        }),
        Message::Join(Join {
            number: 4,
            ring_seq: 9,
            reserved: 1024,
            leaving: true,
            view: 0xdead_beef,
            known: vec![known(1, false), known(2, true)],
            standing: Arc::from(&b"standing"[..]),
        }),
        Message::Commit(CommitToken {
            token_seq: 1,
            ring: ring(1, 10),
            view: 5,
            filled: 1,
            entries: vec![entry(1, Some(ring(1, 9))), entry(2, None)],
        }),
        Message::HoldCancel(HoldCancel { ring: ring(1, 9) }),
    ]
}

fn bytes(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out);
    out
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for message in samples() {
        assert_eq!(decode(&bytes(&message)), Ok(message));
    }
}

#[test]
fn a_message_cut_anywhere_or_with_a_byte_too_many_is_refused() {
    for message in samples() {
        let whole = bytes(&message);
        let payload = if let Message::Mcast(m) = &message { m.payload.len() } else { 0 };
        for cut in 0..whole.len() - payload {
            assert!(decode(&whole[..cut]).is_err(), "{message:?} cut to {cut}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        if payload == 0 && !matches!(message, Message::Mcast(_)) {
            assert_eq!(decode(&longer), Err(WireError::Trailing));
        }
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let mut unknown = bytes(&samples()[3]);
    unknown[1] = 9;
    assert_eq!(decode(&unknown), Err(WireError::Type(9)));
    unknown[0] = 2;
    assert_eq!(decode(&unknown), Err(WireError::Version(2)));
    let mut rep = bytes(&samples()[3]);
    rep[2..4].fill(0);
    assert_eq!(decode(&rep), Err(WireError::Range("ring id")));
    let mut far = bytes(&samples()[3]);
    far[4..12].fill(0xff);
    assert_eq!(decode(&far), Err(WireError::Range("ring id")));
    assert!(WireError::Range("ring id").to_string().contains("compare the versions"));
}

#[test]
fn lists_must_be_ascending_and_within_their_limits() {
    let Message::Join(mut join) = samples().remove(4) else { unreachable!() };
    join.known.reverse();
    assert!(decode(&bytes(&Message::Join(join.clone()))).is_err());
    join.known = (1..=150).map(|id| Known { member: member(id), failed: false }).collect();
    assert!(decode(&bytes(&Message::Join(join.clone()))).is_err());
    join.known.clear();
    join.standing = Arc::from(vec![0; crate::STANDING_BYTES_MAX + 1]);
    assert!(decode(&bytes(&Message::Join(join))).is_err());
    let Message::Commit(mut commit) = samples().remove(5) else { unreachable!() };
    commit.filled = 3;
    assert!(decode(&bytes(&Message::Commit(commit.clone()))).is_err());
    commit.filled = 1;
    commit.ring = ring(2, 10);
    assert!(decode(&bytes(&Message::Commit(commit))).is_err(), "the representative is not lowest");
}

/// Also the oracle of the corpus: whatever decodes must encode to the same bytes.
pub(crate) fn decode_encode_agree(input: &[u8]) {
    if let Ok(message) = decode(input) {
        assert_eq!(bytes(&message), input);
    }
}

#[test]
fn mutated_messages_never_panic_and_never_decode_ambiguously() {
    let rounds = std::env::var("TOTEM_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok());
    let mut rng = SplitMix64::new(1);
    let samples: Vec<_> = samples().iter().map(bytes).collect();
    for _ in 0..rounds.unwrap_or(100_000_u64) {
        let mut input = samples[rng.below(samples.len() as u64) as usize].clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(input.len() as u64) as usize;
            match rng.below(4) {
                0 => input[at] = rng.next_u64() as u8,
                1 => input[at] ^= 1 << rng.below(8),
                2 => input.truncate(at.max(1)),
                _ => input.insert(at, rng.next_u64() as u8),
            }
        }
        decode_encode_agree(&input);
    }
}
