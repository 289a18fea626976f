//! The cluster: control plane, nodes, chart, objects.

use super::node;
use super::programs::Programs;
use super::{Agent, Given, static_pod};
use crate::chart::Tools;
use crate::clock::wait_until;
use crate::image::{self, Made};
use crate::kubebox::{KubeBox, Parts};
use crate::lab::{self, Lab, LabSpec};
use crate::observation::Observation;
use crate::power;
use crate::scenario::stack::{CLUSTER, NAMESPACE, Options, Stack, progress};
use crate::scenario::stack::{fresh_disk, secrets};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name of the release.
pub(super) const RELEASE: &str = "palisade";
/// Containerd's namespace for services that come as images.
pub(super) const CONTAINERS: &str = "palisade";
/// Two cores, three kubelets.
const SLOW: Duration = Duration::from_secs(180);

/// A cluster with the chart in it.
pub(super) struct Cluster {
    stack: Stack,
    tools: Tools,
    values: PathBuf,
    /// The one that is installed first.
    chart: String,
    made: Made,
    agent: Agent,
}

impl Cluster {
    /// From nothing to three nodes that are ready, with nothing on them.
    pub(super) fn up(given: &Given, options: &Options, out: &Path) -> Result<Self> {
        if std::env::var_os("KUBECONFIG").is_some_and(|k| !k.is_empty()) {
            bail!("the nodes are the lab's own, and so is their API server: unset KUBECONFIG");
        }
        let tools = Tools::find()?;
        let programs = Programs::find()?;
        let made = match &given.image {
            Some(archive) => image::made_before(archive)?,
            None => image::make(out, None, None)?,
        };
        let earlier = given.before.as_deref().map(image::of_commit).transpose()?;
        let pause = out.join("pause.tar");
        image::pause(&pause, programs.pause())?;
        let lock = lab::lock(&options.dir)?;
        let service = out.join("service.tar");
        if given.containers {
            image::of_one_program(&options.e2e, &service, image::SERVICE)?;
        }
        let up = || -> Result<Self> {
            let (lab, api) = Self::machines(options, &programs, given)?;
            // Where machines can see them: each has a /tmp and a /root of its own.
            let folder = lab.dir().join("images");
            fs::create_dir_all(&folder)?;
            let mut images = vec![(&pause, "pause.tar"), (&made.archive, "palisade.tar")];
            images.extend(earlier.as_ref().map(|e| (&e.image.archive, "earlier.tar")));
            let copied = |(from, name): (&PathBuf, &str)| -> Result<PathBuf> {
                let to = folder.join(name);
                fs::copy(from, &to).with_context(|| format!("copying {}", from.display()))?;
                Ok(to)
            };
            let images = images.into_iter().map(copied).collect::<Result<Vec<_>>>()?;
            let services: Vec<_> =
                given.containers.then_some((&service, "service.tar")).into_iter().collect();
            let services = services.into_iter().map(copied).collect::<Result<Vec<_>>>()?;
            for machine in lab.machines() {
                node::import(&lab, &machine, "k8s.io", &images)?;
                node::import(&lab, &machine, CONTAINERS, &services)?;
            }
            let observed = lab.dir().join("events.jsonl");
            let observation = Observation::start(&lab, &options.observer, &observed)?;
            let first = earlier.as_ref().map_or(&made, |earlier| &earlier.image);
            let values = write_values(&lab, first, given)?;
            let chart = earlier.as_ref().map_or_else(chart, |earlier| chart_of(&earlier.tree));
            let stack = Stack::over(lab, api, observation, lock)?;
            let this = Self { stack, tools, values, chart, made, agent: given.agent };
            this.nodes_ready()?;
            Ok(this)
        };
        let up = up();
        if up.is_err()
            && !options.keep
            && let Ok(lab) = Lab::open(&options.dir)
        {
            lab.down()?;
        }
        up
    }

