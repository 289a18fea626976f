//! Times come over the wire: none of them ends an executor (SAFETY.md#S29).

use super::*;

#[test]
fn times_at_their_end_end_nobody() {
    let most = Duration::MAX;
    let settings = Settings {
        token: most,
        agent_restart_grace: most,
        t_mem: most,
        t_stop: most,
        no_quorum: NoQuorumPolicy::Stop,
    };
    let mut executor = Executor::new(at(0), settings, Vec::new());
    executor.handle_configuration(at(0), Quorum::Quorate);
    executor.handle_epoch(at(0), epoch(1), Quorum::Quorate);
    token(&mut executor, 0);
    drain(&mut executor);
    let endless = Order { timeout: most, deadline: most, ..order(1, Operation::Start, 1) };
    executor.handle_order(at(1), endless);
    let start = call(&drain(&mut executor));
    assert_eq!(start.lifetime, Duration::from_secs(u64::MAX));
    executor.handle_answer(at(2), start.id, ok(42));
    let watch = Order { interval: Some(most), ..order(2, Operation::Monitor, 1) };
    executor.handle_order(at(3), watch);
    let look = call(&drain(&mut executor));
    executor.handle_answer(at(4), look.id, ok(42));
    executor.handle_detach(at(5), most);
    executor.handle_configuration(at(6), Quorum::Inquorate);
    executor.handle_timeout(at(7));
    assert_eq!(executor.report().instances[0].role, Some(Role::Started));
}
