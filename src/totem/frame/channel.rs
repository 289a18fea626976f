//! The frame's state machine: one per node, for all peers.
//!
//! A new life of a peer is accepted only after it answered a challenge that nobody answered before, so recorded
//! traffic is dead. The challenge goes to the peer's configured address, by way of `poll_transmit`, never back to
//! where a datagram came from.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use core::{net::IpAddr, time::Duration};

use base::{Incarnation, Instant, Member, NodeId, SplitMix64};

use super::{
    CHALLENGE, Cipher, Counters, DATA, Dropped, HEADER_BYTES, Header, KeyId, KeyName, PREFIX_BYTES,
    RESPONSE, life, window::Window,
};

/// Least time between two challenges to one peer, and between two responses to one.
const HANDSHAKE_INTERVAL: Duration = Duration::from_millis(5);
/// Lives of one peer that have been replaced and are remembered, so that their late frames cost no challenge.
const STALE_LIVES_MAX: usize = 4;
/// Keys accepted at a time: the old, the current and the next.
const KEYS_MAX: usize = 3;
/// Handshake datagrams waiting to be sent, at most two per peer.
const TRANSMIT_MAX: usize = 2 * crate::MEMBERS_MAX;
/// Datagrams a second that one source may cause work with, before any cryptography.
const RATE_PER_SECOND: u64 = 200_000;
/// Datagrams that one source may send in one burst.
const RATE_BURST: u64 = 50_000;
/// What a datagram costs whose key has to be derived first, in ordinary ones.
const DERIVE_COST: u64 = 200;

/// What a channel is told before it starts.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// Number of the cluster, equal on all nodes.
    pub cluster: u64,
    /// This node in this life.
    pub member: Member,
    /// The other nodes and the addresses that they send from, one per link.
    pub peers: BTreeMap<NodeId, Vec<IpAddr>>,
    /// Ids of the keys held, oldest first. The oldest is used for sending until all members have a newer one.
    pub keys: Vec<KeyId>,
    /// Seed of the challenges. They need not be secret, only fresh.
    pub seed: u64,
}

/// What cannot be done with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The counter of this life is used up. Nothing was sealed.
    #[error("the packet counter of this life is used up; restart the agent")]
    Exhausted,
    /// The cipher has no such key. Nothing changed.
    #[error("ring key {} is not held; put it into the key Secret first", .0.0)]
    NoKey(KeyId),
    /// The last key, or the one that is sent with. Nothing changed.
    #[error("ring key {} is still in use for sending; wait until all members have the next one", .0.0)]
    KeyInUse(KeyId),
    /// Too many keys at a time.
    #[error("three ring keys are accepted already; retire the oldest first")]
    TooManyKeys,
}

/// What an authentic, fresh datagram carried.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Who sent it, in which life.
    pub from: Member,
    /// The body, in the buffer that was handed in.
    pub payload: &'a [u8],
}

struct Challenge {
    nonce: u128,
    sent_at: Instant,
}

struct Life<K> {
    incarnation: Incarnation,
    life: u64,
    window: Window,
    keys: BTreeMap<KeyId, K>,
    /// Newest key id that it says it has.
    newest_key: KeyId,
}

struct Peer<K> {
    addresses: Vec<IpAddr>,
    current: Option<Life<K>>,
    stale: VecDeque<u64>,
    challenge: Option<Challenge>,
    answered_at: Option<Instant>,
    /// Token bucket of the source: datagrams left, and when they were counted.
    budget: (u64, Instant),
}

/// Seals and opens the datagrams of one node. Call `poll_transmit` after each `handle_datagram`.
pub struct Channel<C: Cipher> {
    cipher: C,
    cluster: u64,
    me: Member,
    life: u64,
    counter: u64,
    own: BTreeMap<KeyId, C::Key>,
    sending: KeyId,
    members: BTreeSet<NodeId>,
    peers: BTreeMap<NodeId, Peer<C::Key>>,
    transmit: VecDeque<(NodeId, Vec<u8>)>,
    counters: Counters,
    rng: SplitMix64,
    challenges: u64,
}

