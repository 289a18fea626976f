//! A box from nothing to ready, a power failure of the machine that serves, the end.

use serde_json::Value;

use crate::boxed::{Running, address, alone, gone, palisade, served_by, until};

#[test]
fn a_box_comes_up_survives_its_own_death_and_the_power_failure_of_a_machine_and_leaves_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let first = Running::start(&dir);
    first.wait_ready(&dir);
    let at = address(&dir);
    until("it is served", || served_by(at));
    // killed without a word, it leaves nothing behind
    let below = first.below();
    assert!(below.len() > 12, "agents of three machines at least: {}", below.len());
    first.kill();

    let running = Running::start(&dir);
    running.wait_ready(&dir);
    assert_eq!(address(&dir), at, "the same box");
    let holder = until("the same address is served", || served_by(at));

    let (ok, said) = palisade(&["dev", "kill", &holder, "--dir"], &dir);
    println!("{said}");
    assert!(ok && said.contains("its BMC still says on"), "{said}");
    let gap = said.split_once("no answer for ").and_then(|(_, rest)| rest.split(' ').next());
    let gap: u64 = gap.and_then(|ms| ms.parse().ok()).expect("the gap is said");
    assert!((50..20_000).contains(&gap), "a lost machine is noticed, and survived: {gap} ms");
    // a machine that is starved of processor time may lose a token more
    until("another machine serves", || served_by(at).filter(|by| *by != holder));

    // nothing was taken over without evidence
    until("its power was read as off", || {
        let (_, status) = palisade(&["status", "--output", "json", "--agent"], &dir);
        let status: Value = serde_json::from_str(status.lines().next()?).ok()?;
        let all = status["operations"].as_array()?;
        let proven = |operation: &&Value| {
            operation["node"] == holder.as_str() && !operation["evidence"].is_null()
        };
        all.iter().find(proven).map(drop)
    });
    let (ok, steps) = palisade(&["timeline", "--agent"], &dir);
    assert!(ok && steps.contains(" was heard last at ") && steps.contains("verify"), "{steps}");
    let (_, described) = palisade(&["dev", "describe", "--dir"], &dir);
    assert!(described.contains("overlaps: 0"), "{described}");

    let below = running.below();
    assert!(below.len() > 6, "agents and services of two machines at least: {}", below.len());
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    gone(&below);
    drop(running);
}

#[test]
fn what_is_not_there_is_said_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let (ok, said) = palisade(&["dev", "kill", "n1", "--dir"], &dir);
    assert!(!ok && said.contains("`palisade dev` makes one"), "{said}");
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(!ok && said.contains("no box runs in"), "{said}");
}
