//! What a scenario runs on: a lab, an API server, the product on three machines, an observer.

use crate::bmc;
use crate::clock::{monotonic_ns, wait_until};
use crate::kubebox::{KubeBox, Parts};
use crate::lab::{self, Lab, LabSpec};
use crate::machine::{BootEntry, Machine};
use crate::observation::Observation;
use crate::observer::audit::{Cursor, Requests};
use crate::observer::events::What;
use crate::observer::verdict::Verdict;
use crate::power;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Namespace of all objects.
pub const NAMESPACE: &str = "palisade";
/// Name of the `HACluster`.
pub const CLUSTER: &str = "quickstart";
/// The product's controller, as a service of the lab.
const CONTROLLER: &str = "palisade-controller";
/// From power-on of all machines to service, at most.
const SETTLE: Duration = Duration::from_secs(120);
/// Between service and the fault.
const REST: Duration = Duration::from_secs(10);
/// Between two words about something that is waited for.
const SAY_EVERY_S: u64 = 4;
/// Longer than `agentRestartGrace`, 5 s by default (CLUSTER.md section 8).
pub const WATCHDOG_S: u16 = 10;
/// Where the agents answer with their metrics.
const METRICS_PORT: u16 = 9465;

/// How to set it up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The lab's folder.
    pub dir: PathBuf,
    /// Its name.
    pub name: String,
    /// The product; a build with a sabotage in it, for seeing red.
    pub palisade: PathBuf,
    /// The observer.
    pub observer: PathBuf,
    /// This crate's program.
    pub e2e: PathBuf,
    /// From power-on to the first sign of life.
    pub boot_delay_ms: u64,
    /// Leave the lab up at the end.
    pub keep: bool,
    /// Apply neither CRDs nor manifests: for stand-ins that read none.
    pub without_objects: bool,
    /// Give each machine a watchdog.
    pub watchdog: bool,
    /// The rule that is broken, in a product that can be sabotaged.
    pub sabotage: Option<String>,
}

impl Options {
    /// This program's arguments for the same in another lab; nothing is built again.
    #[must_use]
    pub fn arguments(&self, verb: &[&str], out: &Path) -> Vec<String> {
        let (out, palisade) = (out.display().to_string(), self.palisade.display().to_string());
        let boot = self.boot_delay_ms.to_string();
        let with = ["--built", "--palisade", &palisade, "--out", &out, "--boot-delay-ms", &boot];
        let watchdog = self.watchdog.then_some("--watchdog");
        let all = verb.iter().chain(&with).copied().chain(watchdog);
        all.map(str::to_owned).collect()
    }
}

/// A cluster that serves.
pub struct Stack {
    lab: Lab,
    api: KubeBox,
    observation: Observation,
    audit: Option<Cursor>,
    /// When the set-up was reached: gaps before it are no gaps.
    ready_ns: u64,
    /// Nobody else may use this lab while this lives.
    _lock: File,
}

impl Stack {
    /// Sets everything up; the address answers and all members are there when this returns.
    pub fn up(options: &Options) -> Result<Self> {
        let mut this = Self::start(options)?;
        progress("waiting until all machines are members and the address answers");
        if let Err(error) = this.wait_whole(SETTLE) {
            let kept = options.dir.with_extension("failed");
            let _ = this.save_logs(&kept);
            if !options.keep {
                this.lab.down()?;
            }
            return Err(error).with_context(|| format!("the set-up; logs in {}", kept.display()));
        }
        // What starts is not at rest: BMCs are compared, statuses written, two cores are busy.
        progress("all members are there; rest before the fault");
        std::thread::sleep(REST);
        this.wait_whole(SETTLE).context("the set-up did not stay")?;
        this.ready_ns = monotonic_ns();
        Ok(this)
    }

    /// Sets everything up and powers the machines on, without waiting for service.
    pub fn start(options: &Options) -> Result<Self> {
        let lock = lab::lock(&options.dir)?;
        let started = Self::start_locked(options, lock);
        if started.is_err()
            && !options.keep
            && let Ok(lab) = Lab::open(&options.dir)
        {
            lab.down()?;
        }
        started
    }

