//! What members say is wrong with themselves, and what each has seen for itself of the fence devices: told in each era,
//! shown by all, part of no decision and of no state.

use alloc::{format, string::String, vec::Vec};

use base::{Label, NodeId};
use serde::{Deserialize, Serialize};

use crate::{
    member::Member,
    status::{Condition, DeviceSaid},
    wire::{MESSAGE_MAX, Message, empty_before},
};

/// Of one member at one time.
pub const AILS_MAX: usize = 16;
/// Fence devices that one member speaks of: two for each of the voters that a cluster can have.
pub const DEVICES_SAID_MAX: usize = 64;
/// Bytes of a text.
const TEXT_BYTES_MAX: usize = 400;
/// Bytes of a word for machines.
const WORD_BYTES_MAX: usize = 64;

// A name has 63 bytes; each of the three has its length in front.
const _: () = assert!(
    DEVICES_SAID_MAX * (63 + WORD_BYTES_MAX + TEXT_BYTES_MAX + 6)
        + AILS_MAX * (WORD_BYTES_MAX + TEXT_BYTES_MAX + 4)
        + 64
        < MESSAGE_MAX
);

/// All that a member has to say at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ails {
    /// Of itself: type and text.
    pub own: Vec<(String, String)>,
    /// Of the fence devices that it has looked at.
    #[serde(deserialize_with = "empty_before")]
    pub devices: Vec<DeviceFinding>,
}

/// What a member has seen of one fence device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFinding {
    /// Name of the `FenceDevice` object.
    pub device: Label,
    /// One word for machines, for example `CredentialsInvalid`; empty: it could be used from there.
    pub reason: String,
    /// What is wrong and what to do next; empty likewise.
    pub text: String,
}

impl Ails {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.devices.is_empty()
    }

    /// Cut to its limits; what is no word does not become a reason or a type of a condition, which servers check.
    fn bounded(mut self) -> Self {
        self.own.retain(|(kind, _)| is_word(kind));
        self.own.truncate(AILS_MAX);
        self.devices.retain(|said| said.reason.is_empty() || is_word(&said.reason));
        self.devices.truncate(DEVICES_SAID_MAX);
        for text in self.own.iter_mut().map(|(_, text)| text) {
            cut(text);
        }
        for said in &mut self.devices {
            cut(&mut said.text);
        }
        self
    }
}

fn is_word(word: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn cut(text: &mut String) {
    let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
    // Beyond its end nothing is a boundary, and its end itself was found before.
    text.truncate(end.filter(|_| text.len() > TEXT_BYTES_MAX).unwrap_or(text.len()));
}

impl Member {
    pub(crate) fn ails(&mut self, ails: Ails) {
        let ails = ails.bounded();
        if self.ails != ails {
            self.ails = ails;
            if self.era_open() {
                self.say(&Message::Ails(self.ails.clone()));
            }
        }
    }

    /// The others may have heard of nothing yet.
    pub(crate) fn say_ails(&mut self) {
        if !self.ails.is_empty() {
            self.say(&Message::Ails(self.ails.clone()));
        }
    }

    pub(crate) fn heard_ails(&mut self, from: NodeId, ails: &Ails) {
        if let Some(installed) = &mut self.installed {
            let ails = ails.clone().bounded();
            if installed.ails.insert(from, ails.clone()) != Some(ails) {
                self.ails_heard += 1;
            }
        }
    }

    /// Counts what [`Self::status`] shows of others and what nothing else announces: no state changes with it.
    pub fn heard(&self) -> u64 {
        self.ails_heard
    }

    pub(crate) fn ails_of_all(&self) -> Vec<Condition> {
        let all = self.installed.iter().flat_map(|installed| &installed.ails);
        all.flat_map(|(node, ails)| {
            ails.own.iter().map(move |(kind, text)| Condition {
                kind: kind.clone(),
                object: format!("node {node}"),
                text: text.clone(),
            })
        })
        .collect()
    }

    pub(crate) fn devices_said(&self) -> Vec<DeviceSaid> {
        let all = self.installed.iter().flat_map(|installed| &installed.ails);
        all.flat_map(|(node, ails)| {
            ails.devices.iter().map(|said| DeviceSaid { node: *node, finding: said.clone() })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec};

    use base::RingId;

    use super::*;
    use crate::wire::{decode_message, encode_message};

    fn ring() -> RingId {
        RingId { seq: 7, rep: NodeId::new(1).expect("not zero") }
    }

    fn said(own: &str, device: Option<&str>) -> Ails {
        let finding = |name: &str| DeviceFinding {
            device: name.parse().expect("valid"),
            reason: "Unreachable".into(),
            text: "no answer".into(),
        };
        Ails {
            own: vec![(own.into(), "look".into())],
            devices: device.map(finding).into_iter().collect(),
        }
    }

    #[test]
    fn a_member_of_the_version_before_is_understood_and_understands_the_half_that_it_knows() {
        let bytes = encode_message(ring(), &Message::Ails(said("WatchdogNotArmed", None)));
        let (empty, before) = bytes.split_last().expect("not empty");
        assert_eq!(*empty, 0, "the earlier version ended in front of the empty list of devices");
        let (_, body) = decode_message(before).expect("readable");
        assert_eq!(body, Some(Message::Ails(said("WatchdogNotArmed", None))));

        // as the earlier version reads it: the number of the kind, its only field, and no look at the rest
        let bytes = encode_message(ring(), &Message::Ails(said("KeyInvalid", Some("bmc-1"))));
        let (_, rest) = postcard::take_from_bytes::<RingId>(&bytes[1..]).expect("a ring");
        let (old, rest) =
            postcard::take_from_bytes::<(u32, Vec<(String, String)>)>(rest).expect("readable");
        assert_eq!(old.1, said("KeyInvalid", None).own);
        assert!(!rest.is_empty());
    }

    #[test]
    fn what_others_say_is_cut_to_its_limits_before_it_is_kept() {
        let mut ails = said("not a word", Some("bmc-1"));
        ails.own.extend((0..40).map(|_| ("Loud".to_string(), "ü".repeat(999))));
        ails.devices.extend((0..99).flat_map(|_| said("x", Some("bmc-2")).devices));
        ails.devices[0].reason = "a b".into();
        let kept = ails.bounded();
        assert_eq!((kept.own.len(), kept.devices.len()), (AILS_MAX, DEVICES_SAID_MAX));
        assert!(kept.own.iter().all(|(kind, text)| kind == "Loud" && text.len() <= TEXT_BYTES_MAX));
        assert!(kept.devices.iter().all(|said| said.device.as_str() == "bmc-2"));
        assert!(encode_message(ring(), &Message::Ails(kept)).len() < MESSAGE_MAX);
    }
}
