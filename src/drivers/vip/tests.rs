//! Frames against bytes; addresses against a real kernel, in namespaces of the test.

use core::{net::IpAddr, time::Duration};
use std::{sync::Arc, time::Instant};

use base::{ResourceId, ResourceKind};
use lifecycle::Outcome;

use super::{
    Heard, Mac, Seen, VipConfig, VipDriver, VipError, frames, namespace::Namespace, parse_frame,
};
use crate::resource::{Instance, ResourceDriver as _};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

const fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn frames_have_their_sizes_and_read_back() {
    let v4: IpAddr = "10.9.0.7".parse().expect("valid");
    let v6: IpAddr = "fd09::7".parse().expect("valid");
    let heard = |address| Some(Heard { mac: MAC, address });
    for frame in frames::announcements(v4, MAC) {
        assert_eq!(frame.len(), 42);
        assert_eq!(parse_frame(&frame), heard(v4));
    }
    for frame in frames::announcements(v6, MAC) {
        assert_eq!(frame.len(), 86);
        assert_eq!(parse_frame(&frame), heard(v6));
        let mut bad = frame.clone();
        bad[60] ^= 1;
        assert_eq!(parse_frame(&bad), None, "a wrong checksum");
    }
    assert_eq!(parse_frame(&frames::probe(v4, MAC)), heard(v4), "who probes at the same time");
    assert_eq!(parse_frame(&frames::probe(v6, MAC)), heard(v6));
    let hex =
        "ffffffffffff0200000000090806000108000604000102000000000900000000000000000000 0a090007";
    let hex: String = hex.split(' ').collect();
    let expected: Vec<u8> =
        (0..84).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect();
    assert_eq!(frames::probe(v4, MAC), expected);
}

fn parse_mac(text: &str) -> Mac {
    let mut bytes = [0; 6];
    for (byte, digits) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(digits, 16).expect("a MAC");
    }
    Mac(bytes)
}

/// One machine's driver for the tests; `interface` is its leg on the network `lan`.
struct Bench {
    driver: VipDriver,
    resource: ResourceId,
    kind: ResourceKind,
    lifetime: Option<Duration>,
    _folder: Arc<tempfile::TempDir>,
}

impl Bench {
    fn new(
        interface: &str,
        address: &str,
        lifetime: Option<Duration>,
        folder: &Arc<tempfile::TempDir>,
    ) -> Self {
        let network: base::Label = "lan".parse().expect("valid");
        let address: IpAddr = address.parse().expect("valid");
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        let networks = [(network.clone(), interface.to_owned())].into();
        let records = folder.path().join(interface);
        let driver = VipDriver::open(VipConfig { networks, records }).expect("netlink");
        let kind = ResourceKind::Address { address, prefix, network };
        Self {
            driver,
            resource: "vip".parse().expect("valid"),
            kind,
            lifetime,
            _folder: Arc::clone(folder),
        }
    }

    const fn instance(&self) -> Instance<'_> {
        Instance { resource: &self.resource, kind: &self.kind, lifetime: self.lifetime }
    }
}

fn folder() -> Arc<tempfile::TempDir> {
    Arc::new(tempfile::tempdir().expect("folder"))
}

#[test]
fn an_address_comes_is_seen_and_goes() {
    for address in ["10.9.0.7", "fd09::7"] {
        let Some((left, right)) = Namespace::pair() else { return };
        let folder = folder();
        left.block_on(move || async move {
            let bench = Bench::new("left", address, seconds(30), &folder);
            let (driver, vip) = (&bench.driver, bench.instance());
            assert_eq!(driver.probe(vip).await, Outcome::NotRunning);
            assert_eq!(driver.stop(vip).await, Outcome::Ok, "stopping what is not there");
            let begin = Instant::now();
            assert_eq!(driver.start(vip).await, Outcome::Ok);
            println!("{address} up, probe included: {:?}", begin.elapsed());
            assert_eq!(driver.monitor(vip).await, Outcome::Ok);
            let run = driver.run(vip).await;
            assert!(run.is_some());
            assert_eq!(driver.start(vip).await, Outcome::Ok, "starting what is there");
            assert_eq!(driver.run(vip).await, run, "and nothing was restarted");
            let managed = driver.managed().await.expect("readable");
            assert_eq!(managed.len(), 1, "the machine's own addresses are not ours: {managed:?}");
            assert_eq!(managed[0].resource.as_ref(), Some(&bench.resource));
            assert_eq!(driver.survivors().await[0].run, run.expect("runs"));
            let begin = Instant::now();
            assert_eq!(driver.stop(vip).await, Outcome::Ok);
            println!("{address} down: {:?}", begin.elapsed());
            assert_eq!(driver.monitor(vip).await, Outcome::NotRunning);
            assert_eq!(driver.managed().await.expect("readable"), []);
            assert_eq!(driver.survivors().await, []);
        });
        drop(right);
    }
}

