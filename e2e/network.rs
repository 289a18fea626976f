//! The networks: a bridge each in a namespace of their own, and a cable per machine and network.
//!
//! A machine's end of a cable lies in an anonymous namespace; the other end in the switches'
//! namespace, where cables are cut. So a power command works from any mount namespace.

use crate::command::{attempt, attempt_with_input, ip_batch, run, run_with_input, said};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// One switch of the lab. The name is also that of a machine's interface on it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Machines and the Kubernetes API server.
    Api,
    /// Machines and their BMCs.
    Bmc,
    /// Machines and the client: for talk that must not share the public network's faults.
    Client,
    /// Management: the ring's first link.
    Mgmt,
    /// Where the public address lives; the client has a leg here.
    Public,
    /// Tenants' tunnels: the ring's second link.
    Tunnel,
}

impl Network {
    /// All of them, in the order in which cables are plugged.
    pub const ALL: [Self; 6] =
        [Self::Mgmt, Self::Public, Self::Tunnel, Self::Bmc, Self::Api, Self::Client];

    /// The interface and bridge name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Bmc => "bmc",
            Self::Client => "client",
            Self::Mgmt => "mgmt",
            Self::Public => "public",
            Self::Tunnel => "tunnel",
        }
    }

    /// An address of this network: 10.9x.0.`host`, prefix length 24.
    #[must_use]
    pub const fn address(self, host: u8) -> Ipv4Addr {
        let second = match self {
            Self::Mgmt => 91,
            Self::Public => 92,
            Self::Tunnel => 93,
            Self::Bmc => 94,
            Self::Api => 95,
            Self::Client => 96,
        };
        Ipv4Addr::new(10, second, 0, host)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Host part of a machine's address on every network, from its place in the list (0, 1, ...).
#[must_use]
pub const fn machine_host(index: u8) -> u8 {
    11 + index
}

/// Host part of the address of a machine's BMC on the BMC network.
#[must_use]
pub const fn bmc_host(index: u8) -> u8 {
    101 + index
}

/// The API server's host part on the api network.
pub const API_SERVER_HOST: u8 = 1;
/// The client's host part on the public and the client network.
pub const CLIENT_HOST: u8 = 200;
/// Host part of the public address that the scenarios watch.
pub const VIP_HOST: u8 = 100;

/// The named namespaces of one lab. All names begin with the lab's own prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespaces {
    prefix: String,
}

impl Namespaces {
    /// Of the lab with that name.
    #[must_use]
    pub fn of(lab: &str) -> Self {
        Self { prefix: format!("palisade-{lab}") }
    }