    fn machines(options: &Options, programs: &Programs, given: &Given) -> Result<(Lab, KubeBox)> {
        progress("three machines, their networks and BMCs");
        let spec =
            LabSpec { boot_delay_ms: options.boot_delay_ms, ..LabSpec::three(&options.name) };
        let lab = Lab::create(&options.dir, spec, &options.e2e)?;
        lab.adopt_program(&options.palisade, "palisade")?;
        programs.adopt(&lab)?;
        for machine in lab.machines() {
            fresh_disk(&machine)?;
        }
        progress("etcd, API server, controllers, scheduler");
        let api = KubeBox::start(&lab, Parts { controllers: true, scheduler: true })?;
        secrets(&lab, &api)?;
        if given.agent == Agent::Unit {
            // What the chart's accounts may, for users with certificates.
            for file in ["rights", "rbac.yaml"] {
                let file = format!("{}/e2e/manifests/{file}", crate::product::TREE);
                api.kubectl(&["apply", "--server-side", "-f", &file])?;
            }
        }
        for machine in lab.machines() {
            node::prepare(&lab, &machine, programs, given)?;
            node::route(&lab, &machine)?;
        }
        progress("power on; containerd, kubelets");
        for machine in lab.machines() {
            power::on(&machine, "scenario")?;
        }
        Ok((lab, api))
    }

