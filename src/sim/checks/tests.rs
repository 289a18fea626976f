//! Each check is shown what it must object to, and something close to it that it must let pass.

use base::{ConfigurationKind, Epoch, Guarantee, Incarnation, Member, NodeId, RingId};
use fencing::{DeviceAction, Incident, PowerGoal, PowerState};
use lifecycle::{Operation, OrderId};

use super::Checks;
use crate::{
    fact::{Fact, Part, PowerLoss},
    params::node_id,
    truth::{Setup, Truth},
};

struct Story {
    truth: Truth,
    checks: Checks,
    at: u64,
}

fn id(number: u16) -> NodeId {
    node_id(usize::from(number) - 1)
}

fn ring(seq: u64) -> RingId {
    RingId { seq, rep: id(1) }
}

fn life(random: u128) -> Incarnation {
    Incarnation { counter: 1, random }
}

fn epoch(seq: u64) -> Epoch {
    Epoch { ring: ring(seq), coordinator: life(1) }
}

fn member(node: u16) -> Member {
    Member { node: id(node), incarnation: life(u128::from(node)) }
}

fn installs(node: u16, members: &[u16], seq: u64) -> Fact {
    let members = members.iter().map(|n| member(*n)).collect();
    Fact::Installed { node: id(node), kind: ConfigurationKind::Regular, ring: ring(seq), members }
}

impl Story {
    fn new() -> Self {
        let setup = Setup {
            voters: [1, 2, 3].map(id).to_vec(),
            t_mem_us: 1_000_000,
            grace_us: 1_000_000,
            fresh_us: 100_000,
            t_stop_us: 1_000_000,
            stops_without_quorum: true,
            self_fencing: false,
            watchdog_us: None,
            t_assume_us: 9_000_000,
            budget: (2, 600_000_000),
        };
        let mut story = Self { truth: Truth::new(setup), checks: Checks::default(), at: 0 };
        for node in [1, 2, 3].map(id) {
            story.good(Fact::PowerOn { node, boot: 1 });
            for part in Part::ALL {
                story.good(Fact::Starts { node, part });
            }
            story.good(Fact::Life { node, incarnation: life(u128::from(node.as_u16())) });
            story.good(Fact::Reserved { node, up_to: 1000 });
        }
        story
    }

    /// All three in one era.
    fn together() -> Self {
        let mut story = Self::new();
        story.install(&[1, 2, 3], 1);
        story.epochs(&[1, 2, 3], 1);
        story
    }

    fn install(&mut self, nodes: &[u16], seq: u64) {
        for node in nodes {
            self.good(installs(*node, nodes, seq));
        }
    }

    fn epochs(&mut self, nodes: &[u16], seq: u64) {
        for node in nodes {
            self.good(Fact::Epoch { node: id(*node), epoch: epoch(seq), quorate: true });
        }
    }

    fn say(&mut self, fact: &Fact) -> Option<&'static str> {
        self.at += 1000;
        let found = self.checks.observe(self.at, fact, &self.truth).err();
        self.truth.apply(self.at, fact);
        found.map(|violation| violation.id)
    }

    fn good(&mut self, fact: Fact) {
        assert_eq!(self.say(&fact), None, "{fact}");
    }

    fn bad(&mut self, fact: Fact, id: &str) {
        assert_eq!(self.say(&fact), Some(id), "{fact}");
    }
}

fn holds(node: u16, name: &str, address: bool) -> Fact {
    let resource = name.parse().expect("valid");
    Fact::Holds { node: id(node), resource, exclusive: true, address }
}

fn start(node: u16, seq: u64, number: u64) -> Fact {
    Fact::Began {
        node: id(node),
        resource: "lock".parse().expect("valid"),
        operation: Operation::Start,
        order: Some((epoch(seq), OrderId(number))),
        exclusive: true,
    }
}

fn sent(by: u16, target: u16, call: u64, late: bool) -> Fact {
    let action = DeviceAction::SwitchOff;
    Fact::FenceSent { by: id(by), target: id(target), call, action, late }
}

fn off(by: u16, target: u16) -> Fact {
    Fact::FenceEnded {
        by: id(by),
        incident: Incident { node: id(target), ring: ring(2) },
        goal: PowerGoal::Off,
        off: true,
        commanded: true,
    }
}

fn read(by: u16, target: u16, call: u64) -> Fact {
    let (by, target) = (id(by), id(target));
    Fact::Read { by, target, call, said: PowerState::Off, truth: PowerState::Off }
}

fn delivered(node: u16, digest: u64, guarantee: Guarantee) -> Fact {
    Fact::Delivered { node: id(node), sender: id(1), guarantee, digest }
}

