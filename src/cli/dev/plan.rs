//! What a box is: made once, kept in `DIR/box.json`; where everything of it lies and listens.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use agent::run_dir::{Entry, RunDir};
use anyhow::{Context as _, Result, bail};
use base::NodeName;
use bmcsim::Certificate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Machines of one box.
pub(super) const NODES_MIN: u8 = 3;
pub(super) const NODES_MAX: u8 = 9;
/// The ring's default port: what the objects say too.
pub(super) const RING_PORT: u16 = 5405;
/// 623 is not for ordinary users.
pub(super) const BMC_PORT: u16 = 6230;
/// Neither is 443.
pub(super) const REDFISH_PORT: u16 = 4430;
/// Where the demonstration listens, on each machine and on its address; and the page of the box, on one of its own.
pub(super) const WEB_PORT: u16 = 8080;
/// Where the process behind the example of a balancer listens, on each machine.
pub(super) const SITE_PORT: u16 = 8081;
const AGENT_METRICS_PORT: u16 = 9465;
const CONTROLLER_METRICS_PORT: u16 = 9464;
pub(super) const BMC_USER: &str = "operator";
/// A Unix socket's path has at most 107 bytes; the longest of ours below DIR has these.
const SOCKET_BELOW: &str = "/machines/n1/run/executor/executor.sock";
const SOCKET_BYTES_MAX: usize = 107;
/// Of the address of a network that nobody speaks from: whoever has it has the network.
const CLAIM: u8 = 254;
/// Boxes of one machine beside each other.
const SUBNETS: std::ops::RangeInclusive<u8> = 0..=250;

/// Kept over restarts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// All its addresses are in 127.77.SUBNET.0/24.
    pub(super) subnet: u8,
    pub(super) nodes: Vec<Node>,
    /// One line as the Secret of the ring holds it.
    pub(super) ring_key: String,
    /// The first objects were made; what became of them since is the person's.
    pub(super) objects_made: bool,
}

/// One machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) id: u8,
    /// What the machine and its BMC call it.
    pub(super) uuid: Uuid,
    pub(super) bmc_password: String,
    /// Its BMC speaks Redfish, with this certificate; IPMI where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) redfish: Option<Kept>,
}

/// A BMC's certificate and key, so that its fingerprint is the same after a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Kept {
    fn new(address: IpAddr) -> Result<Self> {
        let made = Certificate::generate(address).context("a certificate for a BMC")?;
        Ok(Self { certificate: made.der().to_vec(), key: made.key().to_vec() })
    }

    /// As the BMC shows it.
    pub(super) fn certificate(&self) -> Result<Certificate> {
        let read = Certificate::from_der(self.certificate.clone(), self.key.clone());
        read.context("box.json: a BMC's certificate cannot be used")
    }
}

impl Plan {
    fn ip(&self, last: u8) -> IpAddr {
        Ipv4Addr::new(127, 77, self.subnet, last).into()
    }

    /// As the others know the machine: the switch listens there.
    pub(super) fn link(&self, node: &Node) -> IpAddr {
        self.ip(node.id)
    }

    /// Where its agent binds: at its end of the cable.
    pub(super) fn port(&self, node: &Node) -> IpAddr {
        self.ip(100 + node.id)
    }

    pub(super) fn bmc(&self, node: &Node) -> SocketAddr {
        let port = if node.redfish.is_some() { REDFISH_PORT } else { BMC_PORT };
        SocketAddr::new(self.ip(200 + node.id), port)
    }

    /// The address of the demonstration.
    pub(super) fn vip(&self) -> IpAddr {
        self.ip(250)
    }

    pub(super) fn vip_socket(&self) -> SocketAddr {
        SocketAddr::new(self.vip(), WEB_PORT)
    }

    /// Where the agent of that machine serves its metrics.
    pub(super) fn metrics(&self, node: &Node) -> SocketAddr {
        SocketAddr::new(self.port(node), AGENT_METRICS_PORT)
    }

    /// Where the controller serves its own.
    pub(super) fn controller_metrics(&self) -> SocketAddr {
        SocketAddr::new(self.ip(251), CONTROLLER_METRICS_PORT)
    }