impl<C: Cipher> Channel<C> {
    /// A channel that has sent nothing yet. At least one key must be held.
    pub fn new(config: ChannelConfig, cipher: C) -> Result<Self, ChannelError> {
        let ChannelConfig { cluster, member, peers, keys, seed } = config;
        let sending = *keys.first().ok_or(ChannelError::NoKey(KeyId(0)))?;
        let peers = peers
            .into_iter()
            .filter(|(node, _)| *node != member.node)
            .map(|(node, addresses)| {
                let peer = Peer {
                    addresses,
                    current: None,
                    stale: VecDeque::new(),
                    challenge: None,
                    answered_at: None,
                    budget: (RATE_BURST, Instant::ZERO),
                };
                (node, peer)
            })
            .collect();
        let mut channel = Self {
            cipher,
            cluster,
            me: member,
            life: life(&member.incarnation),
            counter: 0,
            own: BTreeMap::new(),
            sending,
            members: BTreeSet::new(),
            peers,
            transmit: VecDeque::new(),
            counters: Counters::default(),
            rng: SplitMix64::new(seed),
            challenges: 0,
        };
        for key in keys {
            channel.add_key(key)?;
        }
        Ok(channel)
    }

    /// Seals `body` for `target`, or for every node, into `datagram`, which is cleared first.
    pub fn seal(
        &mut self,
        target: Option<NodeId>,
        body: &[u8],
        datagram: &mut Vec<u8>,
    ) -> Result<(), ChannelError> {
        self.seal_kind(DATA, target, body, datagram)
    }

