//! A machine of the lab as a node: containerd, kubelet, what they are configured by, the images that they have.

use super::programs::Programs;
use super::{Agent, Given, static_pod};
use crate::clock::wait_until;
use crate::kubebox::node_keys;
use crate::lab::Lab;
use crate::machine::{BootEntry, Machine};
use crate::network::Network;
use crate::scenario::stack::{CLUSTER, NAMESPACE, templates};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Where containerd answers on each machine.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// Pods of a machine are 10.78.N.0/24, N its host part.
fn pods(machine: &Machine) -> String {
    format!("10.78.{}.0/24", machine.address(Network::Api).octets()[3])
}

/// Folders outside of the machine's disk: an overlay cannot lie upon an overlay, and containerd's snapshots are some.
fn folder(machine: &Machine, name: &str) -> PathBuf {
    machine.dir().join(name)
}

/// Empties what an earlier run left on it, and writes what it is configured by. It must be off.
pub(super) fn prepare(
    lab: &Lab,
    machine: &Machine,
    programs: &Programs,
    given: &Given,
) -> Result<()> {
    for name in ["containerd", "kubelet"] {
        let folder = folder(machine, name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
    }
    for top in ["etc/containerd", "etc/cni/net.d", "etc/kubernetes"] {
        fs::create_dir_all(machine.disk(top))?;
    }
    fs::write(machine.disk("etc/containerd/config.toml"), containerd(machine, programs))?;
    let network = json!({"cniVersion": "1.0.0", "name": "lab", "plugins": [{
        "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": pods(machine)}]],
            "routes": [{"dst": "0.0.0.0/0"}]}}]});
    fs::write(machine.disk("etc/cni/net.d/10-lab.conflist"), network.to_string())?;
    let mut config = kubelet(lab, machine);
    if given.agent == Agent::StaticPod {
        config["staticPodPath"] = static_pod::FOLDER.into();
        fs::create_dir_all(machine.disk(static_pod::FOLDER.trim_start_matches('/')))?;
    }
    fs::write(machine.disk("etc/kubernetes/kubelet.json"), config.to_string())?;
    templates(lab, machine)?;
    if given.containers {
        container_template(machine)?;
    }
    // As on a real node: what Palisade starts can be a unit of the machine, beside its pods.
    let others: &[&str] = match given.agent {
        Agent::Pods | Agent::StaticPod => &[],
        Agent::Unit => {
            unit(lab, machine)?;
            &[UNIT]
        }
    };
    crate::systemd::enable(machine, &boot_list(lab, machine), others)
}

/// `web` of the quickstart as a service that comes as an image; its port is below 1024.
fn container_template(machine: &Machine) -> Result<()> {
    let template = format!(
        "image = {:?}\nargv = [\"/e2e\", \"serve-node-id\", \"--port\", \"80\"]\nuser = \"0:0\"\n\
         stop_timeout_ms = 3000\nmonitor = {{ http = 80 }}\n",
        crate::image::SERVICE
    );
    fs::write(machine.disk("etc/palisade/processes/web.toml"), template).context("the template")
}

const UNIT: &str = "palisade-agent.service";

/// The unit as people get it; only the program lies elsewhere, as /usr is the host's.
fn unit(lab: &Lab, machine: &Machine) -> Result<()> {
    let from = format!("{}/manifests/machine/{UNIT}", crate::product::TREE);
    let text = fs::read_to_string(&from).with_context(|| from.clone())?;
    let there = "/usr/local/bin/palisade";
    if !text.contains(&format!("ExecStart={there} ")) {
        bail!("{from} does not start {there}");
    }
    let units = machine.disk("etc/systemd/system");
    fs::create_dir_all(&units)?;
    fs::write(
        units.join(UNIT),
        text.replace(there, &lab.program("palisade").display().to_string()),
    )?;
    let kubeconfig = lab.dir().join(format!("kube/agent-{}.kubeconfig", machine.name()));
    let environment = format!(
        "NODE_NAME={}\nNAMESPACE={NAMESPACE}\nCLUSTER={CLUSTER}\nKUBECONFIG={}\n",
        machine.name(),
        kubeconfig.display()
    );
    fs::write(machine.disk("etc/palisade/agent.env"), environment)?;
    let config = "process_runtime = \"systemd\"\nsystem_uuid_file = \"/etc/palisade/system-uuid\"\n\
                  metrics_listen = \"0.0.0.0:9465\"\n";
    fs::write(machine.disk("etc/palisade/agent.toml"), config).context("the agent's configuration")
}

