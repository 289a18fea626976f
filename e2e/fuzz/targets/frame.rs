//! Target `frame`: datagrams between two members, some of them altered on the way, some sealed by a stranger.
//!
//! What did not authenticate changes nothing but a counter (SAFETY.md#S28); what did arrives once, word for word.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, Ipv4Addr},
};

use agent::{cipher::RingCipher, keys::RingKeys};
use base::{Incarnation, Instant, Member, NodeId};
use policy::revision::Cipher;
use totem::frame::{Channel, ChannelConfig, Counters, Dropped, KeyId, read_header};

use super::script::{Script, within};

const CLUSTER: u64 = 5;
/// What one datagram may make a channel hold: an answer, and keys of a sender.
const DATAGRAM_BYTES: usize = 16 * 1024;
const STEPS_MAX: usize = 400;
/// Lives of strangers are counted from here; no member has as many in one case.
const STRANGERS: u64 = 1000;

type Ours = Channel<RingCipher>;

fn node(id: u16) -> NodeId {
    NodeId::new(id).expect("not zero")
}

fn address(id: u16) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, id as u8).into()
}

fn channel(id: u16, life: u64, keys: &str, kind: Cipher) -> Ours {
    let keys = RingKeys::parse(keys.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let config = ChannelConfig {
        cluster: CLUSTER,
        member: Member {
            node: node(id),
            incarnation: Incarnation { counter: life, random: u128::from(id) << 90 },
        },
        peers: BTreeMap::from([1, 2, 3].map(|peer| (node(peer), vec![address(peer)]))),
        keys: keys.ids().into_iter().map(KeyId).collect(),
        seed: life,
    };
    let Ok(channel) = Channel::new(config, RingCipher::new(keys, kind)) else {
        panic!("one key is held")
    };
    channel
}

/// All that can be seen of a channel, without its counters of what was dropped.
fn seen(channel: &Ours) -> (Vec<Option<Incarnation>>, KeyId, [u64; 4]) {
    let Counters { accepted, challenges, responses, lives, .. } = channel.counters().clone();
    let known = [1, 2, 3].map(|id| channel.incarnation(node(id)));
    (known.to_vec(), channel.sending_key(), [accepted, challenges, responses, lives])
}

fn dropped(channel: &Ours) -> u64 {
    Dropped::ALL.iter().map(|reason| channel.counters().dropped(*reason)).sum()
}

/// Something that one end sealed for the other.
#[derive(Clone)]
struct Sealed {
    from: usize,
    bytes: Vec<u8>,
    /// What was in it; `None` for a handshake.
    body: Option<Vec<u8>>,
    arrived: bool,
}

struct Pair {
    now: Instant,
    /// Members 1 and 2.
    ends: [Ours; 2],
    lives: u64,
    kind: Cipher,
    sealed: Vec<Sealed>,
}

impl Pair {
    /// Hands datagram `bytes` of `from` to the other end. Whether it was taken, and as what.
    fn arrive(
        &mut self,
        from: usize,
        source: IpAddr,
        bytes: &[u8],
        genuine: bool,
    ) -> Option<Vec<u8>> {
        let end = &mut self.ends[1 - from];
        let (before, drops) = (seen(end), dropped(end));
        let mut buffer = bytes.to_vec();
        let now = self.now;
        let taken = within(DATAGRAM_BYTES, || {
            end.handle_datagram(now, source, &mut buffer).map(|r| (r.from, r.payload.to_vec()))
        });
        let mut answers = Vec::new();
        while let Some((_, bytes)) = end.poll_transmit() {
            answers.push(bytes);
        }
        if !genuine {
            assert_eq!(taken, None, "taken, and nobody has sealed it");
            assert_eq!(seen(end), before, "it was forged, and yet it changed something");
            assert!(answers.is_empty(), "it was forged, and yet it was answered");
            assert_eq!(dropped(end), drops + 1, "dropped, and not counted");
        }
        for bytes in answers {
            let about = self.sealed.len();
            self.sealed.push(Sealed { from: 1 - from, bytes, body: None, arrived: false });
            self.deliver(about);
        }
        taken.map(|(sender, payload)| {
            assert_eq!(sender.node, node(from as u16 + 1));
            payload
        })
    }

    /// The datagram as it was sent; a second time it is nothing new.
    fn deliver(&mut self, at: usize) -> bool {
        let Sealed { from, bytes, body, arrived } = self.sealed[at].clone();
        let taken = self.arrive(from, address(from as u16 + 1), &bytes, true);
        if let Some(payload) = &taken {
            assert!(!arrived, "the same datagram twice");
            assert_eq!(Some(payload), body.as_ref(), "arrived, and is something else");
            self.sealed[at].arrived = true;
        }
        taken.is_some()
    }

    fn seal(&mut self, from: usize, body: &[u8]) -> usize {
        let mut bytes = Vec::new();
        let sealed = self.ends[from].seal(Some(node(2 - from as u16)), body, &mut bytes);
        assert!(sealed.is_ok(), "counters of one case");
        self.sealed.push(Sealed { from, bytes, body: Some(body.to_vec()), arrived: false });
        self.sealed.len() - 1
    }
}

/// The file of a key of this case alone: a fuzzer sees what is compared, so it learns what was sealed in one case and hands
/// it in, in another. Were the key the same, that would be no forgery.
fn key(case: u64) -> String {
    format!("7 {case:016x}08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
}

fn digest(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn run(data: &[u8]) {
    let _ = within(0, || read_header(data));
    let case = digest(data);
    let (keys, strange) = (&*key(case), &*key(!case));
    let mut script = Script::new(data);
    let kind = script.pick(&[Cipher::Aes256GcmSiv, Cipher::ChaCha20Poly1305]);
    let mut pair = Pair {
        now: Instant::from_millis(1000),
        ends: [channel(1, 1, keys, kind), channel(2, 1, keys, kind)],
        lives: 1,
        kind,
        sealed: Vec::new(),
    };
    let mut strangers = 0;
    for _ in 0..STEPS_MAX {
        if script.is_empty() {
            return;
        }
        pair.now = pair.now + core::time::Duration::from_millis(script.below(16) as u64);
        let from = script.below(2);
        match script.below(8) {
            0 | 1 => {
                let at = pair.seal(from, script.bytes());
                pair.deliver(at);
            }
            2 => drop(pair.seal(from, script.bytes())),
            3 if !pair.sealed.is_empty() => {
                let at = script.below(pair.sealed.len());
                pair.deliver(at);
            }
            // altered on the way
            4 | 5 if !pair.sealed.is_empty() => {
                let at = script.below(pair.sealed.len());
                let Sealed { from, bytes, .. } = pair.sealed[at].clone();
                let mut altered = bytes.clone();
                script.edit(&mut altered);
                if altered != bytes {
                    pair.arrive(from, address(from as u16 + 1), &altered, false);
                }
            }
            // sealed under another key, or in another's name, or sent from elsewhere
            6 => {
                strangers += 1;
                let held = script.pick(&[strange, keys]);
                let claimed = 1 + script.below(3) as u16;
                let mut stranger = channel(claimed, STRANGERS + strangers, held, pair.kind);
                let mut bytes = Vec::new();
                let target = script.pick(&[None, Some(node(1)), Some(node(2)), Some(node(3))]);
                assert!(stranger.seal(target, script.bytes(), &mut bytes).is_ok());
                let source = address(1 + script.below(4) as u16);
                let hearer = 2 - from as u16;
                // any member but the hearer itself: the third is configured, too
                let right_place = source == address(claimed) && claimed != hearer;
                let for_us = target.is_none_or(|target| target == node(hearer));
                // the one that holds the key and is where the member should be may ask to be challenged, no more
                let genuine = held == keys && right_place && for_us;
                let taken = pair.arrive(from, source, &bytes, genuine);
                assert_eq!(taken, None, "an unknown life was heard without a challenge");
                // the challenge may have reached the member itself, whose own life is heard from then on
                let mut heard = seen(&pair.ends[1 - from]).0.into_iter().flatten();
                assert!(heard.all(|life| life.counter < STRANGERS), "a stranger's life was taken");
            }
            _ => {
                // a restart: a new life, a new channel, and nobody knows it yet
                pair.lives += 1;
                pair.ends[from] = channel(from as u16 + 1, pair.lives, keys, pair.kind);
            }
        }
    }
}
