//! A suspended executor (CLUSTER.md section 5): what runs stays, addresses for ever, until a person or an era ends it.

use super::*;

/// What became of lifetimes, in order.
fn renewals(outputs: &[Output]) -> Vec<Option<Duration>> {
    let lifetime = |o: &Output| match o {
        Output::RenewAddress { lifetime, .. } => Some(*lifetime),
        _ => None,
    };
    outputs.iter().filter_map(lifetime).collect()
}

#[test]
fn a_suspended_executor_keeps_what_runs_for_ever_and_feeds_no_watchdog() {
    let mut executor = running(0, 12);
    executor.handle_suspend(at(100));
    let outputs = drain(&mut executor);
    assert_eq!(renewals(&outputs), [None], "for ever");
    assert_eq!(outputs.last(), Some(&Output::Suspended), "said when that was asked for");
    assert!(!executor.answers_watchdog());
    // tokens that still come, an absence that is announced, a ring without quorum, and then nothing at all
    token(&mut executor, 2000);
    executor.handle_detach(at(2100), MS * 10_000);
    executor.handle_configuration(at(2200), Quorum::Inquorate);
    executor.handle_epoch(at(2300), epoch(13), Quorum::Inquorate);
    executor.handle_ring_closed(at(2400));
    for ms in [10_000, 100_000, 1_000_000] {
        executor.handle_timeout(at(ms));
    }
    let outputs = drain(&mut executor);
    assert_eq!(renewals(&outputs), [], "nothing shortens it");
    assert!(
        !outputs.iter().any(|o| matches!(o, Output::Call(_) | Output::SelfFence(_))),
        "{outputs:?}"
    );
    assert_eq!(executor.poll_timeout(), None);
}

#[test]
fn the_end_of_a_suspension_brings_lifetimes_and_the_last_word_of_quorum_back() {
    let mut executor = running(0, 12);
    executor.handle_suspend(at(100));
    executor.handle_epoch(at(5000), epoch(14), Quorum::Quorate);
    drain(&mut executor);
    executor.handle_resume(at(6000));
    assert!(executor.answers_watchdog() && executor.is_quorate());
    token(&mut executor, 6100);
    assert_eq!(renewals(&drain(&mut executor)), [Some(MS * 9000)]);

    let mut executor = running(0, 12);
    executor.handle_suspend(at(100));
    executor.handle_epoch(at(5000), epoch(14), Quorum::Inquorate);
    drain(&mut executor);
    executor.handle_resume(at(6000));
    assert!(!executor.is_quorate());
    executor.handle_timeout(at(10_000));
    assert_eq!(call(&drain(&mut executor)).operation, Operation::Stop, "after t_stop, as always");

    let mut executor = running(0, 12);
    executor.handle_suspend(at(100));
    executor.handle_resume(at(20_000));
    executor.handle_timeout(at(24_999));
    assert!(executor.is_quorate(), "tokens have the usual time to come");
    executor.handle_timeout(at(25_000));
    assert!(!executor.is_quorate());
}