    /// Where the page of the box is.
    pub(super) fn page_socket(&self) -> SocketAddr {
        SocketAddr::new(self.ip(251), WEB_PORT)
    }

    pub(super) fn node(&self, name: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.name.as_str() == name);
        found.with_context(|| {
            let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            format!("this box has no machine {name:?}: it has {}", names.join(", "))
        })
    }
}

/// The folder of a box.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// `--dir`, or the place of this person's box.
    pub(super) fn choose(dir: Option<&Path>) -> Result<Self> {
        if let Some(dir) = dir {
            return Ok(Self(std::path::absolute(dir)?));
        }
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let base = state.filter(|path| path.is_absolute()).or_else(home);
        let base =
            base.context("neither HOME nor XDG_STATE_HOME is set: name a folder by --dir")?;
        Ok(Self(base.join("palisade-dev")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Objects that a person can apply.
    pub(super) fn examples(&self) -> PathBuf {
        self.0.join("examples")
    }

    /// For people and their kubectl.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    pub(super) fn api(&self) -> PathBuf {
        self.0.join("api")
    }

    pub(super) fn control(&self) -> PathBuf {
        self.0.join("box.sock")
    }

    pub(super) fn machine(&self, name: &NodeName) -> PathBuf {
        self.0.join("machines").join(name.as_str())
    }

    /// Of the agent on that machine.
    pub(super) fn agent_socket(&self, name: &NodeName) -> PathBuf {
        RunDir::at(self.machine(name).join("run")).socket(Entry::Agent)
    }

    pub(super) fn kernel_socket(&self, name: &NodeName) -> PathBuf {
        self.machine(name).join("kernel.sock")
    }

    pub(super) fn agent_log(&self, name: &NodeName) -> PathBuf {
        self.machine(name).join("agent.log")
    }

    /// What is there, if it is a box.
    pub(super) fn load(&self) -> Result<Option<Plan>> {
        let path = self.0.join("box.json");
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                format!("{}: not a box of this version; choose another --dir", path.display())
            })?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Of a box that must be there.
    pub(super) fn plan(&self) -> Result<Plan> {
        let plan = self.load()?;
        plan.with_context(|| format!("no box in {}: `palisade dev` makes one", self.0.display()))
    }

    /// The whole file or none of it.
    pub(super) fn store(&self, plan: &Plan) -> Result<()> {
        write_private(&self.0.join("box.json"), &serde_json::to_vec_pretty(plan)?)
    }

    /// Made if it is missing, readable by its owner only.
    pub(super) fn make(&self) -> Result<()> {
        if self.0.as_os_str().len() + SOCKET_BELOW.len() > SOCKET_BYTES_MAX {
            bail!(
                "{} is too long a path for the sockets below it (at most {} bytes): choose a shorter --dir",
                self.0.display(),
                SOCKET_BYTES_MAX - SOCKET_BELOW.len()
            );
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.with_context(|| format!("cannot make {}", self.0.display()))
    }
}

/// A network of loopback that this process has, as long as this lives: by a socket on one address of it, which the kernel
/// gives to one process only, whosever boxes they are, and takes back however that process ends.
pub(super) struct Claim {
    subnet: u8,
    _held: UdpSocket,
}

impl Claim {
    /// Of a box that was made before.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let subnet = plan.subnet;
        Self::take(subnet).with_context(|| {
            format!(
                "another box uses 127.77.{subnet}.0/24 now: end it, or choose another --dir for a new box beside it"
            )
        })
    }

    /// Of a new box: the first that nobody has. Two that look at once do not find the same.
    pub(super) fn any() -> Result<Self> {
        let found = SUBNETS.filter_map(Self::take).find(|claim| is_free(claim.subnet));
        found.context("no free network in 127.77.0.0/16: end other boxes first")
    }

    fn take(subnet: u8) -> Option<Self> {
        let held = UdpSocket::bind((Ipv4Addr::new(127, 77, subnet, CLAIM), RING_PORT)).ok()?;
        Some(Self { subnet, _held: held })
    }
}