    pub(super) const fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Waits until all kubelets say that their machine is ready.
    pub(super) fn nodes_ready(&self) -> Result<()> {
        progress("waiting until all nodes are ready");
        let all = self.stack.lab().machines().len();
        let begun = Instant::now();
        let ready = || self.ready_nodes().is_ok_and(|ready| ready == all);
        if !wait_until(SLOW, ready) {
            let said = self.stack.api().kubectl(&["get", "nodes", "-o", "wide"]);
            bail!("not all nodes are ready: {}", said.unwrap_or_default());
        }
        progress(&format!("{all} nodes ready after {:.1} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    fn ready_nodes(&self) -> Result<usize> {
        let nodes: Value =
            serde_json::from_str(&self.stack.api().kubectl(&["get", "nodes", "-o", "json"])?)?;
        let items = nodes["items"].as_array().context("nodes")?;
        let ready = |node: &&Value| {
            let conditions = node["status"]["conditions"].as_array();
            conditions
                .is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        Ok(items.iter().filter(ready).count())
    }

    /// kubectl as the admin, in the namespace of the release.
    pub(super) fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.stack.api().kubectl(&[&["-n", NAMESPACE], args].concat())
    }

    /// `kubectl get ... -o json`.
    pub(super) fn get(&self, what: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get"], what, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).context("kubectl's JSON")
    }

    /// helm, in the namespace of the release.
    pub(super) fn helm(&self, args: &[&str]) -> Result<String> {
        let config = self.stack.api().kubeconfig("host").display().to_string();
        self.tools.helm(&[args, &["-n", NAMESPACE, "--kubeconfig", &config]].concat())
    }

    /// `helm install` of the first version's chart, with the lab's values.
    pub(super) fn install(&self) -> Result<String> {
        let values = self.values.display().to_string();
        // Roles may be there from before, where agents are no pods.
        self.helm(&["install", RELEASE, &self.chart, "-f", &values, "--take-ownership"])
    }

    /// `helm upgrade` to this version's chart, the lab's values and one more.
    pub(super) fn upgrade(&self, set: &str) -> Result<String> {
        let values = self.values.display().to_string();
        self.helm(&["upgrade", RELEASE, &chart(), "-f", &values, "--set", set])
    }

    /// As what agents run.
    pub(super) const fn agent(&self) -> Agent {
        self.agent
    }

    /// The static pod's file by the chart, with the lab's values and one more.
    pub(super) fn static_pod(&self, set: &str) -> Result<String> {
        let values = self.values.display().to_string();
        let shown = ["--show-only", "templates/static-pod.yaml", "--kube-version=1.31.0"];
        let set = ["--set", "agent.staticPod.render=true", "--set", set];
        let args = ["template", RELEASE, &chart(), "-f", &values];
        self.tools.helm(&[&args[..], &["-n", NAMESPACE], &shown, &set].concat())
    }

    /// Makes the agents static pods of the machines.
    pub(super) fn put_static_pods(&self) -> Result<()> {
        progress("credentials and the static pod's file, on each machine");
        let text = self.static_pod("log.level=info")?;
        for machine in self.stack.lab().machines() {
            static_pod::credentials(self, &machine)?;
            static_pod::put(&machine, &text)?;
        }
        Ok(())
    }

    /// The tag of this version's image.
    pub(super) fn tag(&self) -> &str {
        self.made.reference.rsplit(':').next().unwrap_or_default()
    }

    /// Waits until what the release rolls out stands.
    pub(super) fn rolled_out(&self) -> Result<()> {
        let all = self.kubectl(&["get", "daemonset,deployment", "-o", "name"])?;
        for what in all.lines() {
            progress(&format!("waiting for {what}"));
            self.kubectl(&["rollout", "status", what, "--timeout=300s"])?;
        }
        if self.agent == Agent::StaticPod {
            progress("waiting for the static pods");
            let agents = "app.kubernetes.io/component=agent";
            let wait = ["wait", "pods", "-l", agents, "--for=condition=Ready", "--timeout=300s"];
            self.kubectl(&wait)?;
        }
        Ok(())
    }

    /// Keeps the logs of one that did not pass.
    pub(super) fn end(self, dir: &Path, passed: bool, options: &Options) -> Result<()> {
        if !passed {
            for (name, args) in [
                ("pods.txt", &["get", "pods", "-o", "wide"][..]),
                ("events.txt", &["get", "events", "--sort-by=.lastTimestamp"]),
                ("describe.txt", &["describe", "pods"]),
                ("objects.yaml", &["get", "palisade", "-o", "yaml"]),
            ] {
                let said = self.kubectl(args).unwrap_or_else(|e| format!("{e:#}"));
                fs::write(dir.join(name), said)?;
            }
            for pod in self.kubectl(&["get", "pods", "-o", "name"]).unwrap_or_default().lines() {
                let log =
                    self.kubectl(&["logs", pod, "--all-containers", "--prefix", "--tail=400"]);
                let log = log.unwrap_or_else(|e| format!("{e:#}"));
                fs::write(dir.join(format!("{}.log", pod.replace('/', "-"))), log)?;
            }
            for machine in self.stack.lab().machines() {
                for log in ["console", "containerd", "kubelet"] {
                    let to = dir.join(format!("{}-{log}.log", machine.name()));
                    let _ = fs::copy(machine.log(log), to);
                }
            }
        }
        self.stack.end(dir, passed, options)
    }
}

fn chart() -> String {
    chart_of(crate::product::TREE.as_ref())
}

fn chart_of(tree: &Path) -> String {
    tree.join("charts/palisade").display().to_string()
}

/// What the lab sets, beside the chart's defaults. Nothing that a run does not need: an earlier version's chart refuses
/// values that it does not know.
fn write_values(lab: &Lab, made: &Made, given: &Given) -> Result<PathBuf> {
    let pods = given.agent == Agent::Pods;
    let (repository, tag) = made.reference.rsplit_once(':').context("NAME:TAG")?;
    let bmcs: Vec<String> = lab.machines().iter().map(|m| format!("bmc-{}", m.name())).collect();
    let api = crate::network::Network::Api.address(crate::network::API_SERVER_HOST);
    let mut agent = json!({
        "enabled": pods,
        // The machines share a kernel, whose boot id and firmware are not theirs.
        "identity": {"systemUuidFile": "/etc/palisade/system-uuid", "bootIdFile": "/proc/sys/kernel/random/boot_id"},
        "processes": {"enabled": true, "runtime": "systemd"},
    });
    if given.agent == Agent::StaticPod {
        agent["onMachines"] = json!(true);
    }
    if given.containers {
        agent["containers"] = json!({"enabled": true, "namespace": CONTAINERS});
    }
    let values = json!({
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        "cluster": {"name": CLUSTER},
        "api": {"host": api, "port": 6443},
        "secrets": {"bmc": bmcs},
        "fencer": {"enabled": pods},
        "agent": agent,
    });
    let file = lab.dir().join("values.json");
    crate::records::write_json(&file, &values)?;
    Ok(file)
}
