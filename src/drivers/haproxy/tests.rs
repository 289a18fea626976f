use std::{collections::BTreeSet, path::Path};

use base::{
    NodeName, Proxy,
    proxy::{Backend, Balance, Frontend, ProxyMode, Server, ServerCheck},
};

use lifecycle::Outcome;

use super::{
    Intent, Surroundings, admin::description, files, fingerprint, place::servers_on, render,
};

fn server(node: &str, address: &str, port: u16, backup: bool) -> Server {
    let (node, address) = (node.parse().expect("a name"), address.parse().expect("an address"));
    Server { node, address, port, backup }
}

fn proxy() -> Proxy {
    let frontend = |name: &str, address: &str, port, mode, silence| Frontend {
        name: name.parse().expect("a label"),
        address: address.parse().expect("an address"),
        port,
        mode,
        backend: name.parse().expect("a label"),
        client_timeout_ms: silence,
        connections_max: 2000,
    };
    let backend = |name: &str, balance, check, silence, servers| Backend {
        name: name.parse().expect("a label"),
        balance,
        check,
        check_interval_ms: 500,
        fall: 2,
        rise: 3,
        connect_timeout_ms: 500,
        server_timeout_ms: silence,
        servers,
    };
    Proxy {
        connections_max: 4000,
        frontends: vec![
            frontend("keystone", "10.0.0.100", 5000, ProxyMode::Http, 60_000),
            frontend("mysql", "fd00::100", 3306, ProxyMode::Tcp, 5_400_000),
        ],
        backends: vec![
            backend(
                "keystone",
                Balance::RoundRobin,
                ServerCheck::Http {
                    path: "/v3".parse().expect("a path"),
                    statuses: vec![200, 300],
                    port: None,
                },
                60_000,
                vec![
                    server("ctl-1", "10.20.0.11", 5000, false),
                    server("ctl-2", "10.20.0.12", 5000, false),
                ],
            ),
            backend(
                "mysql",
                Balance::LeastConnections,
                ServerCheck::Http {
                    path: "/".parse().expect("a path"),
                    statuses: Vec::new(),
                    port: Some(9200),
                },
                5_400_000,
                vec![
                    server("ctl-1", "fd00::11", 3306, false),
                    server("ctl-2", "fd00::12", 3306, true),
                ],
            ),
        ],
    }
}

fn rendered(proxy: &Proxy, gone: &[&str]) -> String {
    let gone: BTreeSet<NodeName> = gone.iter().map(|n| n.parse().expect("a name")).collect();
    render(
        proxy,
        &Surroundings {
            resource: &"api".parse().expect("an id"),
            admin: Path::new("/run/palisade/balancers/api/admin.sock"),
            user: Some("haproxy"),
            elsewhere: true,
            connections_max: proxy.connections_max,
            gone: &gone,
        },
    )
}

#[test]
fn the_configuration_is_the_one_that_was_looked_at() {
    assert_eq!(proxy().fault(), None);
    assert_eq!(rendered(&proxy(), &["ctl-2"]), include_str!("golden.cfg"));
}

#[test]
fn other_parameters_have_another_fingerprint_and_a_dead_machine_has_none() {
    let mut other = proxy();
    other.backends[0].servers[0].port = 5001;
    assert_ne!(fingerprint(&proxy()), fingerprint(&other));
    assert_ne!(rendered(&proxy(), &[]), rendered(&proxy(), &["ctl-1"]));
    let info = format!("Name: HAProxy\nVersion: 2.6.12\ndescription: {}\n", fingerprint(&proxy()));
    assert_eq!(description(&info), Some(&*fingerprint(&proxy())));
    for strange in ["", "description: ", &format!("description: {}", "x".repeat(65))] {
        assert!(description(strange).is_none_or(str::is_empty), "{strange:?}");
    }
}

#[test]
fn a_low_limit_of_open_files_costs_connections_and_is_said() {
    let wanted = proxy().connections_max;
    let enough = u64::from(wanted) * 2 + 512;
    assert_eq!(files::connections(&proxy(), enough), wanted);
    assert_eq!(files::runs(&proxy(), enough), Outcome::Ok);
    assert_eq!(files::connections(&proxy(), enough - 2), wanted - 1);
    assert_eq!(files::connections(&proxy(), 0), 1);
    assert_eq!(files::connections(&proxy(), u64::MAX), wanted);
    let Outcome::Degraded { reason, .. } = files::runs(&proxy(), enough - 2) else {
        panic!("it is said")
    };
    assert!(reason.contains("LimitNOFILE"), "{reason}");
}

#[test]
fn each_server_of_a_machine_is_named_once() {
    let proxy = proxy();
    let hit: Vec<String> = servers_on(&proxy, |node| node.as_str() == "ctl-2").collect();
    assert_eq!(hit, ["keystone/ctl-2", "mysql/ctl-2"]);
}

#[test]
fn the_stand_in_is_told_the_same_and_takes_loopback_only() {
    let mut proxy = proxy();
    let intent = |proxy: &Proxy| {
        let gone = ["ctl-2".parse().expect("a name")].into();
        Intent::new(&"api".parse().expect("an id"), proxy, gone, "/run/kernel.sock".into())
    };
    let refused = intent(&proxy).check().expect_err("not of loopback");
    assert!(refused.contains("10.0.0.100 is no address of loopback"), "{refused}");
    for frontend in &mut proxy.frontends {
        frontend.address = "127.0.0.100".parse().expect("an address");
    }
    let refused = intent(&proxy).check().expect_err("a server is not");
    assert!(refused.contains("10.20.0.11"), "{refused}");
    for server in proxy.backends.iter_mut().flat_map(|backend| &mut backend.servers) {
        server.address = "127.0.0.1".parse().expect("an address");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let told = intent(&proxy);
    let json = serde_json::to_vec(&told).expect("JSON");
    std::fs::write(folder.path().join(Intent::FILE), json).expect("written");
    assert_eq!(Intent::load(folder.path()).expect("read"), told);
    assert_eq!(told.fingerprint, fingerprint(&proxy));
}