    fn start_locked(options: &Options, lock: File) -> Result<Self> {
        progress("three machines, their networks and BMCs");
        let spec =
            LabSpec { boot_delay_ms: options.boot_delay_ms, ..LabSpec::three(&options.name) };
        let lab = Lab::create(&options.dir, spec, &options.e2e)?;
        for machine in lab.machines() {
            fresh_disk(&machine)?;
        }
        lab.adopt_program(&options.palisade, "palisade")?;
        progress("etcd and the API server");
        let api = KubeBox::start(&lab, Parts { controllers: true, scheduler: false })?;
        let audit = api.audit_log().map(|log| Cursor::at_end(&log)).transpose()?;
        if !options.without_objects {
            progress("kubectl apply -f crds/, roles, secrets");
            prepare_api(&lab, &api)?;
        }
        for machine in lab.machines() {
            crate::systemd::disable(&machine)?;
            prepare_machine(&lab, &api, &machine, options)?;
        }
        start_controller(&lab, &api)?;
        if !options.without_objects {
            progress("kubectl apply -f manifests/quickstart/");
            api.kubectl(&["apply", "-f", &tree("manifests/quickstart")])?;
        }
        progress("power on; agents, controller");
        for machine in lab.machines() {
            power::on(&machine, "scenario")?;
        }
        let out = lab.dir().join("events.jsonl");
        let observation = Observation::start(&lab, &options.observer, &out)?;
        Ok(Self { lab, api, observation, audit, ready_ns: 0, _lock: lock })
    }

    /// What was set up in another way.
    pub(crate) fn over(
        lab: Lab,
        api: KubeBox,
        observation: Observation,
        lock: File,
    ) -> Result<Self> {
        let audit = api.audit_log().map(|log| Cursor::at_end(&log)).transpose()?;
        Ok(Self { lab, api, observation, audit, ready_ns: 0, _lock: lock })
    }

    /// Ends it; keeps the logs of one that did not pass.
    pub fn end(self, dir: &Path, passed: bool, options: &Options) -> Result<()> {
        if !passed {
            self.save_logs(dir)?;
        }
        if !options.keep {
            self.lab.down()?;
        }
        Ok(())
    }

    fn save_logs(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        for name in ["events.jsonl", "power.jsonl"] {
            let _ = fs::copy(self.lab.dir().join(name), dir.join(name));
        }
        for (log, name) in self.logs() {
            let _ = fs::copy(log, dir.join(name));
        }
        Ok(())
    }

    fn logs(&self) -> Vec<(PathBuf, String)> {
        let mut logs = vec![(self.lab.service_log(CONTROLLER), "controller.log".to_owned())];
        for machine in self.lab.machines() {
            for log in ["agent", "console"] {
                logs.push((machine.log(log), format!("{}-{log}.log", machine.name())));
            }
        }
        logs
    }

    /// The lab.
    #[must_use]
    pub const fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The API.
    #[must_use]
    pub const fn api(&self) -> &KubeBox {
        &self.api
    }

    /// The observer.
    #[must_use]
    pub const fn observation(&self) -> &Observation {
        &self.observation
    }

    /// What was observed: overlaps from the very beginning, gaps since the set-up was reached.
    pub fn verdict(&self) -> Result<Verdict> {
        let mut whole = self.observation.verdict()?;
        let since = self.observation.verdict_since(self.ready_ns)?;
        whole.longest_gap = since.longest_gap;
        whole.longest_gap_ms = since.longest_gap_ms;
        Ok(whole)
    }

    /// Writes to our objects since the set-up.
    pub fn api_writes(&self) -> Result<Requests> {
        self.audit.as_ref().map_or_else(|| Ok(Requests::new()), |c| c.writes("palisade.dev"))
    }

    /// Lines of logs that no run may have.
    #[must_use]
    pub fn bad_news(&self) -> Vec<String> {
        const BAD: [&str; 3] = ["panicked at", "assertion failed", "unreachable code"];
        let mut found = Vec::new();
        for (log, name) in self.logs() {
            let Ok(text) = fs::read_to_string(&log) else { continue };
            let bad = text.lines().filter(|l| BAD.iter().any(|b| l.contains(b)));
            found.extend(bad.take(3).map(|l| format!("{name}: {l}")));
        }
        found
    }

    /// Starts the controller, and the API server before it.
    pub fn start_api(&self) -> Result<()> {
        self.api.start_api()?;
        start_controller(&self.lab, &self.api)
    }

    /// Ends the controller and the API server.
    pub fn stop_api(&self) -> Result<()> {
        self.lab.end_service(CONTROLLER)?;
        self.api.stop_api()
    }

    /// Who answered the last good try that began after `since_ns`.
    pub fn served_by(&self, since_ns: u64) -> Result<Option<String>> {
        let events = self.observation.recent_events()?;
        Ok(events.into_iter().rev().find_map(|e| match e.what {
            What::Http { start_ns, node } if start_ns > since_ns => node,
            _ => None,
        }))
    }

