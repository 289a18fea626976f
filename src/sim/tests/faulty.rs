//! Each faulty rule is found again, from a seed near one that found it, by a check that means it.

use base::faulty::Rule;

use crate::{
    Options, Verdict,
    campaign::replay,
    hunt::{meant_by, rules},
    run,
};

/// One line a rule: `NAME SEED [3|5]`, then `#` and what found it.
const CORPUS: &str = include_str!("../corpus/faulty.txt");

/// A change of the product shifts every run a little: so many seeds after the known one may find it as well.
const NEAR: u64 = 400;

#[test]
fn each_faulty_rule_is_found_near_its_known_seed() {
    let mut missed: Vec<&str> = rules().map(Rule::name).collect();
    for line in CORPUS.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(name) = words.next() else { continue };
        let rule = Rule::named(name).expect("the corpus names rules");
        let seed = words.next().and_then(|seed| seed.parse::<u64>().ok()).expect("a seed");
        let nodes = words.next().map(|nodes| nodes.parse().expect("a number of nodes"));
        let options = Options { nodes, faulty: Some(rule), ..Options::default() };
        let found = (seed..seed + NEAR).find_map(|seed| match run(seed, &options).verdict {
            Verdict::Bad(violation) if meant_by(rule).contains(&violation.id) => {
                Some((seed, violation))
            }
            _ => None,
        });
        if let Some((seed, violation)) = found {
            println!("{name}: {violation}\n  {}", replay(seed, &options));
            missed.retain(|other| *other != name);
        }
    }
    base::faulty::choose(None);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