    /// Opens one datagram in place. `None`: it was dropped and counted, or it was a handshake; either way
    /// `poll_transmit` may have something to send.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        source: IpAddr,
        datagram: &'a mut [u8],
    ) -> Option<Received<'a>> {
        match self.open(now, source, datagram) {
            Ok(Some((from, length))) => {
                self.counters.accepted += 1;
                let at = HEADER_BYTES + PREFIX_BYTES;
                Some(Received { from, payload: &datagram[at..at + length] })
            }
            Ok(None) => None,
            Err(reason) => {
                self.counters.count(reason);
                None
            }
        }
    }

    /// The next handshake datagram, and the node to send it to.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<(NodeId, Vec<u8>)> {
        self.transmit.pop_front()
    }

    /// Says who is in the ring now: the switch to a newer key waits for all of them.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = NodeId>) {
        self.members = members.into_iter().filter(|node| *node != self.me.node).collect();
        self.switch_key();
    }

    /// Accepts, and advertises, a further key that the cipher holds by now.
    pub fn add_key(&mut self, id: KeyId) -> Result<(), ChannelError> {
        if self.own.contains_key(&id) {
            return Ok(());
        }
        if self.own.len() >= KEYS_MAX {
            return Err(ChannelError::TooManyKeys);
        }
        let key = self.cipher.derive(&self.key_name(id)).ok_or(ChannelError::NoKey(id))?;
        self.own.insert(id, key);
        self.switch_key();
        Ok(())
    }

    /// Accepts a key no longer and drops what was derived from it.
    pub fn retire_key(&mut self, id: KeyId) -> Result<(), ChannelError> {
        if id == self.sending {
            return Err(ChannelError::KeyInUse(id));
        }
        self.own.remove(&id);
        for peer in self.peers.values_mut() {
            if let Some(current) = &mut peer.current {
                current.keys.remove(&id);
            }
        }
        Ok(())
    }

    /// The key that is sent with.
    pub const fn sending_key(&self) -> KeyId {
        self.sending
    }

    /// The cipher, for giving it further keys.
    pub const fn cipher_mut(&mut self) -> &mut C {
        &mut self.cipher
    }

    /// Datagrams by fate.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The life of `node` that is listened to.
    pub fn incarnation(&self, node: NodeId) -> Option<Incarnation> {
        Some(self.peers.get(&node)?.current.as_ref()?.incarnation)
    }

    fn key_name(&self, id: KeyId) -> KeyName {
        KeyName { id, cluster: self.cluster, sender: self.me.node, life: self.life }
    }

    fn newest_key(&self) -> KeyId {
        self.own.keys().copied().fold(self.sending, newer_of)
    }

    pub(super) fn seal_kind(
        &mut self,
        kind: u8,
        target: Option<NodeId>,
        body: &[u8],
        datagram: &mut Vec<u8>,
    ) -> Result<(), ChannelError> {
        self.counter = self.counter.checked_add(1).ok_or(ChannelError::Exhausted)?;
        let header = Header {
            kind,
            sender: self.me.node,
            target,
            key: self.sending,
            cluster: self.cluster,
            life: self.life,
            counter: self.counter,
        };
        datagram.clear();
        header.put(datagram);
        datagram.extend_from_slice(&self.newest_key().0.to_le_bytes());
        datagram.extend_from_slice(body);
        let key = self.own.get(&self.sending).ok_or(ChannelError::NoKey(self.sending))?;
        self.cipher.seal(key, self.counter, datagram, HEADER_BYTES);
        Ok(())
    }

    /// The order of checks: cheap before dear, and nothing but the header before the cipher has spoken.
    fn open(
        &mut self,
        now: Instant,
        source: IpAddr,
        datagram: &mut [u8],
    ) -> Result<Option<(Member, usize)>, Dropped> {
        let header = Header::read(datagram)?;
        if header.cluster != self.cluster {
            return Err(Dropped::Cluster);
        }
        if header.sender == self.me.node {
            return Err(Dropped::FromSelf);
        }
        let peer = self.peers.get_mut(&header.sender).ok_or(Dropped::UnknownSender)?;
        if !peer.addresses.contains(&source) {
            return Err(Dropped::WrongSource);
        }
        if header.target.is_some_and(|target| target != self.me.node) {
            return Err(Dropped::WrongTarget);
        }
        if !self.own.contains_key(&header.key) {
            return Err(Dropped::UnknownKey);
        }
        let known = peer.current.as_ref().is_some_and(|current| current.life == header.life);
        peer.spend(now, if known { 1 } else { DERIVE_COST })?;
        if !known {
            // a replaced life proves nothing and can win nothing; it is not worth a derivation
            if peer.stale.contains(&header.life) {
                return Err(Dropped::StaleLife);
            }
            return self.open_unknown_life(now, header, datagram).map(|()| None);
        }
        let current = peer.current.as_mut().ok_or(Dropped::StaleLife)?;
        current.window.check(header.counter)?;
        let name = KeyName {
            id: header.key,
            cluster: self.cluster,
            sender: header.sender,
            life: header.life,
        };
        let key = match current.keys.entry(header.key) {
            alloc::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            alloc::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(self.cipher.derive(&name).ok_or(Dropped::UnknownKey)?)
            }
        };
        let length = self
            .cipher
            .open(key, header.counter, datagram, HEADER_BYTES)
            .map_err(|_| Dropped::Forged)?;
        current.window.mark(header.counter);
        let newest = read_prefix(datagram, length)?;
        let from = Member { node: header.sender, incarnation: current.incarnation };
        if current.newest_key != newest {
            current.newest_key = newest;
            self.switch_key();
        }
        let length = length - PREFIX_BYTES;
        let body = &datagram[HEADER_BYTES + PREFIX_BYTES..][..length];
        match header.kind {
            CHALLENGE => {
                let nonce = read_nonce(body)?;
                self.answer(now, header.sender, nonce);
                Ok(None)
            }
            // the life is known already: an answer that was repeated on the way
            RESPONSE => Err(Dropped::StaleResponse),
            _ => Ok(Some((from, length))),
        }
    }

    /// A life that is not listened to (yet). Authentic frames of it lead to a challenge, nothing else.
    fn open_unknown_life(
        &mut self,
        now: Instant,
        header: Header,
        datagram: &mut [u8],
    ) -> Result<(), Dropped> {
        let name = KeyName {
            id: header.key,
            cluster: self.cluster,
            sender: header.sender,
            life: header.life,
        };
        let key = self.cipher.derive(&name).ok_or(Dropped::UnknownKey)?;
        let length = self
            .cipher
            .open(&key, header.counter, datagram, HEADER_BYTES)
            .map_err(|_| Dropped::Forged)?;
        let newest = read_prefix(datagram, length)?;
        let body = &datagram[HEADER_BYTES + PREFIX_BYTES..HEADER_BYTES + length];
        match header.kind {
            CHALLENGE => {
                // answered statelessly: a repeated challenge gets a useless answer
                let nonce = read_nonce(body)?;
                self.answer(now, header.sender, nonce);
                self.challenge(now, header.sender);
                Ok(())
            }
            RESPONSE => self.accept_life(header, newest, key, body),
            _ => {
                self.challenge(now, header.sender);
                Err(Dropped::Challenged)
            }
        }
    }

    fn accept_life(
        &mut self,
        header: Header,
        newest_key: KeyId,
        key: C::Key,
        body: &[u8],
    ) -> Result<(), Dropped> {
        let (nonce, rest) = body.split_first_chunk::<16>().ok_or(Dropped::Body)?;
        let (counter, rest) = rest.split_first_chunk::<8>().ok_or(Dropped::Body)?;
        let (random, rest) = rest.split_first_chunk::<16>().ok_or(Dropped::Body)?;
        let incarnation = Incarnation {
            counter: u64::from_le_bytes(*counter),
            random: u128::from_le_bytes(*random),
        };
        if !rest.is_empty() || life(&incarnation) != header.life {
            return Err(Dropped::Body);
        }
        let peer = self.peers.get_mut(&header.sender).ok_or(Dropped::UnknownSender)?;
        // only unicast answers count: one for all would answer for a challenge of another
        let nonce = u128::from_le_bytes(*nonce);
        if header.target.is_none()
            || peer.challenge.as_ref().is_none_or(|challenge| challenge.nonce != nonce)
        {
            return Err(Dropped::StaleResponse);
        }
        peer.challenge = None;
        if let Some(old) = peer.current.take() {
            if peer.stale.len() == STALE_LIVES_MAX {
                peer.stale.pop_front();
            }
            peer.stale.push_back(old.life);
        }
        let window = Window::after(header.counter);
        let keys = BTreeMap::from([(header.key, key)]);
        peer.current = Some(Life { incarnation, life: header.life, window, keys, newest_key });
        self.counters.lives += 1;
        self.switch_key();
        Ok(())
    }

    fn challenge(&mut self, now: Instant, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let recent = |c: &Challenge| now.since(c.sent_at) < HANDSHAKE_INTERVAL;
        if peer.challenge.as_ref().is_some_and(recent) || self.transmit.len() >= TRANSMIT_MAX {
            return;
        }
        // fresh for ever: this life occurs once, and within it the count grows
        self.challenges += 1;
        let low = self.rng.next_u64() << 32 | self.challenges & 0xffff_ffff;
        let nonce = u128::from(self.life) << 64 | u128::from(low);
        peer.challenge = Some(Challenge { nonce, sent_at: now });
        let mut datagram = Vec::new();
        if self.seal_kind(CHALLENGE, Some(node), &nonce.to_le_bytes(), &mut datagram).is_ok() {
            self.counters.challenges += 1;
            self.transmit.push_back((node, datagram));
        }
    }

    fn answer(&mut self, now: Instant, node: NodeId, nonce: u128) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let recent = |at: Instant| now.since(at) < HANDSHAKE_INTERVAL / 2;
        if peer.answered_at.is_some_and(recent) || self.transmit.len() >= TRANSMIT_MAX {
            return;
        }
        peer.answered_at = Some(now);
        let mut body = Vec::with_capacity(40);
        body.extend_from_slice(&nonce.to_le_bytes());
        body.extend_from_slice(&self.me.incarnation.counter.to_le_bytes());
        body.extend_from_slice(&self.me.incarnation.random.to_le_bytes());
        let mut datagram = Vec::new();
        if self.seal_kind(RESPONSE, Some(node), &body, &mut datagram).is_ok() {
            self.counters.responses += 1;
            self.transmit.push_back((node, datagram));
        }
    }

    /// The newest key that this node and all current members have (SAFETY.md 4.5 item 5).
    fn switch_key(&mut self) {
        let mut common = self.newest_key();
        for node in &self.members {
            let advertised = self.peers.get(node).and_then(|peer| peer.current.as_ref());
            match advertised {
                Some(current) if is_newer(common, current.newest_key) => {
                    common = current.newest_key
                }
                Some(_) => {}
                None => return,
            }
        }
        if !self.members.is_empty()
            && is_newer(common, self.sending)
            && self.own.contains_key(&common)
        {
            self.sending = common;
        }
    }
}

