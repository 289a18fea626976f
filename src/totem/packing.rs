//! Small messages packed into one multicast, large ones cut into several (TOTEM.md section 8).
//!
//! ```text
//! 0 group u8   0: the one group of this version (process groups come later)
//! 1 flags u8   1: the last piece goes on in this sender's next multicast
//! 2 part  u16  0: the first piece starts a message; n: it is part n of one
//! 4 count u8
//! 5 length u16 x count, then the pieces without gap
//! ```
//!
//! Invariants: all pieces of one multicast have the same guarantee; a message is cut only within one ring: when a
//! ring ends before the last part was sent, the sender begins the message anew in the next ring, and receivers drop
//! what they have of it. So a message is delivered in one configuration, to all of it or (from the transitional one)
//! to those that came along.

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};

use base::{Guarantee, NodeId};

use crate::MESSAGE_BYTES_MAX;

const HEADER: usize = 5;
const GROUP: u8 = 0;
const UNFINISHED: u8 = 1;
const PIECES_MAX: usize = 255;

/// Messages waiting for the token.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    messages: VecDeque<(Guarantee, Vec<u8>)>,
    bytes: usize,
    /// How much of the first message has been sent in this ring, and in how many parts.
    sent: usize,
    parts: u16,
}

impl SendQueue {
    pub(crate) fn push(&mut self, guarantee: Guarantee, payload: &[u8]) {
        self.bytes += payload.len();
        self.messages.push_back((guarantee, payload.to_vec()));
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// About how many multicasts wait.
    pub(crate) fn backlog(&self, payload_bytes: usize) -> u32 {
        if self.is_empty() {
            return 0;
        }
        let packed = (self.bytes + 2 * self.messages.len()) / (payload_bytes - HEADER);
        u32::try_from(packed).unwrap_or(u32::MAX).max(1)
    }

    /// The ring ended: the message that was sent in part is sent anew.
    pub(crate) const fn restart(&mut self) {
        self.sent = 0;
        self.parts = 0;
    }

    /// The payload of the next multicast.
    pub(crate) fn pack(&mut self, payload_bytes: usize) -> Option<(Guarantee, Arc<[u8]>)> {
        let guarantee = self.messages.front()?.0;
        let mut room = payload_bytes - HEADER;
        let (part, mut flags) = (self.parts, 0);
        let mut lengths: Vec<u16> = Vec::new();
        let mut data = Vec::with_capacity(payload_bytes);
        while let Some((wanted, message)) = self.messages.front() {
            let rest = &message[self.sent..];
            let whole = rest.len() + 2 <= room;
            // a message that fits into one multicast of its own is not cut to fill this one
            let cut = !whole && (lengths.is_empty() || rest.len() + 2 + HEADER > payload_bytes);
            if *wanted != guarantee || lengths.len() == PIECES_MAX || room < 3 || !(whole || cut) {
                break;
            }
            let take = rest.len().min(room - 2);
            lengths.push(take as u16);
            data.extend_from_slice(&rest[..take]);
            if whole {
                room -= take + 2;
                self.bytes -= message.len();
                self.messages.pop_front();
                self.restart();
            } else {
                self.sent += take;
                self.parts += 1;
                flags = UNFINISHED;
                break;
            }
        }
        let mut out = Vec::with_capacity(HEADER + 2 * lengths.len() + data.len());
        out.extend_from_slice(&[GROUP, flags]);
        out.extend_from_slice(&part.to_le_bytes());
        out.push(lengths.len() as u8);
        for length in lengths {
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(&data);
        Some((guarantee, Arc::from(out)))
    }
}

/// What was received of messages that are not complete, by sender.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    partial: BTreeMap<NodeId, (u16, Vec<u8>)>,
}

/// A multicast whose pieces do not add up. It is ignored as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The pieces of one packed payload, for `Reassembly` and for fuzzing.
#[derive(Debug, PartialEq, Eq)]
pub struct Pieces<'a> {
    part: u16,
    unfinished: bool,
    pieces: Vec<&'a [u8]>,
}

/// Takes a packed payload apart. The lengths must add up exactly.
pub fn unpack(payload: &[u8]) -> Result<Pieces<'_>, Malformed> {
    let (&[group, flags, low, high, count], rest) =
        payload.split_first_chunk::<HEADER>().ok_or(Malformed)?;
    let (lengths, mut data) = rest.split_at_checked(2 * usize::from(count)).ok_or(Malformed)?;
    if group != GROUP || flags > UNFINISHED || count == 0 {
        return Err(Malformed);
    }
    let mut pieces = Vec::with_capacity(usize::from(count));
    for length in lengths.chunks_exact(2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (piece, rest) = data.split_at_checked(length).ok_or(Malformed)?;
        pieces.push(piece);
        data = rest;
    }
    if !data.is_empty() {
        return Err(Malformed);
    }
    Ok(Pieces { part: u16::from_le_bytes([low, high]), unfinished: flags == UNFINISHED, pieces })
}

