//! The real HAProxy under our driver: reloads under load, refused configurations, dead machines.
//!
//! `cargo build -p drivers --example shim && cargo test -p drivers --test haproxy -- --ignored --nocapture --test-threads=1`
//! (Debian's haproxy 2.6 or later; no root)

mod bench;
mod load;

use std::time::{Duration, Instant};

use bench::Bench;
use drivers::haproxy::Engine;
use lifecycle::Outcome;
use load::Load;

/// What the issue asks for, and at least so many reloads.
const RATE: u32 = 1_000;
const SECONDS: u32 = 25;
const RELOADS: u16 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real haproxy, 30 s: see the file's head for the command"]
async fn no_request_fails_while_it_reloads_under_a_thousand_requests_each_second() {
    let mut bench = Bench::new(2).await;
    assert_eq!(bench.start().await, Outcome::Ok);
    let master = bench.process().expect("runs");
    let load = Load::begin(bench.place(), RATE, Duration::from_secs(SECONDS.into()));
    let mut took = Vec::new();
    for number in 0..RELOADS {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        bench.change(number);
        let begun = Instant::now();
        assert_eq!(bench.monitor().await, Outcome::Ok, "reload {number}");
        took.push(begun.elapsed());
    }
    let result = load.end().await;
    assert_eq!(bench.process(), Some(master), "it was never restarted");
    took.sort();
    let ms = |d: &Duration| d.as_millis();
    println!(
        "{result}; {} reloads with another configuration each, {} ms median, {} ms at most, same master",
        took.len(),
        took.get(took.len() / 2).map_or(0, ms),
        took.last().map_or(0, ms),
    );
    assert_eq!(bench.stop().await, Outcome::Ok);
    assert!(result.failures.is_empty(), "no request may fail");
    assert!(result.answered >= u64::from(RATE * SECONDS) * 9 / 10, "too slow to prove anything");
    assert!(result.kept_alive > 0 && result.fresh > 0, "both kinds of connections");
}

/// The same bench sees what a restart in place of a reload does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real haproxy: see the file's head for the command"]
async fn a_restart_in_place_of_a_reload_is_seen() {
    let mut bench = Bench::new(2).await;
    assert_eq!(bench.start().await, Outcome::Ok);
    let load = Load::begin(bench.place(), RATE, Duration::from_secs(6));
    for number in 0..2 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        bench.change(number);
        assert_eq!(bench.stop().await, Outcome::Ok);
        assert_eq!(bench.start().await, Outcome::Ok);
    }
    let result = load.end().await;
    assert_eq!(bench.stop().await, Outcome::Ok);
    println!("{result}");
    assert!(!result.failures.is_empty(), "requests fail when it is restarted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real haproxy: see the file's head for the command"]
async fn a_refused_configuration_leaves_the_running_one_alone_and_is_said() {
    let mut bench = Bench::new(2).await;
    assert_eq!(bench.start().await, Outcome::Ok);
    let (master, before) = (bench.process(), bench.configuration());
    let engine = bench.engine(Engine::Haproxy {
        program: "/usr/sbin/haproxy".into(),
        user: Some("nobody-of-this-name".into()),
    });
    bench.change(1);
    match bench.monitor().await {
        Outcome::Degraded { promoted: false, reason } => {
            println!("{reason}");
            assert!(
                reason.contains("the one before goes on") && reason.contains("[ALERT]"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((bench.process(), bench.configuration()), (master, before), "nothing was touched");
    assert_eq!(bench.ask().await, Some(200));
    // a start with it fails, with the reason, and leaves nothing
    bench.engine(engine);
    assert_eq!(bench.monitor().await, Outcome::Ok, "the next check brings it into force");
    assert_eq!(bench.stop().await, Outcome::Ok);
    assert_eq!(bench.probe().await, Outcome::NotRunning);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real haproxy: see the file's head for the command"]
async fn a_machine_that_is_known_to_be_dead_gets_nothing_at_once_after_a_reload_and_until_it_is_back()
 {
    let mut bench = Bench::new(2).await;
    assert_eq!(bench.start().await, Outcome::Ok);
    assert_eq!(bench.servers_that_answer().await, ["n1", "n2"]);
    let begun = Instant::now();
    bench.gone(&["n1"]).await;
    println!("told within {:?}", begun.elapsed());
    assert_eq!(bench.servers_that_answer().await, ["n2"]);
    bench.change(1);
    assert_eq!(bench.monitor().await, Outcome::Ok);
    assert_eq!(bench.servers_that_answer().await, ["n2"], "a reload does not forget it");
    // a new agent finds what runs, and hears who is gone
    bench.new_agent().await;
    assert_eq!(bench.survivors().await, 1);
    bench.gone(&[]).await;
    assert_eq!(bench.servers_that_answer().await, ["n1", "n2"]);
    assert_eq!(bench.stop().await, Outcome::Ok);
    assert_eq!(bench.survivors().await, 0);
}