/// A new box of so many machines, on addresses of its own. The BMCs of the last `redfish` ones speak that.
pub(super) fn new(claim: &Claim, nodes: u8, redfish: u8) -> Result<Plan> {
    let subnet = claim.subnet;
    let key: String =
        [Uuid::new_v4(), Uuid::new_v4()].iter().map(|u| u.simple().to_string()).collect();
    let mut plan = Plan {
        subnet,
        nodes: (1..=nodes)
            .map(|id| {
                let password: String =
                    Uuid::new_v4().simple().to_string().chars().take(16).collect();
                Ok(Node {
                    name: format!("n{id}").parse()?,
                    id,
                    uuid: Uuid::new_v4(),
                    bmc_password: password,
                    redfish: None,
                })
            })
            .collect::<Result<_>>()?,
        ring_key: format!("1 {key}"),
        objects_made: false,
    };
    for last in (0..usize::from(nodes)).rev().take(usize::from(redfish)) {
        let kept = Kept::new(plan.bmc(&plan.nodes[last]).ip())?;
        plan.nodes[last].redfish = Some(kept);
    }
    Ok(plan)
}

/// By its first machine and its address: whoever has those has the rest. For what is no box, or one of an older version.
fn is_free(subnet: u8) -> bool {
    let ip = |last| Ipv4Addr::new(127, 77, subnet, last);
    UdpSocket::bind((ip(1), RING_PORT)).is_ok()
        && UdpSocket::bind((ip(201), BMC_PORT)).is_ok()
        && TcpListener::bind((ip(250), WEB_PORT)).is_ok()
}

/// Readable by its owner only, never half-written.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_kept_and_its_addresses_are_apart() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::choose(Some(&dir.path().join("b"))).expect("chosen");
        assert!(folder.plan().expect_err("none yet").to_string().contains("palisade dev"));
        folder.make().expect("made");
        let plan = new(&Claim::any().expect("free"), NODES_MAX, 2).expect("made");
        folder.store(&plan).expect("stored");
        let kept = folder.plan().expect("loaded");
        assert_eq!(kept.ring_key, plan.ring_key);
        let speaks: Vec<bool> = kept.nodes.iter().map(|node| node.redfish.is_some()).collect();
        assert_eq!(speaks, [[false; 7].as_slice(), &[true; 2]].concat());
        let pin = |plan: &Plan| {
            let kept = plan.nodes[8].redfish.as_ref().expect("it speaks Redfish");
            kept.certificate().expect("usable").pin()
        };
        assert_eq!(pin(&kept), pin(&plan), "the fence device names it");
        let mut all: Vec<IpAddr> = kept
            .nodes
            .iter()
            .flat_map(|node| [kept.link(node), kept.port(node), kept.bmc(node).ip()])
            .chain([kept.vip(), kept.page_socket().ip()])
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), usize::from(NODES_MAX) * 3 + 2);
        assert!(kept.node("n10").expect_err("absent").to_string().contains("n1, n2"));
    }

    #[test]
    fn two_boxes_that_start_at_once_take_two_networks() {
        let (boxes, together) = (8, std::sync::Barrier::new(8));
        let claims: Vec<Claim> = std::thread::scope(|scope| {
            let look = || {
                together.wait();
                Claim::any().expect("free")
            };
            let all: Vec<_> = (0..boxes).map(|_| scope.spawn(look)).collect();
            all.into_iter().map(|one| one.join().expect("found")).collect()
        });
        let mut subnets: Vec<u8> = claims.iter().map(|claim| claim.subnet).collect();
        subnets.sort_unstable();
        subnets.dedup();
        assert_eq!(subnets.len(), boxes);
        let plan = new(&claims[0], 3, 0).expect("made");
        let Err(refused) = Claim::of(&plan) else { panic!("two boxes in one network") };
        assert!(refused.to_string().contains("choose another --dir"), "{refused}");
        drop(claims);
        Claim::of(&plan).expect("given back");
    }

    #[test]
    fn a_path_that_no_socket_fits_below_is_refused_before_anything_is_made() {
        let long = format!("/tmp/{}", "x".repeat(90));
        let folder = Folder::choose(Some(Path::new(&long))).expect("chosen");
        assert!(folder.make().expect_err("refused").to_string().contains("shorter --dir"));
        assert!(!Path::new(&long).exists());
    }
}