#[test]
fn s1_and_s2_object_to_two_holders_and_not_to_a_move() {
    for (name, address, check) in [("vip", true, "S1"), ("lock", false, "S2")] {
        let mut story = Story::new();
        story.good(holds(1, name, address));
        let resource = name.parse().expect("valid");
        story.good(Fact::Drops { node: id(1), resource, why: "test" });
        story.good(holds(2, name, address));
        story.bad(holds(3, name, address), check);
    }
}

#[test]
fn s3_objects_to_a_start_while_a_voter_owes_and_not_after_evidence() {
    let mut story = Story::together();
    story.install(&[1, 2], 2);
    story.epochs(&[1, 2], 2);
    story.bad(start(1, 2, 1), "S3");
    story.good(Fact::PowerOff { node: id(3), why: PowerLoss::Bmc });
    story.bad(start(1, 2, 2), "S3");
    story.good(read(1, 3, 7));
    story.good(off(1, 3));
    story.good(start(1, 2, 3));
}

#[test]
fn s3_lets_start_again_what_its_own_member_reports_no_more() {
    let mut story = Story::together();
    story.install(&[1, 2], 2);
    let report = |node, running: &[&str]| Fact::Reported {
        node: id(node),
        epoch: epoch(2),
        running: running.iter().map(|name| name.parse().expect("valid")).collect(),
    };
    story.epochs(&[1, 2], 2);
    story.good(report(1, &["lock"]));
    story.good(report(2, &[]));
    story.bad(start(1, 2, 1), "S3");
    story.good(report(1, &[]));
    story.good(start(1, 2, 2));
}

#[test]
fn s4_objects_to_off_without_a_read_after_the_command() {
    let mut story = Story::together();
    story.install(&[1, 2], 2);
    story.good(read(1, 3, 1));
    story.good(sent(1, 3, 2, false));
    story.bad(off(1, 3), "S4");
    story.good(sent(1, 3, 3, false));
    story.good(read(1, 3, 4));
    story.good(off(1, 3));
}

#[test]
fn s5_objects_to_a_minority_that_fences() {
    let mut story = Story::together();
    story.good(installs(1, &[1], 2));
    story.bad(sent(1, 3, 1, false), "S5");
}

#[test]
fn s6_objects_to_the_third_incident_of_a_budget_of_two() {
    let mut story = Story::together();
    story.install(&[1, 2], 2);
    for (number, check) in [(2, None), (3, None), (4, Some("S6"))] {
        story.good(Fact::FenceAsked {
            by: id(1),
            incident: Incident { node: id(3), ring: ring(number) },
            epoch: epoch(2),
            goal: PowerGoal::Off,
            deadline_us: 1,
        });
        assert_eq!(story.say(&sent(1, 3, number, false)), check);
    }
}

#[test]
fn s7_objects_to_late_commands_and_to_shooting_a_member() {
    let mut story = Story::together();
    story.install(&[1, 2], 2);
    story.bad(sent(1, 3, 1, true), "S7");
    let mut story = Story::together();
    story.good(sent(1, 3, 2, false));
    story.at += 3_000_000;
    story.bad(sent(1, 3, 3, false), "S7");
}

#[test]
fn s9_objects_to_another_epoch_than_the_installed_one() {
    let mut story = Story::together();
    story.good(start(1, 1, 1));
    story.install(&[1, 2, 3], 2);
    story.epochs(&[1, 2, 3], 2);
    story.bad(start(1, 1, 2), "S9");
}

#[test]
fn s10_objects_to_a_claim_of_quorum_without_tokens() {
    let mut story = Story::together();
    let claim =
        Fact::Claims { node: id(1), quorate: true, era: Some(ring(1)), accepted: (1, Vec::new()) };
    story.truth.token(id(1), story.at, true);
    story.good(claim.clone());
    story.at += 2_100_000;
    story.bad(claim, "S10");
}

#[test]
fn s11_objects_to_a_resource_that_outlives_its_quorum() {
    let mut story = Story::together();
    story.good(holds(1, "lock", false));
    let claim = Fact::Claims { node: id(2), quorate: false, era: None, accepted: (1, Vec::new()) };
    story.at += 3_900_000;
    story.good(claim.clone());
    story.at += 200_000;
    story.bad(claim, "S11");
}

#[test]
fn s12_objects_to_ring_ids_that_go_back_or_are_not_durable() {
    let mut story = Story::new();
    story.install(&[1, 2, 3], 5);
    story.bad(installs(1, &[1], 4), "S12");
    let mut story = Story::new();
    story.bad(installs(1, &[1], 1001), "S12");
    story.bad(Fact::Life { node: id(1), incarnation: life(1) }, "S12");
}

