//! The machine's own configuration: what differs from machine to machine and never comes from the API.
//!
//! One TOML file, all of it optional. Unknown keys are refused with their place, so that a typing error is no
//! silent default.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use base::{AgentName, NodeName};
use serde::Deserialize;

use crate::run_dir::RunDir;

/// Longest configuration file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What `palisade agent` was called with.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--node-name`: this machine's name in `HACluster.spec.members`.
    pub node_name: NodeName,
    /// `--kubeconfig`; without it the in-cluster account, or no API at all.
    pub kubeconfig: Option<PathBuf>,
    /// `--namespace` of the cluster object.
    pub namespace: String,
    /// `--cluster`: its name.
    pub cluster: String,
    /// `--state-dir`.
    pub state_dir: PathBuf,
    /// The file of `--config`, or the defaults.
    pub config: Config,
    /// Where executor or fencer, alone in its container, says that it lives.
    pub health_listen: Option<SocketAddr>,
}

impl Options {
    /// `namespace/name`, as the state directory records it.
    pub fn cluster_key(&self) -> String {
        format!("{}/{}", self.namespace, self.cluster)
    }

    /// Who the ring part becomes; the other parts hear it. Where the agent is not root it stays who it is.
    pub fn ring_user(&self) -> Option<RingUser> {
        self.config.ring_user.filter(|_| rustix::process::geteuid().is_root())
    }

    /// Where the sockets of the parts and the records of running processes are.
    pub fn run_dir(&self) -> RunDir {
        RunDir::at(self.config.run_dir.clone().unwrap_or_else(|| PathBuf::from(RUN_DIR)))
    }
}

/// Default of `run_dir`.
pub const RUN_DIR: &str = "/run/palisade";

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Sockets of the parts, and records of running processes; must not survive a reboot. `/run/palisade`.
    #[serde(default)]
    pub run_dir: Option<PathBuf>,
    /// Root-owned folder with process templates. `/etc/palisade/processes`.
    #[serde(default)]
    pub process_templates: Option<PathBuf>,
    /// HAProxy's program. `/usr/sbin/haproxy`.
    #[serde(default)]
    pub haproxy: Option<PathBuf>,
    /// OCF agents that objects may name, `["heartbeat/IPaddr2"]`. None by default: an agent runs as root.
    #[serde(default)]
    pub ocf_agents: Vec<AgentName>,
    /// Folder with `resource.d`. `/usr/lib/ocf`.
    #[serde(default)]
    pub ocf_root: Option<PathBuf>,
    /// Root-owned folder of files, one for each secret value that a resource names. `/etc/palisade/secrets`.
    #[serde(default)]
    pub secrets: Option<PathBuf>,
    /// Cgroup below the root of each hierarchy that processes of resources are moved to, for example `/palisade`: needed
    /// where the agent runs in a container. None: they stay in the agent's.
    #[serde(default)]
    pub resource_cgroup: Option<String>,
    /// As what processes of resources run.
    #[serde(default)]
    pub process_runtime: ProcessRuntime,
    /// Processes whose template names an image run as containers. None: such a template is refused.
    #[serde(default)]
    pub containers: Option<ContainersConfig>,
    /// D-Bus address of the machine's bus, for `process_runtime = "systemd"`. `unix:path=/run/dbus/system_bus_socket`.
    #[serde(default)]
    pub system_bus: Option<String>,
    /// File with the machine's system UUID. `/sys/class/dmi/id/product_uuid`.
    #[serde(default)]
    pub system_uuid_file: Option<PathBuf>,
    /// File with the boot id. `/proc/sys/kernel/random/boot_id`.
    #[serde(default)]
    pub boot_id_file: Option<PathBuf>,
    /// Metrics and health. None: not served.
    #[serde(default)]
    pub metrics_listen: Option<SocketAddr>,
    /// How long an agent that is stopped by a signal says that it will be away, in seconds: nobody fences or recovers for it
    /// meanwhile. 1 to 60; 10 by default. Longer where its successor may have to fetch an image first.
    #[serde(default)]
    pub planned_absence_s: Option<u8>,
    /// Watchdog of the machine. None: not used.
    #[serde(default)]
    pub watchdog: Option<WatchdogConfig>,
    /// How the executor takes its own machine down.
    #[serde(default)]
    pub self_fence: SelfFenceConfig,
    /// Interface of this machine on each network, over what the cluster object says.
    #[serde(default)]
    pub interfaces: BTreeMap<String, String>,
    /// Whether the ring asks the kernel for a real-time slice. Refusal is a condition, not an error.
    #[serde(default)]
    pub realtime: Realtime,
    /// Who the ring part is once it has opened what needs root. None: it stays who it is.
    #[serde(default)]
    pub ring_user: Option<RingUser>,
    /// A machine that is played by another process (`palisade dev`). None on every real machine.
    #[serde(default)]
    pub stand_in: Option<StandInConfig>,
}