/// A restarted executor asks before the ring part has told it the interfaces.
#[test]
fn what_a_former_life_put_is_found_before_the_interfaces_are_known() {
    let Some((left, right)) = Namespace::pair() else { return };
    let folder = folder();
    left.block_on(move || async move {
        let bench = Bench::new("left", "10.9.0.7", seconds(30), &folder);
        let vip = bench.instance();
        let records = folder.path().join("left");
        let networks = std::collections::BTreeMap::new();
        let early = VipDriver::open(VipConfig { networks, records }).expect("netlink");
        assert_eq!(early.probe(vip).await, Outcome::NotRunning);
        assert_eq!(bench.driver.start(vip).await, Outcome::Ok);
        assert_eq!(early.probe(vip).await, Outcome::Ok);
        let stranger: ResourceId = "other".parse().expect("valid");
        let other = Instance { resource: &stranger, ..vip };
        assert!(matches!(early.probe(other).await, Outcome::Failed { .. }), "not its address");
        assert!(
            matches!(early.monitor(vip).await, Outcome::Failed { .. }),
            "health needs the link"
        );
        assert_eq!(early.stop(vip).await, Outcome::Ok);
    });
    drop(right);
}

//= SAFETY.md#S31
//= type=test
#[test]
fn an_address_that_somebody_has_is_not_added() {
    for (address, family) in [("10.9.0.2", "-4"), ("fd09::2", "-6")] {
        let Some((left, right)) = Namespace::pair() else { return };
        let folder = folder();
        let mac =
            right.ip("link show right").split("ether ").nth(1).expect("a MAC")[..17].to_owned();
        left.block_on(move || async move {
            let bench = Bench::new("left", address, seconds(30), &folder);
            let Ok(Seen::Station(seen)) = bench.driver.probe_network(bench.instance()).await else {
                panic!("{address} was not seen");
            };
            assert_eq!(seen.to_string(), mac);
            let outcome = bench.driver.start(bench.instance()).await;
            let Outcome::Failed { reason, .. } = &outcome else { panic!("{outcome:?}") };
            assert!(reason.contains(&mac), "{reason}");
        });
        let addresses = left.ip(&format!("{family} addr show dev left"));
        assert!(!addresses.contains(address), "{addresses}");
    }
}

/// Measured: how long a holder that nobody renews keeps its address.
#[test]
fn an_address_that_nobody_renews_expires() {
    for address in ["10.9.0.7", "fd09::7"] {
        let Some((left, _right)) = Namespace::pair() else { return };
        let folder = folder();
        left.block_on(move || async move {
            let bench = Bench::new("left", address, seconds(1), &folder);
            let (driver, vip) = (&bench.driver, bench.instance());
            let begin = Instant::now();
            assert_eq!(driver.start(vip).await, Outcome::Ok);
            // Renewed for a while: it stays beyond its first lifetime.
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_millis(400)).await;
                driver.renew(vip).await.expect("still there");
            }
            assert_eq!(driver.probe(vip).await, Outcome::Ok);
            assert!(begin.elapsed() > Duration::from_secs(2));
            let last = Instant::now();
            while driver.probe(vip).await == Outcome::Ok {
                assert!(last.elapsed() < Duration::from_secs(5), "it does not expire");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            println!("{address} with 1 s expired after {:?}", last.elapsed());
            assert!(last.elapsed() > Duration::from_millis(800));
            let renewed = driver.renew(vip).await;
            assert!(
                matches!(renewed, Err(VipError::Gone)),
                "no address comes back without a probe"
            );
            assert_eq!(driver.monitor(vip).await, Outcome::NotRunning);
        });
    }
}

#[test]
fn a_permanent_address_does_not_expire_and_can_become_mortal() {
    let Some((left, _right)) = Namespace::pair() else { return };
    let folder = folder();
    left.block_on(move || async move {
        let bench = Bench::new("left", "10.9.0.7", None, &folder);
        let (driver, vip) = (&bench.driver, bench.instance());
        assert_eq!(driver.start(vip).await, Outcome::Ok);
        driver.renew(Instance { lifetime: seconds(100), ..vip }).await.expect("there");
        driver.renew(vip).await.expect("there");
    });
    assert!(left.ip("addr show dev left").contains("10.9.0.7/24"));
    assert!(!left.ip("addr show dev left").contains("sec preferred"), "valid for ever again");
}

//= SAFETY.md#S31
//= type=test
#[test]
fn a_new_agent_finds_leftovers_and_takes_them_away() {
    for lost in [false, true] {
        let Some((left, _right)) = Namespace::pair() else { return };
        let (first, second) = (folder(), folder());
        // With `lost` the records are gone too, and only the kernel's mark tells.
        let second = if lost { second } else { Arc::clone(&first) };
        left.block_on(move || async move {
            let bench = Bench::new("left", "10.9.0.7", seconds(60), &first);
            assert_eq!(bench.driver.start(bench.instance()).await, Outcome::Ok);
        });
        left.block_on(move || async move {
            let bench = Bench::new("left", "10.9.0.99", seconds(60), &second);
            let managed = bench.driver.managed().await.expect("readable");
            assert_eq!(managed.len(), 1, "{managed:?}");
            assert_eq!(managed[0].address.to_string(), "10.9.0.7");
            assert_eq!(managed[0].resource.is_none(), lost);
            bench.driver.remove_managed(&managed[0]).await.expect("removed");
            assert_eq!(bench.driver.managed().await.expect("readable"), []);
        });
        let addresses = left.ip("addr show dev left");
        assert!(
            !addresses.contains("10.9.0.7") && addresses.contains("10.9.0.1/24"),
            "{addresses}"
        );
    }
}