    /// Bridges and the far ends of all cables.
    #[must_use]
    pub fn switches(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    /// Where requests come from and where the observer listens.
    #[must_use]
    pub fn client(&self) -> String {
        format!("{}-client", self.prefix)
    }

    /// Where the BMCs answer.
    #[must_use]
    pub fn bmc(&self) -> String {
        format!("{}-bmc", self.prefix)
    }

    /// Where the API server runs.
    #[must_use]
    pub fn api(&self) -> String {
        format!("{}-api", self.prefix)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> [String; 4] {
        [self.switches(), self.client(), self.bmc(), self.api()]
    }
}

/// The file by which a named namespace is entered.
#[must_use]
pub fn namespace_file(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// Whether the named namespace exists.
#[must_use]
pub fn namespace_exists(name: &str) -> bool {
    namespace_file(name).exists()
}

/// Puts the calling thread, and the sockets that it opens from now on, into a named namespace.
pub fn enter(name: &str) -> Result<()> {
    let file = File::open(namespace_file(name))
        .with_context(|| format!("namespace {name}: is the lab up?"))?;
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("entering namespace {name}"))
}

/// A port that was free on loopback a moment ago.
pub fn free_loopback_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Makes the switches and the legs of client, BMCs and API server.
pub fn create(namespaces: &Namespaces, machines: u8) -> Result<()> {
    for name in namespaces.all() {
        run("ip", &["netns", "add", &name])?;
        ip_batch(&name, "link set lo up\n")?;
    }
    let mut bridges = String::new();
    for network in Network::ALL {
        bridges += &format!(
            "link add {network} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set {network} up\n"
        );
    }
    ip_batch(&namespaces.switches(), &bridges)?;
    leg(namespaces, &namespaces.client(), Network::Public, &[CLIENT_HOST])?;
    leg(namespaces, &namespaces.client(), Network::Client, &[CLIENT_HOST])?;
    leg(namespaces, &namespaces.api(), Network::Api, &[API_SERVER_HOST])?;
    let bmcs: Vec<u8> = (0..machines).map(bmc_host).collect();
    leg(namespaces, &namespaces.bmc(), Network::Bmc, &bmcs)
}

/// Removes a named namespace, with the switches and cables in it.
pub fn delete(name: &str) -> Result<()> {
    if namespace_exists(name) {
        run("ip", &["netns", "delete", name])?;
    }
    Ok(())
}

/// A cable from a switch to a named namespace that is no machine.
fn leg(namespaces: &Namespaces, owner: &str, network: Network, hosts: &[u8]) -> Result<()> {
    let far = format!("{}-{network}", owner.rsplit('-').next().unwrap_or(owner));
    ip_batch(
        &namespaces.switches(),
        &format!(
            "link add {far} type veth peer name {network} netns {owner}\n\
             link set {far} master {network} up\n"
        ),
    )?;
    let mut lines = String::new();
    for host in hosts {
        lines += &format!("address add {}/24 dev {network}\n", network.address(*host));
    }
    ip_batch(owner, &format!("{lines}link set {network} up\n"))
}

/// The Ethernet address of an interface: the same after each power-on, as real ones are. Else every
/// neighbour would go on talking to a machine that is no more, for 8 s.
#[must_use]
pub fn ethernet(network: Network, host: u8) -> String {
    let [_, second, ..] = network.address(host).octets();
    format!("02:00:00:00:{second:02x}:{host:02x}")
}

/// The switch's end of a machine's cable.
#[must_use]
pub fn port(machine: &str, network: Network) -> String {
    format!("{machine}-{network}")
}

/// Plugs a machine's cables in. Those in `cut` are plugged and dead.
pub fn plug(
    namespaces: &Namespaces,
    (machine, host): (&str, u8),
    pid: i32,
    cut: &[Network],
) -> Result<()> {
    let mut lines = String::new();
    for network in Network::ALL {
        let port = port(machine, network);
        let state = if cut.contains(&network) { "down" } else { "up" };
        lines += &format!(
            "link add {port} type veth peer name {network} address {} netns {pid}\n\
             link set {port} master {network} {state}\n",
            ethernet(network, host)
        );
    }
    ip_batch(&namespaces.switches(), &lines)
}

/// Takes the link of each of these cables down, as pulling them does. All in one go.
pub fn pull(namespaces: &Namespaces, machine: &str, networks: &[Network]) -> Result<()> {
    set_links(namespaces, machine, networks, "down")
}

/// Puts cables back.
pub fn heal(namespaces: &Namespaces, machine: &str, networks: &[Network]) -> Result<()> {
    set_links(namespaces, machine, networks, "up")
}

fn set_links(ns: &Namespaces, machine: &str, networks: &[Network], state: &str) -> Result<()> {
    let lines: String =
        networks.iter().map(|n| format!("link set {} {state}\n", port(machine, *n))).collect();
    ip_batch(&ns.switches(), &lines)
}

/// Removes a machine's cables. None there is fine: the kernel removes them with the machine's
/// namespace, sooner or later.
pub fn unplug(namespaces: &Namespaces, machine: &str) -> Result<()> {
    let switches = namespaces.switches();
    let lines: String =
        Network::ALL.iter().map(|n| format!("link delete {}\n", port(machine, *n))).collect();
    // All in one process, and on with the next where one is gone already.
    let output = attempt_with_input("ip", &["-n", &switches, "-force", "-batch", "-"], &lines)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let gone = ["Cannot find device", "No such device", "Command failed"];
    if let Some(bad) = errors.lines().find(|l| !gone.iter().any(|g| l.contains(g))) {
        bail!("removing the cables of {machine}: {bad}");
    }
    Ok(())
}

/// Which half of the talk with a peer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// What the peer sends is lost.
    In,
    /// What this machine sends is lost.
    Out,
}

/// A machine's network namespace, through its pid 1.
fn in_machine(pid: i32) -> String {
    format!("--net=/proc/{pid}/ns/net")
}

/// Loses all packets of one direction, between this machine and `peer` or (none) everybody, on one
/// network. The links stay up: nobody is told.
pub fn mute(
    pid: i32,
    network: Network,
    direction: Direction,
    peer: Option<Ipv4Addr>,
) -> Result<()> {
    let (hook, side) = match direction {
        Direction::In => ("ingress", "saddr"),
        Direction::Out => ("egress", "daddr"),
    };
    // The netdev family sees ARP too: a filter of IP alone would leave a link half alive.
    let (ip, arp) = peer.map_or((String::new(), None), |peer| {
        let arp = match direction {
            Direction::In => format!("arp saddr ip {peer} drop\n"),
            Direction::Out => format!("arp daddr ip {peer} drop\n"),
        };
        (format!("ip {side} {peer} "), Some(arp))
    });
    let rules = format!(
        "table netdev lab_{network} {{\n chain {hook} {{\n  type filter hook {hook} device {network} \
         priority 0;\n  {ip}drop\n  {} }}\n}}\n",
        arp.unwrap_or_default()
    );
    run_with_input("nsenter", &[&in_machine(pid), "nft", "-f", "-"], &rules).map(drop)
}

/// Ends all muting of one machine.
pub fn unmute(pid: i32) -> Result<()> {
    for network in Network::ALL {
        let table = format!("lab_{network}");
        let args = [
            in_machine(pid),
            "nft".into(),
            "delete".into(),
            "table".into(),
            "netdev".into(),
            table,
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = attempt("nsenter", &args)?;
        if !output.status.success() && !said(&output).contains("No such file") {
            bail!("unmuting {network}: {}", said(&output));
        }
    }
    Ok(())
}
