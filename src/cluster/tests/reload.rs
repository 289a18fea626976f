//! Other parameters of what needs no restart for them: they travel in the checks, and nothing stops.

use core::time::Duration;
use std::{vec, vec::Vec};

use base::{
    Epoch, ResourceKind, Role,
    proxy::{Backend, Balance, Frontend, Proxy, ProxyMode, Server, ServerCheck},
};
use lifecycle::{Operation, OrderEnd, Outcome};
use policy::revision as rev;

use super::{
    unit::{era, ring},
    world::{id, web},
};
use crate::{
    apply::Effect,
    dispatch::dispatch,
    model::Models,
    state::State,
    wire::{Decision, Directive, Message},
};

fn balancer(port: u16) -> ResourceKind {
    let name = || "api".parse().expect("valid");
    let address = "192.0.2.10".parse().expect("valid");
    let server = |node: &str| Server {
        node: node.parse().expect("valid"),
        address,
        port: 80,
        backup: false,
    };
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
            servers: vec![server("ctl-1"), server("ctl-2")],
        }],
    })
}

/// A clone of it, with two checks.
fn wants(state: &mut State, kind: &ResourceKind) {
    let revision = state.revision.as_mut().expect("accepted");
    let placement = &mut revision.placements[0];
    placement.shape = rev::Shape::Clone(rev::CloneOptions {
        max: None,
        node_max: 1,
        min: 0,
        interleave: true,
        ordered: false,
        unique: false,
        notify: false,
    });
    let monitor = |s| rev::Monitor {
        interval: Duration::from_secs(s),
        timeout: Duration::from_secs(s / 2),
        role: None,
        on_fail: rev::OnFail::Restart,
    };
    placement.members[0].kind = kind.clone();
    placement.members[0].monitors = vec![monitor(10), monitor(20)];
}

/// What is ordered now, and what it leads to.
fn step(state: &mut State) -> Vec<Directive> {
    let model = Models::default().of(state);
    let plan = policy::schedule(&model).expect("a plan");
    let incarnation = state.members[&state.coordinator].incarnation;
    let epoch = Epoch { ring: ring(4), coordinator: incarnation };
    let orders = dispatch(state, &plan, epoch).expect("a sound plan").orders;
    let mut out: Vec<Effect> = Vec::new();
    let decision = Decision {
        epoch,
        input: state.decided.map_or(1, |n| n + 1),
        wall: 100,
        forgotten: Vec::new(),
        orders: orders.clone(),
    };
    let coordinator = state.coordinator;
    state.apply(coordinator, &Message::Decision(decision), &mut out);
    for Directive { node, order } in &orders {
        if order.interval.is_none() {
            let end = OrderEnd::Done(if order.operation == Operation::Probe {
                Outcome::NotRunning
            } else {
                Outcome::Ok
            });
            state.apply(*node, &Message::Ended { id: order.id, end }, &mut out);
        }
    }
    orders
}

fn said(orders: &[Directive]) -> Vec<(u16, Operation)> {
    let mut all: Vec<_> = orders.iter().map(|d| (d.node.as_u16(), d.order.operation)).collect();
    all.sort();
    all
}

#[test]
fn other_parameters_of_a_balancer_are_ordered_once_by_its_checks_and_nothing_stops() {
    let mut state = era();
    wants(&mut state, &balancer(80));
    for _ in 0..10 {
        if step(&mut state).is_empty() {
            break;
        }
    }
    assert_eq!(step(&mut state), [], "settled");
    let runs = |s: &State, kind: &ResourceKind| {
        (0..3).all(|i| {
            let instance = &s.instances[&(web(), id(i))];
            instance.role == Some(Role::Started) && instance.kind == *kind
        })
    };
    assert!(runs(&state, &balancer(80)), "{:?}", state.instances);

    wants(&mut state, &balancer(81));
    let orders = step(&mut state);
    // the first of its two checks carries them; the other one looks at what the executor has by then
    let wanted: Vec<_> = (1..4).map(|n| (n, Operation::Monitor)).collect();
    assert_eq!(said(&orders), wanted);
    assert!(orders.iter().all(|d| d.order.kind == balancer(81)));
    assert!(runs(&state, &balancer(81)));
    assert_eq!(step(&mut state), [], "once");
}

#[test]
fn a_balancer_that_becomes_something_else_is_restarted() {
    let mut state = era();
    wants(&mut state, &balancer(80));
    for _ in 0..10 {
        if step(&mut state).is_empty() {
            break;
        }
    }
    wants(&mut state, &super::specimen::process());
    let wanted: Vec<_> = (1..4).map(|n| (n, Operation::Stop)).collect();
    assert_eq!(said(&step(&mut state)), wanted);
}