impl<K> Peer<K> {
    fn spend(&mut self, now: Instant, cost: u64) -> Result<(), Dropped> {
        let (left, at) = self.budget;
        let earned = now.since(at).as_micros() as u64 / (1_000_000 / RATE_PER_SECOND);
        // fractions of a datagram are not thrown away: the clock moves on only when one was earned
        let at = if earned > 0 { now } else { at };
        let left = left.saturating_add(earned).min(RATE_BURST);
        let (left, spent) = match left.checked_sub(cost) {
            Some(left) => (left, Ok(())),
            None => (left, Err(Dropped::RateLimited)),
        };
        self.budget = (left, at);
        spent
    }
}

const fn is_newer(a: KeyId, b: KeyId) -> bool {
    (a.0.wrapping_sub(b.0) as i16) > 0
}

const fn newer_of(a: KeyId, b: KeyId) -> KeyId {
    if is_newer(a, b) { a } else { b }
}

fn read_prefix(datagram: &[u8], length: usize) -> Result<KeyId, Dropped> {
    let text = datagram.get(HEADER_BYTES..HEADER_BYTES + length).ok_or(Dropped::Body)?;
    let newest = text.first_chunk::<PREFIX_BYTES>().ok_or(Dropped::Body)?;
    Ok(KeyId(u16::from_le_bytes(*newest)))
}

fn read_nonce(body: &[u8]) -> Result<u128, Dropped> {
    Ok(u128::from_le_bytes(body.try_into().map_err(|_| Dropped::Body)?))
}