    /// The machine that serves now.
    pub fn holder(&self) -> Result<Machine> {
        let begun = monotonic_ns();
        let mut name = None;
        wait_until(Duration::from_secs(5), || {
            name = self.served_by(begun).ok().flatten();
            name.is_some()
        });
        self.lab.machine(&name.context("nobody serves")?)
    }

    /// Waits until somebody serves again; answers who, if in time.
    pub fn wait_served(&self, since_ns: u64, limit: Duration) -> Result<Option<String>> {
        let mut who = None;
        wait_until(limit, || {
            who = self.served_by(since_ns).ok().flatten();
            who.is_some()
        });
        Ok(who)
    }

    /// Waits until somebody other than `lost` serves; answers who, if in time.
    pub fn wait_served_by_other(
        &self,
        since_ns: u64,
        lost: &Machine,
        limit: Duration,
    ) -> Result<Option<String>> {
        let mut who = None;
        wait_until(limit, || {
            who = self.served_by(since_ns).ok().flatten().filter(|w| w != lost.name());
            who.is_some()
        });
        Ok(who)
    }

    /// `palisade status` of the agent on a machine, from its local socket. Its exit code says whether
    /// there is quorum; what it prints counts here.
    pub fn status(&self, machine: &Machine) -> Result<serde_json::Value> {
        let argv = self.on_machine(&["status", "--output", "json", "--agent", SOCKET]);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let output = machine.command(&argv)?.stdin(std::process::Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if text.trim().is_empty() {
            bail!("{}: {}", machine.name(), crate::command::said(&output));
        }
        serde_json::from_str(&text).context("`palisade status --output json`")
    }

    /// Runs the product's command line on a machine.
    pub fn palisade(&self, machine: &Machine, args: &[&str]) -> Result<String> {
        let argv = self.on_machine(args);
        machine.exec(&argv.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A frozen agent must not hang the scenario.
    fn on_machine(&self, args: &[&str]) -> Vec<String> {
        let program = self.lab.program("palisade").display().to_string();
        let limit = ["timeout", "10"].map(str::to_owned);
        limit.into_iter().chain([program]).chain(args.iter().map(|a| (*a).to_owned())).collect()
    }

    /// Waits until all machines are members of one open era and the address answers; says now and
    /// then for what.
    pub fn wait_whole(&self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut why = String::from("nothing was seen");
        let mut said = 0;
        while begun.elapsed() < limit {
            if begun.elapsed().as_secs() >= said + SAY_EVERY_S {
                said += SAY_EVERY_S;
                progress(&format!("{said:>3} s: {why}"));
            }
            match self.whole() {
                Ok(()) => return Ok(()),
                Err(error) => why = format!("{error:#}"),
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        bail!("not whole after {} s: {why}", limit.as_secs())
    }

    fn whole(&self) -> Result<()> {
        let all = self.lab.machines();
        for machine in &all {
            let status = self.status(machine)?;
            let members = status["ring"]["members"].as_array().map_or(0, Vec::len);
            if members != all.len() || status["era"]["open"] != true {
                let (state, era) = (&status["ring"]["state"], &status["era"]["waiting_for"]);
                let name = machine.name();
                bail!("{name}: ring {state} of {members}, its era waits for {era}");
            }
        }
        let recently = monotonic_ns().saturating_sub(500_000_000);
        self.served_by(recently)?.context("the address does not answer").map(drop)
    }

    /// The machines other than this one.
    #[must_use]
    pub fn others(&self, machine: &Machine) -> Vec<Machine> {
        self.lab.machines().into_iter().filter(|m| m.name() != machine.name()).collect()
    }
}

/// The agent's local socket on its machine.
pub const SOCKET: &str = "/run/palisade/agent.sock";

pub(crate) fn progress(what: &str) {
    eprintln!("  lab: {what}");
}

fn tree(path: &str) -> String {
    Path::new(crate::product::TREE).join(path).display().to_string()
}

/// What an earlier scenario left on the disk must not help or hinder this one.
pub(crate) fn fresh_disk(machine: &Machine) -> Result<()> {
    let disk = machine.dir().join("disk");
    fs::remove_dir_all(&disk).with_context(|| format!("removing {}", disk.display()))?;
    machine.prepare()?;
    // The BMC must say the new machine's UUID: it is made anew with it.
    machine.lab().end_service(&format!("bmc-{}", machine.name()))?;
    bmc::start(machine.lab(), machine)
}

fn prepare_api(lab: &Lab, api: &KubeBox) -> Result<()> {
    secrets(lab, api)?;
    api.kubectl(&["apply", "--server-side", "-f", &tree("crds")])?;
    let names = ["haclusters", "fencedevices", "virtualips", "resourceplacements"];
    let crds: Vec<String> = names.iter().map(|n| format!("crd/{n}.palisade.dev")).collect();
    let mut wait = vec!["wait", "--for=condition=Established", "--timeout=30s"];
    wait.extend(crds.iter().map(String::as_str));
    api.kubectl(&wait)?;
    // a given cluster may have roles and bindings of ours already
    for file in ["rights", "rbac.yaml"] {
        let file = tree(&format!("e2e/manifests/{file}"));
        api.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file])?;
    }
    Ok(())
}

/// The namespace, and what people bring: the ring's key and the BMCs' credentials.
pub(crate) fn secrets(lab: &Lab, api: &KubeBox) -> Result<()> {
    let namespace = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
    });
    apply(lab, api, "namespace", &namespace)?;
    let key = format!("1 {}{}", random_hex(), random_hex());
    secret(lab, api, "ring-key", &[("key", &key)])?;
    for machine in lab.machines() {
        let password = bmc::password(&machine)?;
        let entries = [("username", bmc::USER), ("password", password.as_str())];
        secret(lab, api, &format!("bmc-{}", machine.name()), &entries)?;
    }
    Ok(())
}

/// 16 random bytes. A UUID has a few fixed bits: fine for a key that is thrown away with the lab.
fn random_hex() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// By a file: what stands in argv can be read by everybody.
fn secret(lab: &Lab, api: &KubeBox, name: &str, entries: &[(&str, &str)]) -> Result<()> {
    let data: serde_json::Map<_, _> =
        entries.iter().map(|(k, v)| ((*k).to_owned(), serde_json::Value::from(*v))).collect();
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": data,
    });
    apply(lab, api, &format!("secret-{name}"), &object)
}

