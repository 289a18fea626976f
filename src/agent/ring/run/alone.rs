//! What this member alone sees: told to the others over the ring, or, where it cannot be in one, by its own object.
//!
//! Invariants: none of it decides anything; what is over at once is not told, so that a restart of a part writes no status;
//! nothing of a key or a credential is in any text (SAFETY.md#S27).

use std::{collections::BTreeMap, time::Duration};

use base::{FenceDevice, Instant};
use cluster::{Ails, DeviceFinding, Input};

use super::Loop;
use crate::{
    conditions,
    keys::RingKeys,
    messages::{ToFencer, looks},
};

/// What passes at each start is told when it has lasted for so long.
const PASSING_MIN: Duration = Duration::from_secs(15);
/// Without a ring, and with datagrams of members that do not open, for so long: the key is another one.
const STRANGERS_MIN: Duration = Duration::from_secs(10);

/// What is known of what this member alone sees.
#[derive(Default)]
pub(super) struct Alone {
    /// Since when what passes stands.
    since: BTreeMap<&'static str, Instant>,
    /// As the connected fencer was told, if it understands it.
    devices: Option<Vec<FenceDevice>>,
    findings: Vec<DeviceFinding>,
    /// What the API says of the ring key.
    secret: Option<String>,
    /// Ids under which the API has another key than the one that is used.
    differing: Vec<u16>,
    /// Datagrams that did not open, as last counted, and since when this goes on without a ring.
    unopened: u64,
    strangers_since: Option<Instant>,
    /// Since when this member is in no ring that does its work.
    apart_since: Option<Instant>,
    /// Words of others that the view holds.
    pub(super) heard: u64,
}

impl Loop {
    /// The fencer is there: it is told of the devices if it knows what to do with them.
    pub(super) fn fencer_is_here(&mut self, life: u128) {
        self.alone.devices = looks(life).then(Vec::new);
        self.alone.findings.clear();
    }

    /// It is gone, and with it what it knew.
    pub(super) fn fencer_is_away(&mut self) {
        self.alone.devices = None;
        self.alone.findings.clear();
    }

    pub(super) fn fencer_looked(&mut self, findings: Vec<DeviceFinding>) {
        self.alone.findings = findings;
    }

    /// What the API has in place of a ring key.
    pub(super) fn key_secret(&mut self, wrong: String) {
        self.alone.secret = Some(wrong);
    }

    /// Keys of the API: those that share an id with another key of ours are not taken, and that is said.
    /// True: there are none of those.
    pub(super) fn compare_keys(&mut self, keys: &RingKeys) -> bool {
        self.alone.differing = self.core.differing_keys(keys);
        self.alone.secret = None;
        self.alone.differing.is_empty()
    }

    /// Called at each turn of housekeeping.
    pub(super) fn tell_alone(&mut self, now: Instant) {
        let text = self.judge_key(now);
        self.outlet.condition(conditions::KEY, text.clone());
        let in_ring = self.core.member().is_ready();
        self.alone.apart_since = self.alone.apart_since.or(Some(now)).filter(|_| !in_ring);
        let apart = self.alone.apart_since.is_some_and(|at| now.since(at) >= PASSING_MIN);
        let lonely = text.filter(|_| apart);
        self.lonely.send_if_modified(|said| {
            let differs = *said != lonely;
            if differs {
                *said = lonely;
            }
            differs
        });
        self.tell_devices();
        let own = &self.outlet.conditions;
        self.alone.since.retain(|kind, _| own.contains_key(kind));
        for kind in conditions::PASSING.into_iter().filter(|kind| own.contains_key(kind)) {
            self.alone.since.entry(kind).or_insert(now);
        }
        let stands = |kind: &&str| {
            let since = self.alone.since.get(kind);
            own.contains_key(*kind) && since.is_none_or(|at| now.since(*at) >= PASSING_MIN)
        };
        let told = conditions::TOLD.into_iter().filter(stands);
        let ails = Ails {
            own: told.filter_map(|kind| Some((kind.to_owned(), own.get(kind)?.clone()))).collect(),
            devices: self.findings(stands(&conditions::FENCER_AWAY)),
        };
        self.core.handle(now, Input::Ails(ails));
    }

    /// A new list for a fencer that understands it: of the accepted revision, enrolled as far as the ring knows.
    fn tell_devices(&mut self) {
        if !self.outlet.changed && self.alone.devices.as_ref().is_none_or(|told| !told.is_empty()) {
            return;
        }
        let mine = self.core.me();
        if let Some(told) = &mut self.alone.devices {
            let mut devices = self.core.member().devices();
            devices.retain(|device| device.targets != [mine]);
            if *told != devices {
                told.clone_from(&devices);
                self.outlet.fencer.say(ToFencer::Devices(devices));
            }
        }
    }

    /// A fencer that is away for long can use none of them: nobody waits for its word then.
    fn findings(&self, away: bool) -> Vec<DeviceFinding> {
        if !away {
            return self.alone.findings.clone();
        }
        let mine = self.core.me();
        let devices = self.core.member().devices();
        let others = devices.into_iter().filter(|device| device.targets != [mine]);
        others
            .map(|device| DeviceFinding {
                device: device.name,
                reason: conditions::FENCER_AWAY.into(),
                text: "the fencer of this member does not answer: look at its pod or unit".into(),
            })
            .collect()
    }

    /// Row 19 of SPEC-ERRORS.md, and what it leads to: a member that nobody understands.
    fn judge_key(&mut self, now: Instant) -> Option<String> {
        let unopened: u64 = ["forged", "unknown_key"]
            .iter()
            .map(|why| self.dropped.get(why).copied().unwrap_or_default())
            .sum();
        let grew = unopened > self.alone.unopened;
        self.alone.unopened = unopened;
        let together = self.outlet.members.len() > 1;
        let since = self.alone.strangers_since.filter(|_| !together);
        self.alone.strangers_since = since.or_else(|| (grew && !together).then_some(now));
        let strangers = self.alone.strangers_since.is_some_and(|at| now.since(at) >= STRANGERS_MIN);
        let entry = &self.revision.transport.key;
        let secret = format!("secret {:?} entry {:?}", entry.secret, entry.entry);
        if let Some(wrong) = &self.alone.secret {
            Some(format!("{wrong}; the ring goes on with the key that it has"))
        } else if let Some(id) = self.alone.differing.first() {
            Some(format!(
                "{secret}: id {id} names another key than the one that the ring uses, which is not taken: give a new key the next id, and keep the old line until all members have both"
            ))
        } else if strangers {
            Some(format!(
                "datagrams of the other members do not open with the ring key of this one: compare {secret} with theirs; where this member was away while a key was replaced, remove ring-keys from its state directory and restart its agent"
            ))
        } else {
            None
        }
    }
}
