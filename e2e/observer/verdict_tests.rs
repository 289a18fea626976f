use super::*;

const S: u64 = 1_000_000_000;
const VIP: &str = "10.92.0.100";

fn at(at_ns: u64, what: What) -> Event {
    Event { at_ns, what }
}

fn added(at_ns: u64, machine: &str) -> Event {
    let address = VIP.parse().expect("an address");
    at(at_ns, What::AddressAdded { machine: machine.into(), address, by_dump: false })
}

fn removed(at_ns: u64, machine: &str) -> Event {
    let address = VIP.parse().expect("an address");
    at(at_ns, What::AddressRemoved { machine: machine.into(), address, by_dump: false })
}

fn http(start_ns: u64, node: Option<&str>) -> Event {
    at(start_ns + 1_000_000, What::Http { start_ns, node: node.map(str::to_owned) })
}

fn dead(at_ns: u64, machine: &str) -> PowerLine {
    let (machine, caller) = (machine.to_owned(), "bmc".to_owned());
    PowerLine { at_ns, machine, event: PowerEvent::Dead, caller }
}

fn judged(mut events: Vec<Event>, power: &[PowerLine]) -> Verdict {
    events.sort_by_key(|e| e.at_ns);
    judge(&events, power, &[VIP.parse().expect("an address")], &BTreeMap::new(), 0)
}

#[test]
fn one_holder_after_the_other_is_no_overlap() {
    let verdict = judged(
        vec![added(S, "n1"), removed(2 * S, "n1"), added(2 * S, "n2"), added(3 * S, "n2")],
        &[],
    );
    assert_eq!(verdict.address_overlap_ms[VIP], 0.0);
    assert_eq!(verdict.holders[VIP].len(), 2);
}

#[test]
fn two_holders_at_once_are_counted_to_the_millisecond() {
    let verdict = judged(vec![added(S, "n1"), added(2 * S, "n2"), removed(5 * S, "n1")], &[]);
    assert_eq!(verdict.address_overlap_ms[VIP], 3000.0);
    assert_eq!(verdict.overlap_ms(), 3000.0);
}

#[test]
fn the_dead_hold_nothing_even_if_nobody_saw_them_let_go() {
    let verdict = judged(
        vec![added(S, "n1"), added(3 * S, "n2"), added(9 * S, "n3")],
        &[dead(2 * S, "n1"), dead(8 * S, "n2")],
    );
    assert_eq!(verdict.address_overlap_ms[VIP], 0.0);
}

#[test]
fn a_machine_that_comes_back_with_the_address_holds_it_again() {
    let verdict = judged(
        vec![added(S, "n1"), added(3 * S, "n2"), added(5 * S, "n1"), removed(6 * S, "n1")],
        &[dead(2 * S, "n1")],
    );
    // The first life's end comes from the power log although no removal was seen.
    assert_eq!(verdict.address_overlap_ms[VIP], 1000.0);
}

#[test]
fn overlap_before_the_stretch_is_not_held_against_it() {
    let events = [added(S, "n1"), added(2 * S, "n2"), removed(3 * S, "n1")];
    let address = VIP.parse().expect("an address");
    let verdict = judge(&events, &[], &[address], &BTreeMap::new(), 4 * S);
    assert_eq!(verdict.address_overlap_ms[VIP], 0.0);
}

#[test]
fn a_process_on_two_machines_is_an_overlap_and_two_on_one_are_none() {
    let started = |at_ns, machine: &str, pid| {
        at(at_ns, What::ProcessStarted { machine: machine.into(), label: "web".into(), pid })
    };
    let stopped = |at_ns, machine: &str, pid| {
        at(at_ns, What::ProcessStopped { machine: machine.into(), label: "web".into(), pid })
    };
    let verdict = judged(
        vec![
            started(S, "n1", 5),
            started(S, "n1", 6),
            stopped(2 * S, "n1", 5),
            stopped(4 * S, "n1", 6),
            started(3 * S, "n2", 7),
        ],
        &[],
    );
    assert_eq!(verdict.process_overlap_ms["web"], 1000.0);
}

#[test]
fn the_gap_runs_from_the_start_of_a_good_try_to_the_end_of_the_next_good_one() {
    let verdict = judged(
        vec![
            http(S, Some("n1")),
            http(2 * S, Some("n1")),
            http(3 * S, None),
            http(4 * S, Some("n2")),
            http(9 * S, None),
        ],
        &[],
    );
    let gap = verdict.longest_gap.expect("two good tries");
    assert_eq!((gap.start_ns, gap.end_ns), (2 * S, 4 * S + 1_000_000));
    assert_eq!((gap.from.as_str(), gap.to.as_str()), ("n1", "n2"));
    assert_eq!((verdict.http_good, verdict.http_tries), (3, 5));
    assert_eq!(verdict.silent_at_end_ms, Some(5001.0));
}

#[test]
fn a_shot_names_who_talked_to_that_bmc_last_and_a_persons_button_is_none() {
    let bmc = Ipv4Addr::new(10, 94, 0, 101);
    let other = Ipv4Addr::new(10, 94, 0, 102);
    let packet =
        |at_ns, last, to| at(at_ns, What::BmcPacket { from: Ipv4Addr::new(10, 94, 0, last), to });
    let events = [packet(S, 12, bmc), packet(2 * S, 13, other), packet(9 * S, 13, bmc)];
    let asked = |at_ns, caller: &str| PowerLine {
        at_ns,
        machine: "n1".into(),
        event: PowerEvent::AskedOff,
        caller: caller.into(),
    };
    let power = [asked(3 * S, "bmc"), dead(4 * S, "n1"), asked(5 * S, "person")];
    let bmcs = BTreeMap::from([("n1".to_owned(), bmc)]);
    let verdict = judge(&events, &power, &[], &bmcs, 0);
    assert_eq!(verdict.shots.len(), 1);
    assert_eq!(verdict.shots[0].by, Some(Ipv4Addr::new(10, 94, 0, 12)));
    assert_eq!(verdict.shots[0].dead_ns, Some(4 * S));
}

#[test]
fn a_probe_that_failed_makes_the_verdict_blind() {
    let what = What::ProbeFailed { probe: "arp".into(), error: "gone".into() };
    assert_eq!(judged(vec![at(S, what)], &[]).blind, ["arp: gone"]);
}