#[test]
fn s13_objects_to_another_order_and_to_missing_messages() {
    let mut story = Story::together();
    story.good(delivered(1, 10, Guarantee::Agreed));
    story.bad(delivered(2, 11, Guarantee::Agreed), "S13");

    let mut story = Story::together();
    story.good(delivered(1, 10, Guarantee::Agreed));
    story.good(installs(1, &[1, 2], 2));
    story.bad(installs(2, &[1, 2], 2), "S13");

    let mut story = Story::together();
    story.good(delivered(1, 10, Guarantee::Safe));
    story.bad(installs(2, &[1, 2], 2), "S13");
}

#[test]
fn s14_objects_to_an_order_that_begins_twice() {
    let mut story = Story::together();
    story.good(start(1, 1, 1));
    story.bad(start(1, 1, 1), "S14");
}

#[test]
fn s16_hears_of_bad_plans() {
    let mut story = Story::new();
    story.bad(Fact::BadPlan { what: "a cycle".into() }, "S16");
}

#[test]
fn s6_objects_to_a_second_power_off_after_evidence_was_in_effect() {
    let asked = |ring_seq, epoch_seq| Fact::FenceAsked {
        by: id(1),
        incident: Incident { node: id(3), ring: ring(ring_seq) },
        epoch: epoch(epoch_seq),
        goal: PowerGoal::Off,
        deadline_us: 1_000_000,
    };
    let fenced = || {
        let mut story = Story::together();
        story.install(&[1, 2], 2);
        story.epochs(&[1, 2], 2);
        story.good(asked(2, 2));
        story.good(sent(1, 3, 1, false));
        story.good(Fact::PowerOff { node: id(3), why: PowerLoss::Bmc });
        story.good(read(1, 3, 2));
        story.good(off(1, 3));
        story.good(start(1, 2, 1));
        story
    };
    let mut story = fenced();
    story.install(&[1, 2], 4);
    story.good(asked(4, 4));
    story.bad(sent(1, 3, 3, false), "S6");

    let mut story = fenced();
    story.install(&[1, 2, 3], 3);
    story.install(&[1, 2], 4);
    story.good(asked(4, 4));
    story.good(sent(1, 3, 3, false));
}

#[test]
fn s8_objects_to_a_command_that_reaches_another_machine() {
    let mut story = Story::together();
    story.good(Fact::Reached { by: id(1), target: id(3), reached: id(3) });
    story.bad(Fact::Reached { by: id(1), target: id(3), reached: id(2) }, "S8");
}

#[test]
fn s11_objects_to_a_watchdog_that_is_fed_for_a_frozen_agent() {
    let claim = Fact::Claims { node: id(2), quorate: false, era: None, accepted: (1, Vec::new()) };
    for (armed, check) in [(Some(2_000_000), Some("S11")), (None, None)] {
        let mut story = Story::together();
        story.truth.setup.watchdog_us = armed;
        story.good(Fact::Freezes { node: id(1), part: Part::Ring });
        story.at += 2_900_000;
        story.good(claim.clone());
        story.at += 200_000;
        assert_eq!(story.say(&claim), check);
    }
}

#[test]
fn s19_objects_to_an_object_that_goes_back_within_an_era() {
    let mut story = Story::together();
    let mut claim = |era, generation, check: Option<&str>| {
        story.truth.token(id(1), story.at, true);
        let accepted = (1, vec![("uid".to_string(), generation)]);
        let fact = Fact::Claims { node: id(1), quorate: true, era: Some(ring(era)), accepted };
        assert_eq!(story.say(&fact), check);
    };
    claim(1, 3, None);
    claim(1, 4, None);
    claim(2, 3, None);
    claim(2, 2, Some("S19"));
}

#[test]
fn s31_objects_to_a_report_that_leaves_something_out() {
    let mut story = Story::together();
    story.good(holds(1, "lock", false));
    let report = |running: &[&str]| Fact::Reported {
        node: id(1),
        epoch: epoch(1),
        running: running.iter().map(|name| name.parse().expect("valid")).collect(),
    };
    story.good(report(&["lock"]));
    story.bad(report(&[]), "S31");
}

#[test]
fn two_histories_under_one_name_are_objected_to() {
    let mut story = Story::together();
    let place = |node, index, hash| Fact::Placed { node: id(node), era: ring(1), index, hash };
    story.good(place(1, 1, 7));
    story.good(place(2, 1, 7));
    story.good(place(1, 2, 8));
    story.bad(place(3, 2, 9), super::ONE_HISTORY);
}

#[test]
fn l9_objects_to_a_member_that_speaks_without_end() {
    let mut story = Story::together();
    for digest in 0..2_000 {
        story.good(Fact::Sent { node: id(1), digest });
    }
    story.bad(Fact::Sent { node: id(1), digest: 0 }, "L9");
}
