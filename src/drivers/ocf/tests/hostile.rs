//! Agents and metadata that mean no good, or do not know better.

use core::{fmt::Write as _, time::Duration};
use std::{fs, time::Instant};

use lifecycle::{Operation, Outcome};

use super::{
    super::{MetadataError, parse},
    Fake, METADATA,
};
use crate::process::ProcessId;

#[test]
fn metadata_that_is_garbage_or_too_much_is_refused_by_name() {
    let with = |inside: &str| METADATA.replace("</parameters>", &format!("{inside}</parameters>"));
    let many = |count: usize, text: &dyn Fn(usize) -> String| {
        (0..count).fold(String::new(), |mut all, number| {
            let _ = write!(all, "{}", text(number));
            all
        })
    };
    let parameter = |number| format!("<parameter name=\"p{number}\"/>");
    let laughs = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><resource-agent>&b;</resource-agent>";
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "not XML"),
        ("no text", vec![0xff; 64], "not XML"),
        ("no XML", b"usage: agent start|stop".to_vec(), "not XML"),
        ("cut off", METADATA.as_bytes()[..600].to_vec(), "not XML"),
        ("another root", b"<html/>".to_vec(), "begins with <html>"),
        ("no actions", b"<resource-agent/>".to_vec(), "has no action start"),
        ("entities", laughs.into(), "declares entities"),
        ("size", vec![b' '; 256 * 1024 + 1], "more than 256 KiB"),
        ("parameters", with(&many(257, &parameter)).into(), "more than 256 parameters"),
        ("nodes", with(&"<a/>".repeat(17_000)).into(), "more than 16384 nodes"),
        (
            "depth",
            with(&format!("{}{}", "<a>".repeat(9), "</a>".repeat(9))).into(),
            "more than 8 levels",
        ),
        (
            "deep",
            with(&format!("{}{}", "<a>".repeat(30_000), "</a>".repeat(30_000))).into(),
            "metadata",
        ),
        ("a path for a name", with("<parameter name=\"../x\"/>").into(), "is no name"),
        ("a variable's end", with("<parameter name=\"a=b\"/>").into(), "is no name"),
        ("no name", with("<parameter/>").into(), "without a name"),
        ("twice", with("<parameter name=\"ip\"/>").into(), "describes ip twice"),
    ];
    for (what, bytes, words) in rows {
        let refused = parse(&bytes).expect_err(what).to_string();
        assert!(refused.contains(words), "{what}: {refused}");
        assert!(refused.len() < 500, "{what}: {refused}");
    }
    assert!(parse(with(&many(251, &parameter)).as_bytes()).is_ok());
}

#[test]
fn no_piece_of_metadata_makes_the_reader_fall() {
    for end in 0..METADATA.len() {
        let mut flipped = METADATA.as_bytes().to_vec();
        flipped[end] ^= 0x15;
        let _ = parse(&flipped);
        assert!(matches!(
            parse(&METADATA.as_bytes()[..end]),
            Err(MetadataError::Malformed(_) | MetadataError::Wrong(_))
        ));
    }
}

#[tokio::test]
async fn endless_metadata_is_broken_off() {
    let fake = Fake::raw("#!/bin/sh\nexec yes '<a/>'\n");
    let begun = Instant::now();
    let refused = fake.agents.metadata(&fake.name).await.expect_err("refused").to_string();
    assert!(refused.contains("more than 262144 bytes"), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn endless_output_of_an_operation_is_read_and_forgotten() {
    let fake = Fake::new(
        "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; echo >&2; \
         echo 'ocf-exit-reason:the disk is gone' >&2; echo later >&2; exit 1",
    );
    let outcome = fake.quick(Operation::Monitor).await;
    assert_eq!(outcome, Outcome::Failed { code: 1, reason: "failed: the disk is gone".into() });
}

#[tokio::test]
async fn an_agent_that_never_ends_is_killed_with_all_that_it_began() {
    // Bytes without end, a child, and deaf to what asks it to end.
    let fake = Fake::new(
        "trap '' TERM INT HUP; sleep 1000 & echo $! > $OCF_ROOT/child; echo $$ > $OCF_ROOT/self; \
         yes >&2 & while :; do wait; done",
    );
    let begun = Instant::now();
    let outcome = fake.act(Operation::Stop, &[("ip", "x")], Duration::from_millis(1500)).await;
    assert_eq!(outcome, Outcome::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for name in ["self", "child"] {
        let pid =
            fs::read_to_string(fake.path(name)).expect("written").trim().parse().expect("pid");
        let until = Instant::now() + Duration::from_secs(5);
        while ProcessId::of(pid).is_some_and(ProcessId::alive) {
            assert!(Instant::now() < until, "{name} {pid} is alive");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn what_an_agent_leaves_running_is_not_waited_for_and_not_killed() {
    let fake = Fake::new("sleep 1000 & echo $! > $OCF_ROOT/child; exit 0");
    let begun = Instant::now();
    assert_eq!(fake.quick(Operation::Start).await, Outcome::Ok);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let text = fs::read_to_string(fake.path("child")).expect("written");
    let child = ProcessId::of(text.trim().parse().expect("pid")).expect("it runs");
    assert!(child.alive());
    let _ = rustix::process::kill_process(
        child.as_pid().expect("a pid"),
        rustix::process::Signal::KILL,
    );
}

#[tokio::test]
async fn a_signal_is_a_failure_and_a_secret_is_not_repeated() {
    let fake = Fake::new("kill -9 $$");
    let outcome = fake.quick(Operation::Stop).await;
    assert!(matches!(&outcome, Outcome::Failed { code: 1, reason } if reason.contains("signal 9")));
    let fake = Fake::new("echo \"login with $OCF_RESKEY_db_passwd failed\" >&2; exit 1");
    let secret = [("ip", "x"), ("db_passwd", "hunter2")];
    let outcome = fake.act(Operation::Start, &secret, Duration::from_secs(20)).await;
    let reason = "failed: login with (not shown) failed".into();
    assert_eq!(outcome, Outcome::Failed { code: 1, reason });
}