fn boot_list(lab: &Lab, machine: &Machine) -> Vec<BootEntry> {
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", lab.dir().join("bin").display());
    let env: BTreeMap<String, String> = [("PATH".into(), path)].into();
    let own = |name: &str| lab.program(name).display().to_string();
    let entry = |name: &str, argv: Vec<String>| BootEntry {
        name: name.into(),
        argv,
        env: env.clone(),
        restart_ms: Some(300),
    };
    let root = |name| folder(machine, name).display().to_string();
    let kubeconfig = lab.dir().join(format!("kube/{}.kubeconfig", node_keys(machine.name())));
    vec![
        entry("containerd", vec![own("containerd"), "--config=/etc/containerd/config.toml".into()]),
        entry(
            "kubelet",
            vec![
                own("kubelet"),
                "--config=/etc/kubernetes/kubelet.json".into(),
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--root-dir={}", root("kubelet")),
                format!("--cert-dir={}/pki", root("kubelet")),
                format!("--hostname-override={}", machine.name()),
                format!("--node-ip={}", machine.address(Network::Api)),
            ],
        ),
        BootEntry {
            restart_ms: None,
            // As docs/install.md asks of whoever runs agents in containers.
            ..entry(
                "sysctl",
                ["sysctl", "-w", "net.ipv4.conf.all.promote_secondaries=1"]
                    .map(str::to_owned)
                    .to_vec(),
            )
        },
    ]
}

fn containerd(machine: &Machine, programs: &Programs) -> String {
    format!(
        "version = 3\nroot = {root:?}\nstate = \"/run/containerd\"\n\
         disabled_plugins = [\"io.containerd.nri.v1.nri\", \"io.containerd.snapshotter.v1.blockfile\", \
         \"io.containerd.snapshotter.v1.erofs\", \"io.containerd.internal.v1.opt\", \
         \"io.containerd.image-verifier.v1.bindir\"]\n\
         [grpc]\naddress = {SOCKET:?}\n\
         [plugins.\"io.containerd.cri.v1.images\"]\nsnapshotter = \"overlayfs\"\n\
         [plugins.\"io.containerd.cri.v1.images\".pinned_images]\nsandbox = {pause:?}\n\
         [plugins.\"io.containerd.cri.v1.runtime\"]\n\
         # without CAP_SYS_RESOURCE no process may be made harder to kill\n\
         restrict_oom_score_adj = true\n\
         [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc]\n\
         runtime_type = \"io.containerd.runc.v2\"\n\
         [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options]\n\
         BinaryName = {runc:?}\nRoot = \"/run/runc\"\nSystemdCgroup = false\n\
         [plugins.\"io.containerd.cri.v1.runtime\".cni]\n\
         bin_dirs = [{cni:?}]\nconf_dir = \"/etc/cni/net.d\"\n",
        root = folder(machine, "containerd"),
        pause = crate::image::PAUSE,
        runc = programs.runc,
        cni = programs.cni,
    )
}

fn kubelet(lab: &Lab, machine: &Machine) -> serde_json::Value {
    let keys =
        |ending: &str| lab.dir().join(format!("kube/{}.{ending}", node_keys(machine.name())));
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "failCgroupV1": false, "failSwapOn": false, "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "port": 10250, "readOnlyPort": 0, "healthzBindAddress": "127.0.0.1", "healthzPort": 10248,
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": lab.dir().join("kube/ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": keys("crt"), "tlsPrivateKeyFile": keys("key"),
        // A full disk of the host must not empty the lab's nodes.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "2s", "nodeLeaseDurationSeconds": 8,
        "resolvConf": "", "makeIPTablesUtilChains": false, "oomScoreAdj": 0,
    })
}

/// Gives a running machine images, which it keeps, in a namespace of its containerd.
pub(super) fn import(
    lab: &Lab,
    machine: &Machine,
    namespace: &str,
    archives: &[PathBuf],
) -> Result<()> {
    if !wait_until(Duration::from_secs(60), || ctr(lab, machine, namespace, &["version"]).is_ok()) {
        bail!(
            "containerd of {} does not answer: see {}",
            machine.name(),
            machine.log("containerd").display()
        );
    }
    for archive in archives {
        let archive = archive.display().to_string();
        let words = ["images", "import", "--all-platforms", "--snapshotter", "overlayfs", &archive];
        ctr(lab, machine, namespace, &words).with_context(|| format!("importing {archive}"))?;
    }
    Ok(())
}

/// containerd's own client, on a machine.
pub(super) fn ctr(lab: &Lab, machine: &Machine, namespace: &str, words: &[&str]) -> Result<String> {
    let program = lab.program("ctr").display().to_string();
    machine.exec(&[&[program.as_str(), "-a", SOCKET, "-n", namespace], words].concat())
}

/// The way back from the API server to a machine's pods.
pub(super) fn route(lab: &Lab, machine: &Machine) -> Result<()> {
    let line = format!("route replace {} via {}\n", pods(machine), machine.address(Network::Api));
    crate::command::ip_batch(&lab.namespaces().api(), &line)
}