/// A user and a group of the ring part's own, as numbers: a container has no names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingUser {
    /// Nobody else's.
    pub uid: u32,
    /// Its only group. Files of the API's account have to be readable for it.
    pub gid: u32,
}

/// What stands in for this machine's kernel and network. Refused outside of loopback.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandInConfig {
    /// Socket of whoever plays the kernel: addresses, neighbours, silence.
    pub kernel: PathBuf,
    /// Where the ring is bound here, link 0 first, in place of the addresses that the cluster object says.
    pub links: Vec<IpAddr>,
}

/// Containers in a containerd namespace of our own (CLUSTER.md section 8).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainersConfig {
    /// Containerd's socket. `/run/containerd/containerd.sock`.
    #[serde(default = "containerd_socket")]
    pub socket: PathBuf,
    /// Containerd's namespace; never the kubelet's, `k8s.io`, whose garbage collection would take images and containers.
    #[serde(default = "containerd_namespace")]
    pub namespace: String,
    /// That images are unpacked for. `overlayfs`.
    #[serde(default = "containerd_snapshotter")]
    pub snapshotter: String,
}

fn containerd_socket() -> PathBuf {
    "/run/containerd/containerd.sock".into()
}

fn containerd_namespace() -> String {
    "palisade".into()
}

fn containerd_snapshotter() -> String {
    "overlayfs".into()
}

/// Which watchdog, and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchdogConfig {
    /// Device of the kernel, for example `/dev/watchdog`.
    #[serde(default)]
    pub device: Option<PathBuf>,
    /// Socket of the lab's watchdog. Exactly one of the two.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// After this long without a feed the machine is reset. Longer than `agentRestartGrace` (CLUSTER.md section 8).
    pub timeout_s: u16,
}

impl WatchdogConfig {
    /// As a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s.into())
    }
}

/// How a machine is taken down by its own executor (SAFETY.md#S11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SelfFenceConfig {
    /// reboot(2), and the watchdog is not fed any more.
    #[default]
    Reboot,
    /// Only the watchdog is not fed any more: for machines that are simulated in one process.
    Watchdog,
}

/// As what processes of resources run (CLUSTER.md section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessRuntime {
    /// Under a shim of the agent's, where the agent is.
    #[default]
    Shim,
    /// As transient units of the machine's systemd.
    Systemd,
}

/// Real-time scheduling of the ring's thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Realtime {
    /// Ask for it.
    #[default]
    Try,
    /// Do not.
    Off,
}

