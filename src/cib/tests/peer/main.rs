//! Our plans beside those of the installed Pacemaker: small random CIBs, and cases of the suite with random changes.
//!
//! ```text
//! PALISADE_PEER_SEEDS=0..200 cargo test -p cib --test peer -- --ignored --nocapture
//! PALISADE_PEER_ONLY=tickets,rules    these dimensions only
//! PALISADE_PEER_SHRINK=DIR            every CIB that differs is made small and left there
//! PALISADE_PEER_CIB=FILE              this CIB alone, with all that differs
//! ```
//!
//! Needs `crm_simulate` (Debian: pacemaker-cli-utils). Nothing is judged here: Pacemaker 2.1.5 has faults of its own, and
//! docs/parity.md tells which differences are meant.

mod answer;
mod compare;
mod generate;
mod mutate;
mod random;
mod shrink;

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use compare::Verdict;

/// How the CIBs of one dimension came out.
#[derive(Default)]
struct Tally {
    compared: usize,
    equal: usize,
    state: usize,
    actions: usize,
    order: usize,
    calmer: usize,
    shown: usize,
    extras: usize,
    unsupported: usize,
    refused: usize,
    seeds: Vec<u64>,
}

fn seeds() -> std::ops::Range<u64> {
    let text = env::var("PALISADE_PEER_SEEDS").unwrap_or_else(|_| "0..40".to_owned());
    let (from, to) = text.split_once("..").expect("PALISADE_PEER_SEEDS reads like 0..200");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
#[ignore = "needs crm_simulate: cargo test -p cib --test peer -- --ignored --nocapture"]
fn plans_beside_the_installed_pacemaker() {
    if let Some(path) = env::var_os("PALISADE_PEER_CIB") {
        let text = fs::read_to_string(&path).expect("PALISADE_PEER_CIB names a file");
        let verdict = compare::judge(&text);
        println!("{}\n{verdict}", compare::both(&text));
        return;
    }
    let only = env::var("PALISADE_PEER_ONLY").ok();
    let wanted = |name: &str| only.as_deref().is_none_or(|o| o.split(',').any(|n| n == name));
    let mut table: BTreeMap<&str, Tally> = BTreeMap::new();
    for name in generate::DIMENSIONS.iter().copied().filter(|name| wanted(name)) {
        for seed in seeds() {
            take(table.entry(name).or_default(), name, seed, &generate::cib(name, seed));
        }
    }
    let cases = mutate::cases();
    assert!(cases.is_none_or(|n| n > 500), "only a part of the suite is there");
    for (name, only_remote) in [("suite", false), ("remote", true)] {
        for seed in seeds().filter(|_| wanted(name) && cases.is_some()) {
            if let Some(text) = mutate::cib(seed, only_remote) {
                take(table.entry(name).or_default(), name, seed, &text);
            }
        }
    }
    println!(
        "{:14}{:>9}{:>7}{:>7}{:>9}{:>7}{:>8}{:>7}{:>8}{:>12}{:>9}  seeds that differ",
        "dimension",
        "compared",
        "equal",
        "state",
        "actions",
        "order",
        "calmer",
        "shown",
        "extras",
        "unsupported",
        "refused"
    );
    for (name, t) in &table {
        println!(
            "{name:14}{:>9}{:>7}{:>7}{:>9}{:>7}{:>8}{:>7}{:>8}{:>12}{:>9}  {:?}",
            t.compared,
            t.equal,
            t.state,
            t.actions,
            t.order,
            t.calmer,
            t.shown,
            t.extras,
            t.unsupported,
            t.refused,
            t.seeds
        );
    }
    assert!(table.values().any(|t| t.compared > 0), "nothing was compared: is crm_simulate here?");
}

fn take(tally: &mut Tally, name: &str, seed: u64, text: &str) {
    let verdict = compare::judge(text);
    let count = match &verdict {
        Verdict::Unsupported(_) => &mut tally.unsupported,
        Verdict::Refused(_) => &mut tally.refused,
        Verdict::Compared(difference) => {
            tally.compared += 1;
            tally.extras += usize::from(!difference.extras.is_empty());
            match difference.level() {
                None => &mut tally.equal,
                Some("state") => &mut tally.state,
                Some("calmer") => &mut tally.calmer,
                Some("shown") => &mut tally.shown,
                Some("actions") => &mut tally.actions,
                Some(_) => &mut tally.order,
            }
        }
    };
    *count += 1;
    let Verdict::Compared(difference) = &verdict else {
        if env::var_os("PALISADE_PEER_LOUD").is_some() {
            println!("--- {name} {seed}\n{verdict}\n{text}");
        }
        return;
    };
    let Some(level) = difference.level() else { return };
    if matches!(level, "calmer" | "shown") {
        return;
    }
    tally.seeds.push(seed);
    let Some(folder) = env::var_os("PALISADE_PEER_SHRINK").map(PathBuf::from) else { return };
    let small = shrink::smallest(text, level);
    fs::create_dir_all(&folder).expect("PALISADE_PEER_SHRINK can be made");
    let path = folder.join(format!("{name}-{seed}.xml"));
    fs::write(&path, &small).expect("PALISADE_PEER_SHRINK can be written");
    println!("--- {name} {seed}: {}\n{}", path.display(), compare::judge(&small));
}