impl Reassembly {
    /// The messages that `payload` of `origin` completes, in order. Parts that do not continue what is held are
    /// dropped with what is held.
    pub(crate) fn take(
        &mut self,
        origin: NodeId,
        payload: &[u8],
        mut message: impl FnMut(Vec<u8>),
    ) -> Result<(), Malformed> {
        let Pieces { part, unfinished, pieces } = unpack(payload)?;
        let mut held = self.partial.remove(&origin);
        let last = pieces.len() - 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            let continues = at == 0 && part > 0;
            let goes_on = at == last && unfinished;
            let whole = if continues {
                match held.take() {
                    Some((next, mut bytes))
                        if next == part && bytes.len() + piece.len() <= MESSAGE_BYTES_MAX =>
                    {
                        bytes.extend_from_slice(piece);
                        Some(bytes)
                    }
                    // its beginning was skipped (a gap of the old ring) or it grows without bound
                    _ => None,
                }
            } else {
                Some(piece.to_vec())
            };
            match whole {
                Some(bytes) if goes_on => {
                    let next = if continues { part.wrapping_add(1) } else { 1 };
                    self.partial.insert(origin, (next, bytes));
                }
                Some(bytes) => message(bytes),
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use base::SplitMix64;

    use super::*;

    fn node(id: u16) -> NodeId {
        NodeId::new(id).expect("not zero")
    }

    fn drain(queue: &mut SendQueue, size: usize) -> Vec<(Guarantee, Arc<[u8]>)> {
        core::iter::from_fn(|| queue.pack(size)).collect()
    }

    #[test]
    fn messages_of_all_sizes_come_out_as_they_went_in() {
        let mut rng = SplitMix64::new(3);
        for size in [256, 300, 1400] {
            let mut queue = SendQueue::default();
            let mut sent = Vec::new();
            for length in [0, 1, size - 9, size - 8, size - 7, size - 6, 3 * size, 0, 7, 100_000] {
                let bytes: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
                let guarantee = if rng.below(3) == 0 { Guarantee::Safe } else { Guarantee::Agreed };
                queue.push(guarantee, &bytes);
                sent.push((guarantee, bytes));
            }
            let mut reassembly = Reassembly::default();
            let mut received = Vec::new();
            for (guarantee, payload) in drain(&mut queue, size) {
                assert!(payload.len() <= size);
                reassembly
                    .take(node(1), &payload, |bytes| received.push((guarantee, bytes)))
                    .expect("packed by us");
            }
            assert!(received == sent, "payload size {size}");
            assert_eq!((queue.bytes(), queue.backlog(size)), (0, 0));
        }
    }

    #[test]
    fn small_messages_share_a_multicast_but_never_over_guarantees() {
        let mut queue = SendQueue::default();
        for guarantee in [Guarantee::Agreed, Guarantee::Agreed, Guarantee::Safe, Guarantee::Agreed]
        {
            queue.push(guarantee, b"x");
        }
        let kinds: Vec<_> = drain(&mut queue, 1400).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Guarantee::Agreed, Guarantee::Safe, Guarantee::Agreed]);
    }

    #[test]
    fn parts_that_are_skipped_repeated_or_out_of_order_deliver_nothing() {
        let mut queue = SendQueue::default();
        queue.push(Guarantee::Agreed, &vec![7; 2000]);
        let parts = drain(&mut queue, 600);
        assert_eq!(parts.len(), 4);
        for order in [&[0, 2, 3][..], &[1, 2, 3], &[3], &[0, 1, 1, 2, 3], &[0, 2, 1, 3]] {
            let mut reassembly = Reassembly::default();
            for at in order {
                reassembly
                    .take(node(1), &parts[*at].1, |_| panic!("delivered from {order:?}"))
                    .expect("well formed");
            }
        }
    }

    #[test]
    fn a_message_cut_by_the_end_of_a_ring_starts_anew() {
        let mut queue = SendQueue::default();
        queue.push(Guarantee::Agreed, &vec![7; 2000]);
        let mut reassembly = Reassembly::default();
        let first = queue.pack(600).expect("a part").1;
        reassembly.take(node(1), &first, |_| panic!("not complete")).expect("well formed");
        queue.restart();
        let mut count = 0;
        for (_, payload) in drain(&mut queue, 600) {
            let taken = reassembly.take(node(1), &payload, |bytes| {
                count += 1;
                assert_eq!(bytes, vec![7; 2000]);
            });
            taken.expect("well formed");
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        let mut queue = SendQueue::default();
        queue.push(Guarantee::Agreed, b"hello");
        let good = queue.pack(256).expect("one").1.to_vec();
        assert!(unpack(&good).is_ok());
        for at in 0..good.len() {
            assert_eq!(unpack(&good[..at]), Err(Malformed), "cut to {at}");
        }
        let mut longer = good;
        longer.push(0);
        assert_eq!(unpack(&longer), Err(Malformed));
    }
}
