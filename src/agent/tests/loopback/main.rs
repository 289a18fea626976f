//! Three real members on 127.88.0.0/16: real datagrams, real state directories, toy machines and power supplies.

mod machine;
mod revision;

use std::time::Duration;

use agent::local::{NodeVerb, Reply, Request};
use machine::{Lab, WEB};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_power_cut_of_the_holder_is_fenced_and_recovered_and_its_phases_are_told() {
    let mut lab = Lab::start(41_101);
    let holder = lab.until_runs(WEB, LONG);
    lab.settle();
    lab.cut(holder);
    let next = lab.until("the resource runs elsewhere", LONG, |lab| {
        lab.world.holder(WEB).filter(|node| *node != holder)
    });
    assert_ne!(next, holder);
    assert_eq!(lab.world.overlaps(), Vec::<String>::new());
    let survivors: Vec<u16> = [1, 2, 3].into_iter().filter(|node| *node != holder).collect();
    let told = lab.until("the coordinator tells the phases", LONG, |lab| {
        survivors.iter().find_map(|node| {
            let status = lab.status(*node);
            let incident = status.incidents.last()?.clone();
            incident.phases_ms.recover.is_some().then_some((status, incident))
        })
    });
    let (status, incident) = told;
    assert_eq!(incident.node, format!("ctl-{holder}"));
    assert!(incident.phases_ms.detect.is_some() && incident.phases_ms.agree.is_some());
    assert!(incident.phases_ms.verify.is_some(), "{incident:?}");
    assert!(status.quorate && status.era.is_some_and(|era| era.open));
    println!("phases: {:?}", incident.phases_ms);
}

#[test]
fn an_agent_that_crashes_and_comes_back_adopts_what_runs_and_nobody_is_fenced() {
    let mut lab = Lab::start(41_102);
    let holder = lab.until_runs(WEB, LONG);
    lab.settle();
    let run = lab.world.run(holder, WEB);
    lab.crash_ring(holder);
    std::thread::sleep(Duration::from_millis(700));
    lab.start_ring(holder);
    lab.until("all three are online again", LONG, |lab| {
        let status = lab.status(holder);
        let online = status.nodes.iter().filter(|node| node.state == "online").count();
        (online == 3 && status.era.is_some_and(|era| era.open)).then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(lab.world.run(holder, WEB), run, "not restarted, not moved");
    assert_eq!(lab.world.commands(), Vec::<String>::new(), "nobody was fenced");
    assert_eq!(lab.world.overlaps(), Vec::<String>::new());
}

#[test]
fn an_announced_absence_is_waited_for() {
    let mut lab = Lab::start(41_103);
    let holder = lab.until_runs(WEB, LONG);
    lab.settle();
    let run = lab.world.run(holder, WEB);
    lab.detach_ring(holder);
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(lab.world.run(holder, WEB), run, "longer than agentRestartGrace, and still there");
    lab.start_ring(holder);
    lab.until("it is back", LONG, |lab| {
        let status = lab.status(holder);
        let online = status.nodes.iter().filter(|node| node.state == "online").count();
        (online == 3 && status.era.is_some_and(|era| era.open)).then_some(())
    });
    assert_eq!(lab.world.run(holder, WEB), run);
    assert_eq!(lab.world.commands(), Vec::<String>::new(), "nobody was fenced");
}

#[test]
fn a_bmc_that_is_away_blocks_recovery_until_a_person_confirms_once() {
    let mut lab = Lab::start(41_104);
    let holder = lab.until_runs(WEB, LONG);
    lab.settle();
    lab.world.silence_bmc(holder);
    lab.cut(holder);
    let survivor = if holder == 1 { 2 } else { 1 };
    lab.until("the debt is shown", LONG, |lab| {
        lab.status(survivor)
            .debts
            .iter()
            .any(|debt| debt.node == format!("ctl-{holder}"))
            .then_some(())
    });
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(lab.world.holder(WEB), None, "blocked");
    let confirm = || Request::Node {
        action: NodeVerb::ConfirmOff,
        name: format!("ctl-{holder}").parse().expect("valid"),
        incident: None,
        who: "the test".into(),
    };
    let present = Request::Node {
        action: NodeVerb::ConfirmOff,
        name: format!("ctl-{survivor}").parse().expect("valid"),
        incident: None,
        who: "the test".into(),
    };
    assert!(matches!(lab.ask(survivor, present), Reply::Refused(_)), "one that is heard");
    // A machine counts as heard for 10 s after its last join.
    lab.until("the confirmation is taken", LONG, |lab| match lab.ask(survivor, confirm()) {
        Reply::Done(_) => Some(()),
        Reply::Refused(reason) => {
            assert!(reason.contains("still heard"), "{reason}");
            None
        }
        other => panic!("{other:?}"),
    });
    lab.until("it runs elsewhere", LONG, |lab| lab.world.holder(WEB));
    assert!(matches!(lab.ask(survivor, confirm()), Reply::Refused(_)), "once");
}

#[test]
fn what_single_members_see_of_a_device_is_known_to_all_before_it_is_needed() {
    let lab = Lab::start(41_106);
    lab.world.silence_bmc(2);
    lab.until_runs(WEB, LONG);
    let told = |lab: &Lab, at: u16| {
        let all = lab.status(at).conditions;
        let mut who: Vec<String> = all
            .iter()
            .filter(|c| c.kind == "Unreachable" && c.reason == "bmc-2")
            .filter_map(|c| c.message.split(" says: ").next().map(str::to_owned))
            .collect();
        who.sort();
        who
    };
    for at in [1, 2, 3] {
        lab.until("everybody knows who cannot reach it", LONG * 2, |lab| {
            (told(lab, at) == ["ctl-1", "ctl-3"]).then_some(())
        });
    }
    let others: Vec<String> = lab
        .status(1)
        .conditions
        .into_iter()
        .map(|c| c.reason)
        .filter(|r| r.starts_with("bmc"))
        .collect();
    assert_eq!(
        others,
        ["bmc-2", "bmc-2"],
        "of the others nothing is said, and nobody looks at its own"
    );
    assert_eq!(lab.world.commands(), Vec::<String>::new(), "a look switches nothing");
}

#[test]
fn standby_moves_a_resource_and_leaving_holds_nothing_back() {
    let lab = Lab::start(41_105);
    let holder = lab.until_runs(WEB, LONG);
    lab.settle();
    let standby = Request::Node {
        action: NodeVerb::Standby,
        name: format!("ctl-{holder}").parse().expect("valid"),
        incident: None,
        who: String::new(),
    };
    let done = lab.ask(holder, standby);
    assert!(matches!(done, Reply::Done(_)), "{done:?}");
    let next =
        lab.until("it moved", LONG, |lab| lab.world.holder(WEB).filter(|node| *node != holder));
    let done = lab.ask(next, Request::Leave {});
    assert!(matches!(done, Reply::Done(_)), "{done:?}");
    lab.until("the third one has it", LONG, |lab| {
        lab.world.holder(WEB).filter(|node| *node != holder && *node != next)
    });
    assert_eq!(lab.world.commands(), Vec::<String>::new(), "a clean leave is not fenced");
    assert_eq!(lab.world.overlaps(), Vec::<String>::new());
}