/// On the server's side: a given cluster may have it already, and no annotation keeps a copy.
fn apply(lab: &Lab, api: &KubeBox, name: &str, object: &serde_json::Value) -> Result<()> {
    let file = lab.dir().join("kube").join(format!("{name}.json"));
    crate::records::write_json(&file, object)?;
    let made = api.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]);
    crate::records::remove(&file)?;
    made.map(drop)
}

fn prepare_machine(lab: &Lab, api: &KubeBox, machine: &Machine, options: &Options) -> Result<()> {
    let mut config = format!(
        "system_uuid_file = \"/etc/palisade/system-uuid\"\nmetrics_listen = \"0.0.0.0:{METRICS_PORT}\"\n"
    );
    if options.watchdog {
        let socket = crate::watchdog::socket(machine);
        config += &format!("[watchdog]\nsocket = {socket:?}\ntimeout_s = {WATCHDOG_S}\n");
    }
    fs::write(machine.disk("etc/palisade/agent.toml"), config)?;
    templates(lab, machine)?;
    let kubeconfig = api.kubeconfig(&format!("agent-{}", machine.name()));
    let argv = [
        &lab.program("palisade").display().to_string(),
        "agent",
        "--node-name",
        machine.name(),
        "--kubeconfig",
        &kubeconfig.display().to_string(),
        "--namespace",
        NAMESPACE,
        "--cluster",
        CLUSTER,
        "--state-dir",
        "/var/lib/palisade",
        "--config",
        "/etc/palisade/agent.toml",
    ];
    machine.set_boot_list(&[BootEntry {
        name: "agent".into(),
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        env: options.sabotage.iter().map(|s| ("PALISADE_SABOTAGE".into(), s.clone())).collect(),
        restart_ms: Some(100), // systemd's default
    }])?;
    crate::records::remove(&machine.log("agent"))
}

/// The processes of manifests/quickstart and, under a name that the observer does not follow, of e2e/manifests/balanced.yaml.
pub(crate) fn templates(lab: &Lab, machine: &Machine) -> Result<()> {
    let templates = machine.disk("etc/palisade/processes");
    fs::create_dir_all(&templates)?;
    for (name, verb, port) in [("web", "serve-node-id", 80), ("each", "answer-node-id", 8081)] {
        let template = format!(
            "argv = [\"{}\", \"{verb}\", \"--port\", \"{port}\"]\nstop_timeout_ms = 3000\nmonitor = {{ http = {port} }}\n",
            lab.program("e2e").display()
        );
        fs::write(templates.join(format!("{name}.toml")), template).context("the template")?;
    }
    Ok(())
}

fn start_controller(lab: &Lab, api: &KubeBox) -> Result<()> {
    let program = lab.program("palisade").display().to_string();
    let config = api.kubeconfig("controller").display().to_string();
    let argv = [&program, "controller", "--kubeconfig", &config, "--namespace", NAMESPACE];
    lab.start_service(CONTROLLER, Some(&lab.namespaces().api()), &argv).map(drop)
}