/// Why the configuration was refused. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// As the system said it.
        error: std::io::Error,
    },
    /// The file is no TOML, or has a key that is not known.
    #[error("{}: {error}", .path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// With line and column.
        error: toml::de::Error,
    },
    /// A value that cannot work.
    #[error("{key}: {rule}")]
    Value {
        /// Which.
        key: &'static str,
        /// What is wrong and what to write.
        rule: &'static str,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |error| ConfigError::Read { path: path.into(), error };
        if std::fs::metadata(path).map_err(read)?.len() > FILE_BYTES_MAX {
            return Err(read(std::io::Error::other("longer than 64 KiB")));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::parse(&text).map_err(|error| match error {
            ConfigError::Syntax { error, .. } => ConfigError::Syntax { path: path.into(), error },
            other => other,
        })
    }

    /// Reads the text of a file and checks it.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Syntax { path: PathBuf::new(), error })?;
        config.check()?;
        Ok(config)
    }

    /// Announced when the agent is stopped by a signal: an upgrade, or a restart by its supervisor (CLUSTER.md section 5).
    pub fn planned_absence(&self) -> Duration {
        Duration::from_secs(self.planned_absence_s.unwrap_or(10).into())
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.planned_absence_s.is_some_and(|seconds| !(1..=60).contains(&seconds)) {
            return Err(ConfigError::Value {
                key: "planned_absence_s",
                rule: "must be 1 to 60: whoever is away longer is fenced",
            });
        }
        if self
            .ring_user
            .is_some_and(|user| [user.uid, user.gid].iter().any(|id| [0, u32::MAX].contains(id)))
        {
            return Err(ConfigError::Value {
                key: "ring_user",
                rule: "must name a user and a group other than root's; leave it out to let the ring part stay root",
            });
        }
        if self.containers.as_ref().is_some_and(|given| given.namespace == "k8s.io") {
            return Err(ConfigError::Value {
                key: "containers.namespace",
                rule: "must not be the kubelet's: it deletes images and containers that it does not know",
            });
        }
        if let Some(watchdog) = &self.watchdog {
            if watchdog.device.is_some() == watchdog.socket.is_some() {
                return Err(ConfigError::Value {
                    key: "watchdog",
                    rule: "name either a device or a socket",
                });
            }
            if watchdog.timeout_s < 2 {
                return Err(ConfigError::Value {
                    key: "watchdog.timeout_s",
                    rule: "must be at least 2, and longer than agentRestartGrace of the cluster",
                });
            }
        }
        if let Some(stand_in) = &self.stand_in
            && (stand_in.links.is_empty() || !stand_in.links.iter().all(IpAddr::is_loopback))
        {
            return Err(ConfigError::Value {
                key: "stand_in.links",
                rule: "must be addresses of loopback: a real machine has no stand-in",
            });
        }
        if self.stand_in.is_some() && self.haproxy.is_some() {
            return Err(ConfigError::Value {
                key: "haproxy",
                rule: "does not go with [stand_in]: machines that are played have one loopback, where HAProxy's copies would meet",
            });
        }
        let bad_name = |name: &String| {
            name.is_empty() || name.len() > 63 || name.contains(|c: char| c.is_whitespace())
        };
        if self.interfaces.iter().any(|(network, interface)| {
            bad_name(network) || bad_name(interface) || interface.len() > 15
        }) {
            return Err(ConfigError::Value {
                key: "interfaces",
                rule: "must read network = \"interface\", interfaces with at most 15 characters",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, text).expect("written");
        Config::load(&path)
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(load("").expect("valid"), Config::default());
    }

    #[test]
    fn a_whole_file_reads() {
        let config = load(
            r#"
            run_dir = "/run/ctl-1"
            process_templates = "/etc/palisade/processes"
            system_uuid_file = "/etc/palisade/uuid"
            metrics_listen = "127.0.0.1:9465"
            planned_absence_s = 45
            process_runtime = "systemd"
            system_bus = "unix:path=/run/dbus/system_bus_socket"
            self_fence = "watchdog"
            realtime = "off"
            [watchdog]
            socket = "/run/watchdog.sock"
            timeout_s = 10
            [interfaces]
            public = "eth0"
            [containers]
            "#,
        )
        .expect("valid");
        let containers = config.containers.as_ref().expect("there");
        assert_eq!(containers.namespace, "palisade");
        assert_eq!(containers.snapshotter, "overlayfs");
        assert_eq!(config.interfaces["public"], "eth0");
        assert_eq!(config.planned_absence(), Duration::from_secs(45));
        assert_eq!(config.process_runtime, ProcessRuntime::Systemd);
        assert_eq!(config.watchdog.expect("there").timeout(), Duration::from_secs(10));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_place() {
        assert!(load("process_runtime = \"sh\"").is_err());
        let unknown = load("watchdgo = 1").expect_err("unknown").to_string();
        assert!(unknown.contains("watchdgo"), "{unknown}");
        for text in [
            "planned_absence_s = 0",
            "planned_absence_s = 61",
            "[ring_user]\nuid = 0\ngid = 65533",
            "[ring_user]\nuid = 65533\ngid = 0",
            "[watchdog]\ntimeout_s = 10",
            "[watchdog]\ndevice = \"/dev/watchdog\"\ntimeout_s = 1",
            "[containers]\nnamespace = \"k8s.io\"",
            "[interfaces]\npublic = \"an interface name that is too long\"",
            "[stand_in]\nkernel = \"/run/k\"\nlinks = [\"10.0.0.1\"]",
            "[stand_in]\nkernel = \"/run/k\"\nlinks = []",
            "haproxy = \"/h\"\n[stand_in]\nkernel = \"/run/k\"\nlinks = [\"127.0.0.1\"]",
        ] {
            let refused = load(text);
            assert!(matches!(refused, Err(ConfigError::Value { .. })), "{text}: {refused:?}");
        }
    }
}
