//! Parameters that need no restart, and what runs less well than it should.

use alloc::vec;

use base::{ResourceKind, Role};

use super::{MS, acting, address, at, call, drain, ok, order};
use crate::*;

fn balancer(port: u16) -> ResourceKind {
    use base::proxy::{Backend, Balance, Frontend, Proxy, ProxyMode, Server, ServerCheck};
    let name = || "api".parse().expect("valid");
    let address = "192.0.2.10".parse().expect("valid");
    ResourceKind::LoadBalancer(Proxy {
        connections_max: 1,
        frontends: vec![Frontend {
            name: name(),
            address,
            port,
            mode: ProxyMode::Tcp,
            backend: name(),
            client_timeout_ms: 1,
            connections_max: 1,
        }],
        backends: vec![Backend {
            name: name(),
            balance: Balance::RoundRobin,
            check: ServerCheck::Tcp,
            check_interval_ms: 1,
            fall: 1,
            rise: 1,
            connect_timeout_ms: 1,
            server_timeout_ms: 1,
            servers: vec![Server {
                node: "n1".parse().expect("valid"),
                address,
                port: 80,
                backup: false,
            }],
        }],
    })
}

#[test]
fn a_check_carries_parameters_that_need_no_restart_and_an_address_keeps_its_own() {
    let watch = |number, kind: &ResourceKind| Order {
        kind: kind.clone(),
        interval: Some(MS * 10_000),
        exclusive: false,
        ..order(number, Operation::Monitor, 5)
    };
    let start = |kind: &ResourceKind| Order { kind: kind.clone(), ..order(1, Operation::Start, 5) };
    let mut executor = acting(0, 5);
    executor.handle_order(at(1), start(&balancer(80)));
    let begun = call(&drain(&mut executor));
    executor.handle_answer(at(2), begun.id, ok(7));
    drain(&mut executor);
    executor.handle_order(at(3), watch(2, &balancer(81)));
    let look = call(&drain(&mut executor));
    assert_eq!((look.operation, &look.kind), (Operation::Monitor, &balancer(81)));
    assert_eq!(executor.report().instances[0].kind, balancer(81), "the next stop is of what runs");

    let mut executor = acting(0, 5);
    executor.handle_order(at(1), start(&address()));
    let begun = call(&drain(&mut executor));
    executor.handle_answer(at(2), begun.id, ok(7));
    drain(&mut executor);
    executor.handle_order(at(3), watch(2, &balancer(81)));
    assert_eq!(call(&drain(&mut executor)).kind, address(), "what is another thing is restarted");
}

#[test]
fn what_runs_less_well_runs_and_is_said_in_each_era() {
    let worse = Outcome::Degraded { promoted: false, reason: "one disk of two".into() };
    let mut executor = acting(0, 5);
    executor.handle_order(at(1), order(1, Operation::Start, 5));
    let begun = call(&drain(&mut executor));
    executor.handle_answer(at(2), begun.id, ok(7));
    drain(&mut executor);
    let watch = Order { interval: Some(MS * 10_000), ..order(2, Operation::Monitor, 5) };
    executor.handle_order(at(3), watch);
    let look = call(&drain(&mut executor));
    executor.handle_answer(at(4), look.id, Answer::new(worse.clone(), 7));
    let said = drain(&mut executor);
    let changed = said.iter().any(
        |o| matches!(o, Output::Changed { outcome, instance, .. } if *outcome == worse && instance.role == Some(Role::Started)),
    );
    assert!(changed, "{said:?}");
    let report = executor.report();
    assert_eq!(report.instances[0].role, Some(Role::Started));
    assert_eq!(report.instances[0].failed, Some(worse));
}
