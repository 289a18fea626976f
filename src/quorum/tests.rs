//! Golden tables, laws, refusals.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use base::{NodeId, SplitMix64};

use crate::{Change, Quorum, Rules, Voters, VotersError, Wanted};

fn node(id: u16) -> NodeId {
    NodeId::new(id).expect("not zero")
}

fn nodes(text: &str) -> BTreeSet<NodeId> {
    text.split_whitespace().map(|id| id.parse().expect("a node id")).collect()
}

/// What the tables say, computed anew.
fn answer(case: &str) -> String {
    let mut out = String::new();
    let mut voters = None;
    for line in case.lines().take_while(|line| *line != "----") {
        out += line;
        out.push('\n');
        if let Some(list) = line.strip_prefix("voters ") {
            let votes: BTreeMap<_, _> = list
                .split_whitespace()
                .map(|entry| entry.split_once(':').unwrap_or((entry, "1")))
                .map(|(id, votes)| (id.parse().expect("id"), votes.parse().expect("votes")))
                .collect();
            voters = Some(Voters::new(votes).expect("valid"));
        } else if let Some(parts) = line.strip_prefix("split ") {
            let voters = voters.as_ref().expect("voters stand first");
            out += "----\n";
            for part in parts.split('|') {
                let verdict = Quorum::of(voters, &Rules::default(), &nodes(part));
                out += &format!("{}  {verdict}\n", part.trim());
            }
            return out;
        }
    }
    panic!("a case without a split: {case}")
}

#[test]
fn the_golden_tables_hold() {
    let golden = include_str!("golden.txt");
    let cases: Vec<_> = golden.trim_end().split("\n\n").collect();
    assert!(cases.len() >= 8);
    for case in cases {
        assert_eq!(answer(case), format!("{}\n", case.trim_end()));
    }
}

#[test]
fn of_two_disjoint_memberships_at_most_one_is_quorate() {
    let mut rng = SplitMix64::new(1);
    let mut quorate = 0;
    for _ in 0..20_000 {
        let count = 3 + rng.below(9) as u16;
        let votes = (1..=count).map(|id| (node(id), 1 + rng.below(4) as u32)).collect();
        let voters = Voters::new(votes).expect("valid");
        let (mut left, mut right) = (BTreeSet::new(), BTreeSet::new());
        for id in 1..=count {
            match rng.below(5) {
                0 | 1 => left.insert(node(id)),
                2 | 3 => right.insert(node(id)),
                _ => false,
            };
        }
        let rules = Rules::default();
        let (a, b) = (Quorum::of(&voters, &rules, &left), Quorum::of(&voters, &rules, &right));
        assert!(!(a.is_quorate() && b.is_quorate()), "{voters:?} {left:?} {right:?}");
        assert_eq!(voters.needed(), (voters.expected() + 2) / 2, "TOTEM.md section 12.2");
        // more members never lose quorum
        left.extend(&right);
        assert!(Quorum::of(&voters, &rules, &left).present >= a.present.max(b.present));
        quorate += u32::from(a.is_quorate());
    }
    assert!(quorate > 1000, "the runs reach both answers");
}

#[test]
fn majorities_of_neighbouring_sets_of_voters_meet() {
    for count in [3_u16, 4, 5, 6, 7] {
        let old = Voters::equal((1..=count).map(node)).expect("valid");
        let new = old.change(Change::Add(node(count + 1))).expect("one more");
        for mask in 0..1_u32 << (count + 1) {
            let left: BTreeSet<_> =
                (1..=count + 1).filter(|id| mask >> (id - 1) & 1 == 1).map(node).collect();
            let right: BTreeSet<_> =
                (1..=count + 1).map(node).filter(|id| !left.contains(id)).collect();
            assert!(!(old.is_majority(&left) && new.is_majority(&right)), "{count} {left:?}");
            assert!(!old.is_joint_majority(&new, &left) || !new.is_joint_majority(&old, &right));
        }
    }
}

#[test]
fn voters_change_one_at_a_time() {
    let three = Voters::equal([1, 2, 3].map(node)).expect("valid");
    let four = three.change(Change::Add(node(4))).expect("one more");
    assert_eq!(three.step_to(&four), Ok(Some(Change::Add(node(4)))));
    assert_eq!(four.step_to(&three), Ok(Some(Change::Remove(node(4)))));
    assert_eq!(four.step_to(&four), Ok(None));
    let swapped = Voters::equal([1, 2, 5].map(node)).expect("valid");
    assert_eq!(three.step_to(&swapped), Err(VotersError::LargeChange { count: 2 }));
    let heavy = Voters::new([(node(1), 2), (node(2), 1), (node(3), 1)].into()).expect("valid");
    assert!(matches!(three.step_to(&heavy), Err(VotersError::LargeChange { .. })));
    assert_eq!(three.change(Change::Remove(node(3))), Err(VotersError::TwoVoters));
    assert_eq!(three.change(Change::Remove(node(9))), Err(VotersError::NoVoter(node(9))));
    assert_eq!(three.change(Change::Add(node(1))), Err(VotersError::Voter(node(1))));
}

#[test]
fn sets_that_cannot_work_are_refused_with_the_remedy() {
    assert_eq!(Voters::equal([]), Err(VotersError::Empty));
    let two = Voters::equal([1, 2].map(node)).expect_err("two");
    assert!(two.to_string().contains("use three members"), "{two}");
    assert!(Voters::equal((1..=65).map(node)).is_err());
    for votes in [0, 1001, u32::MAX] {
        let error = Voters::new([(node(1), votes)].into()).expect_err("out of range");
        assert_eq!(error, VotersError::Votes { node: node(1), votes });
    }
}

#[test]
fn options_that_are_not_built_are_refused_by_name() {
    assert_eq!(Rules::new(&[]), Ok(Rules::default()));
    for option in [
        Wanted::AllowDownscale,
        Wanted::Arbiter,
        Wanted::LastManStanding,
        Wanted::TieBreaker,
        Wanted::TwoNode,
        Wanted::WaitForAll,
    ] {
        let refused = Rules::new(&[option]).expect_err("not built");
        let text = refused.to_string();
        assert!(text.contains(&format!("{option:?}")) && text.contains("remove it"), "{text}");
    }
}