#[test]
fn a_wrong_prefix_a_dead_cable_and_a_missing_interface_are_failures() {
    let Some((left, right)) = Namespace::pair() else { return };
    left.ip("addr add 10.9.0.7/32 dev left");
    let shared = folder();
    let folder = Arc::clone(&shared);
    left.block_on(move || async move {
        let bench = Bench::new("left", "10.9.0.7", seconds(60), &folder);
        let (driver, vip) = (&bench.driver, bench.instance());
        assert!(matches!(driver.start(vip).await, Outcome::Failed { .. }));
        assert!(matches!(driver.monitor(vip).await, Outcome::Failed { .. }));
        assert_eq!(driver.stop(vip).await, Outcome::Ok, "a stop takes it away all the same");
        assert_eq!(driver.start(vip).await, Outcome::Ok);
        let missing = Bench::new("none0", "10.9.0.8", seconds(60), &folder);
        let outcome = missing.driver.start(missing.instance()).await;
        assert!(matches!(outcome, Outcome::Failed { code: 6, .. }), "{outcome:?}");
    });
    right.ip("link set right down");
    left.block_on(move || async move {
        let bench = Bench::new("left", "10.9.0.7", seconds(60), &shared);
        let outcome = bench.driver.monitor(bench.instance()).await;
        let Outcome::Failed { reason, .. } = &outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("carrier"), "{reason}");
        assert_eq!(bench.driver.probe(bench.instance()).await, Outcome::Ok, "it is here");
    });
}

/// The peer's neighbour table is what "announced until seen" reads.
#[test]
fn a_peer_learns_the_new_station_from_an_announcement() {
    for address in ["10.9.0.7", "fd09::7"] {
        let Some((left, right)) = Namespace::pair() else { return };
        // The peer knows the address at a station that is dead.
        right.ip(&format!("neigh replace {address} lladdr 02:de:ad:00:00:01 nud stale dev right"));
        let mac = left.ip("link show left").split("ether ").nth(1).expect("a MAC")[..17].to_owned();
        let folder = folder();
        let mine = Arc::clone(&folder);
        left.block_on(move || async move {
            let bench = Bench::new("left", address, seconds(60), &mine);
            assert_eq!(bench.driver.start(bench.instance()).await, Outcome::Ok);
            bench.driver.announce(bench.instance(), 3).await.expect("sent");
        });
        let expected = parse_mac(&mac);
        right.block_on(move || async move {
            let bench = Bench::new("right", address, seconds(60), &folder);
            let known = bench.driver.neighbour(bench.instance()).await.expect("readable");
            let known = known.expect("it stands there").mac;
            assert_eq!(known, expected, "{address}");
            assert!(bench.driver.sees(bench.instance(), known).await.expect("readable"));
        });
        // Whoever still believes in another station does not see it, and whoever knows nobody asks.
        let wrong = format!("neigh replace {address} lladdr 02:de:ad:00:00:01 nud stale dev right");
        for (words, seen) in [(wrong, false), (format!("neigh del {address} dev right"), true)] {
            right.ip(&words);
            let folder = self::folder();
            right.block_on(move || async move {
                let bench = Bench::new("right", address, seconds(60), &folder);
                let sees = bench.driver.sees(bench.instance(), expected).await.expect("readable");
                assert_eq!(sees, seen, "{words}");
            });
        }
    }
}

/// The interface has no address of its own in the prefix: the first virtual address is the kernel's primary.
#[test]
fn an_address_that_goes_takes_no_other_with_it() {
    let Some((left, right)) = Namespace::pair() else { return };
    left.ip("addr flush dev left");
    let promote = "/proc/sys/net/ipv4/conf/left/promote_secondaries";
    left.run(move || std::fs::write(promote, "0").expect("written"));
    let folder = folder();
    left.block_on(move || async move {
        let first = Bench::new("left", "10.9.0.7", seconds(60), &folder);
        let second = Bench::new("left", "10.9.0.8", seconds(60), &folder);
        assert_eq!(first.driver.start(first.instance()).await, Outcome::Ok);
        assert_eq!(second.driver.start(second.instance()).await, Outcome::Ok);
        assert_eq!(first.driver.stop(first.instance()).await, Outcome::Ok);
        assert_eq!(second.driver.monitor(second.instance()).await, Outcome::Ok);
    });
    drop(right);
}
