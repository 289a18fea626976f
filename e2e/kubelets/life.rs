//! The life of an installation, and what must be so on the way.

use super::cluster::{CONTAINERS, Cluster, RELEASE};
use super::{Agent, Given, node, static_pod};
use crate::clock::{monotonic_ns, wait_until};
use crate::machine::Machine;
use crate::observation::vip;
use crate::observer::events::What;
use crate::observer::verdict::ms;
use crate::power::{self, PowerEvent};
use crate::product::TREE;
use crate::records::ProcessRecord;
use crate::scenario::report::Checks;
use crate::scenario::stack::progress;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// From `helm install` to service.
const SERVICE: Duration = Duration::from_secs(240);
/// A machine that was cut off and powered on again: boot, kubelet, pods, join.
const BACK: Duration = Duration::from_secs(180);
/// Longer than any lifetime that an address has.
const WITHOUT_AGENTS: Duration = Duration::from_secs(45);

type Part = fn(&Cluster, &mut Checks) -> Result<()>;

/// In this order; each needs the ones before it to have left a cluster that serves.
const PARTS: [(&str, Part); 5] = [
    ("install", install),
    ("power-cut", power_cut),
    ("test", test),
    ("upgrade", upgrade),
    ("uninstall", uninstall),
];

/// From an earlier version and back.
const VERSIONS: [(&str, Part); 2] = [("install", install), ("versions", versions)];

/// With agents as units of the machines.
const UNITS: [(&str, Part); 2] = [("install", install), ("all-cut", all_cut)];

/// With agents as static pods.
const STATIC: [(&str, Part); 3] =
    [("install", install), ("replace", replace), ("all-cut", all_cut)];

/// With a service that comes as an image.
const IMAGES: [(&str, Part); 6] = [
    ("install", install),
    ("container", container),
    ("power-cut", power_cut),
    ("container", container),
    ("upgrade", upgrade),
    ("uninstall", uninstall),
];

/// Runs the parts; `install` is always one.
pub(super) fn run(cluster: &Cluster, given: &Given, checks: &mut Checks) -> Result<()> {
    let only = &given.only;
    let parts: &[(&str, Part)] = match given {
        Given { agent: Agent::Unit, .. } => &UNITS,
        Given { agent: Agent::StaticPod, .. } => &STATIC,
        Given { containers: true, .. } => &IMAGES,
        Given { before: Some(_), .. } => &VERSIONS,
        _ => &PARTS,
    };
    if let Some(unknown) = only.iter().find(|o| !parts.iter().any(|(name, _)| name == o)) {
        let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
        bail!("no part {unknown}: there are {}", names.join(", "));
    }
    for (name, part) in parts {
        if *name == "install" || only.is_empty() || only.iter().any(|o| o == name) {
            progress(name);
            let begun = Instant::now();
            part(cluster, checks).context(*name)?;
            progress(&format!("{name}: {:.0} s", begun.elapsed().as_secs_f64()));
        }
    }
    Ok(())
}

fn install(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let begun = Instant::now();
    cluster.install()?;
    if cluster.agent() == Agent::StaticPod {
        cluster.put_static_pods()?;
    }
    let names = cluster.stack().lab().machines();
    let names: Vec<&str> = names.iter().map(Machine::name).collect();
    cluster.kubectl(&[&["label", "node"], &names[..], &["palisade.dev/member=true"]].concat())?;
    progress("kubectl apply -f manifests/quickstart/");
    cluster.kubectl(&["apply", "-f", &format!("{TREE}/manifests/quickstart")])?;
    cluster.stack().wait_whole(SERVICE)?;
    checks.figure("install_to_service_s", begun.elapsed().as_secs_f64());
    checks.check(
        "service",
        true,
        format!("{:.1} s after helm install", begun.elapsed().as_secs_f64()),
    );
    let rolled = cluster.rolled_out();
    checks.done("all pods of the release are ready", &rolled);
    let who = |label: &str| -> Result<usize> {
        let pods = cluster.get(&["pods", "-l", &format!("app.kubernetes.io/component={label}")])?;
        Ok(pods["items"].as_array().map_or(0, Vec::len))
    };
    let seen = format!(
        "{} agents, {} fencers, {} controllers",
        who("agent")?,
        who("fencer")?,
        who("controller")?
    );
    let wanted = match cluster.agent() {
        Agent::Pods => "3 agents, 3 fencers, 2 controllers",
        Agent::Unit => "0 agents, 0 fencers, 2 controllers",
        Agent::StaticPod => "3 agents, 0 fencers, 2 controllers",
    };
    checks.check("its pods", seen == wanted, seen);
    Ok(())
}

/// Failover as in the core, with agents as pods; the machine comes back by its kubelet alone.
fn power_cut(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let stack = cluster.stack();
    let holder = stack.holder()?;
    let begun = monotonic_ns();
    progress(&format!("pulling the plug of {}", holder.name()));
    power::off(&holder, "scenario")?;
    let who = stack.wait_served_by_other(begun, &holder, Duration::from_secs(60))?;
    checks.check(
        "another machine serves",
        who.is_some(),
        format!("{who:?}, not {}", holder.name()),
    );
    std::thread::sleep(Duration::from_secs(2));
    let verdict = stack.observation().verdict_since(begun.saturating_sub(1_000_000_000))?;
    let gap = verdict.longest_gap_ms.unwrap_or(f64::INFINITY);
    checks.figure("power_cut_gap_ms", gap);
    checks.check("within L1 (6 s)", gap <= 6000.0, format!("{gap:.0} ms"));
    let overlap = verdict.overlap_ms();
    checks.check("nothing ran twice", overlap == 0.0, format!("{overlap:.0} ms"));
    let asked = verdict.shots.iter().any(|s| s.machine == holder.name());
    let found = incident(cluster, &holder)?;
    let off = found.as_ref().is_some_and(|i| !i["phases_ms"]["verify"].is_null());
    checks.check(
        "it was verified off before that",
        off,
        format!("asked for off: {asked}; {found:?}"),
    );
    let pressed = Instant::now();
    progress(&format!("plugging {} in again", holder.name()));
    power::on(&holder, "person")?;
    stack.wait_whole(BACK)?;
    let back = pressed.elapsed().as_secs_f64();
    checks.figure("back_s", back);
    checks.check("the machine comes back", true, format!("a member {back:.1} s after power-on"));
    cluster.rolled_out()
}

/// All machines lose power while the API is away: no kubelet starts a DaemonSet's pod then, but units and static pods come back.
fn all_cut(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let stack = cluster.stack();
    stack.api().stop_api()?;
    for machine in stack.lab().machines() {
        power::off(&machine, "scenario")?;
    }
    std::thread::sleep(Duration::from_secs(2));
    let begun = monotonic_ns();
    progress("power on, with the API away");
    for machine in stack.lab().machines() {
        power::on(&machine, "scenario")?;
    }
    let who = stack.wait_served(begun, Duration::from_secs(90))?;
    let took = ms(monotonic_ns() - begun) / 1000.0;
    checks.figure("all_cut_service_s", took);
    let away = !stack.api().is_ready();
    let seen = format!("{who:?} {took:.1} s after power-on");
    checks.check("the address is served again", who.is_some(), seen);
    checks.check("with the API away", away, away.to_string());
    stack.api().start_api()?;
    stack.wait_whole(BACK)?;
    cluster.nodes_ready()?;
    cluster.rolled_out()
}

/// Another version of a static pod is another file, on one machine after the other; what runs for the resources goes on.
fn replace(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let text = cluster.static_pod("log.level=info\\,totem=debug")?;
    in_turn(cluster, checks, "replace", 3, &|| {
        for machine in cluster.stack().lab().machines() {
            let before = agent_on(cluster, &machine)?;
            static_pod::put(&machine, &text)?;
            progress(&format!("another static pod on {}", machine.name()));
            let another = || {
                let now = agent_on(cluster, &machine).ok();
                now.is_some_and(|now| now != before && now["ready"] == true)
            };
            if !wait_until(BACK, another) {
                bail!("{}: no other pod is ready after {} s", machine.name(), BACK.as_secs());
            }
            cluster.stack().wait_whole(BACK)?;
        }
        Ok(String::new())
    })
}

/// The agent's pod of a machine: what it was made from, and whether it is ready.
fn agent_on(cluster: &Cluster, machine: &Machine) -> Result<serde_json::Value> {
    let pod = cluster.get(&["pod", &format!("{RELEASE}-agent-{}", machine.name())])?;
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions
        .is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
    Ok(
        serde_json::json!({"of": pod["metadata"]["annotations"]["kubernetes.io/config.hash"], "ready": ready}),
    )
}

/// The service is a container of the machine's containerd, in no pod: its process is that of the one task there is.
fn container(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let stack = cluster.stack();
    let running = Running::now(cluster)?;
    let mut tasks = Vec::new();
    for machine in stack.lab().machines() {
        let said = node::ctr(stack.lab(), &machine, CONTAINERS, &["tasks", "ls"])?;
        let rows = said.lines().skip(1).map(|row| row.split_whitespace().map(str::to_owned));
        tasks.extend(rows.map(|row| (machine.name().to_owned(), row.collect::<Vec<_>>())));
    }
    let [process] = running.processes.as_slice() else {
        bail!("{:?} run, and one was to", running.pids());
    };
    // Its number for the host, for the machine, in the container.
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid))?;
    let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap_or_default();
    let own = numbers.split_whitespace().rev().nth(1).unwrap_or_default().to_owned();
    let its = |(on, row): &(String, Vec<String>)| {
        *on == running.holder.name()
            && row.get(1) == Some(&own)
            && row.get(2).is_some_and(|s| s == "RUNNING")
    };
    let one = tasks.len() == 1 && tasks.iter().all(its);
    let seen = format!("{tasks:?}; pid {numbers} on {}", running.holder.name());
    checks.check("the service is the one task of our namespace", one, seen);
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid))?;
    let apart = groups.contains("/palisade/palisade-") && !groups.contains("kubepods");
    checks.check("it is in no pod's cgroup", apart, groups.replace('\n', " "));
    Ok(())
}

/// What a survivor's status says about the last incident of a machine.
fn incident(cluster: &Cluster, lost: &Machine) -> Result<Option<serde_json::Value>> {
    let stack = cluster.stack();
    let mut best: Option<serde_json::Value> = None;
    for machine in stack.others(lost) {
        let status = stack.status(&machine)?;
        let all = status["incidents"].as_array().cloned().unwrap_or_default();
        let known =
            |i: &serde_json::Value| i["phases_ms"].as_object().map_or(0, serde_json::Map::len);
        if let Some(last) = all.into_iter().rev().find(|i| i["node"] == lost.name())
            && best.as_ref().is_none_or(|b| known(b) < known(&last))
        {
            best = Some(last);
        }
    }
    Ok(best)
}

fn test(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    // It asks whether there is quorum at this moment.
    cluster.stack().wait_whole(BACK)?;
    let said = cluster.helm(&["test", RELEASE, "--timeout", "120s"]);
    checks.done("helm test", &said);
    let succeeded = said.as_ref().map_or(0, |s| s.matches("Phase:          Succeeded").count());
    checks.check("both tests ran and succeeded", succeeded == 2, format!("{succeeded}"));
    Ok(())
}

/// What runs for the resources, so that "the same" can be said of it.
struct Running {
    holder: Machine,
    processes: Vec<ProcessRecord>,
    since_ns: u64,
}

impl Running {
    fn now(cluster: &Cluster) -> Result<Self> {
        let holder = cluster.stack().holder()?;
        let pids = holder.processes_with("serve-node-id");
        let processes: Vec<ProcessRecord> =
            pids.iter().filter_map(|pid| ProcessRecord::of(*pid).ok()).collect();
        if processes.is_empty() {
            bail!("{} serves and no process of the resource is seen on it", holder.name());
        }
        Ok(Self { holder, processes, since_ns: monotonic_ns() })
    }

    fn pids(&self) -> Vec<i32> {
        self.processes.iter().map(|p| p.pid).collect()
    }

    /// The same processes, on the same machine, and nobody was shot.
    fn unchanged(&self, cluster: &Cluster, checks: &mut Checks, what: &str) -> Result<()> {
        let stack = cluster.stack();
        let alive = self.processes.iter().all(ProcessRecord::is_alive);
        let now = self.holder.processes_with("serve-node-id");
        let seen = format!("{:?}, then {now:?} on {}", self.pids(), self.holder.name());
        checks.check(&format!("{what}: the same processes"), alive && now == self.pids(), seen);
        let holder = stack.holder()?;
        let same = holder.name() == self.holder.name();
        checks.check(&format!("{what}: the same machine serves"), same, holder.name().to_owned());
        let verdict = stack.observation().verdict_since(self.since_ns)?;
        let gap = verdict.longest_gap_ms.unwrap_or(f64::INFINITY);
        checks.figure(&format!("{what}_gap_ms"), gap);
        // Not the longest gap: two cores that start six pods are late, and that is no loss.
        let lost = verdict.http_tries - verdict.http_good;
        let seen = format!("{lost} of {} were not, the latest by {gap:.0} ms", verdict.http_tries);
        checks.check(&format!("{what}: every request is answered"), lost == 0, seen);
        let away = stack.observation().events()?.into_iter().filter(|e| {
            e.at_ns >= self.since_ns
                && matches!(&e.what, What::AddressRemoved { address, .. } if *address == vip())
        });
        let away = away.count();
        checks.check(
            &format!("{what}: the address never leaves its machine"),
            away == 0,
            format!("{away} times"),
        );
        let log = power::read_log(stack.lab().dir())?;
        let shots: Vec<String> = log
            .iter()
            .filter(|l| l.at_ns >= self.since_ns)
            .filter(|l| {
                matches!(
                    l.event,
                    PowerEvent::AskedOff | PowerEvent::AskedReset | PowerEvent::Rebooted
                )
            })
            .map(|l| {
                format!(
                    "{} {:?} by {} after {:.0} ms",
                    l.machine,
                    l.event,
                    l.caller,
                    ms(l.at_ns - self.since_ns)
                )
            })
            .collect();
        checks.check(&format!("{what}: nobody was shot"), shots.is_empty(), shots.join("; "));
        Ok(())
    }
}

/// A changed value, all agents in turn, and back.
fn upgrade(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let set = "log.level=info\\,totem=debug";
    in_turn(cluster, checks, "upgrade", 6, &|| cluster.upgrade(set))?;
    in_turn(cluster, checks, "rollback", 6, &|| cluster.helm(&["rollback", RELEASE, "1"]))
}

/// From the earlier version, with which the cluster was installed, to this one and back (issue of the image: N-1, N, N-1).
fn versions(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let set = format!("image.tag={}", cluster.tag());
    in_turn(cluster, checks, "to_this_version", 6, &|| cluster.upgrade(&set))?;
    in_turn(cluster, checks, "back_to_the_earlier", 6, &|| {
        cluster.helm(&["rollback", RELEASE, "1"])
    })
}

/// All agents are replaced, and what runs for the resources is not.
fn in_turn(
    cluster: &Cluster,
    checks: &mut Checks,
    what: &str,
    all: usize,
    begin: &dyn Fn() -> Result<String>,
) -> Result<()> {
    let pods = || -> Result<Vec<String>> {
        let pods = cluster.get(&["pods", "-l", "app.kubernetes.io/component in (agent,fencer)"])?;
        let items = pods["items"].as_array().context("pods")?;
        Ok(items.iter().filter_map(|p| p["metadata"]["uid"].as_str().map(str::to_owned)).collect())
    };
    let running = Running::now(cluster)?;
    let before = pods()?;
    let begun = Instant::now();
    begin()?;
    cluster.rolled_out()?;
    cluster.stack().wait_whole(BACK)?;
    let took = begun.elapsed().as_secs_f64();
    checks.figure(&format!("{what}_s"), took);
    let after = pods()?;
    let kept = after.iter().filter(|uid| before.contains(uid)).count();
    checks.check(
        &format!("{what}: all {all} pods are others"),
        kept == 0 && after.len() == all,
        format!("{kept} of {} are the same, {took:.0} s", after.len()),
    );
    running.unchanged(cluster, checks, what)
}

/// Removal leaves the address and its process; a new install adopts them.
fn uninstall(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let stack = cluster.stack();
    let running = Running::now(cluster)?;
    let said = cluster.helm(&["uninstall", RELEASE, "--wait", "--timeout", "120s"]);
    checks.done("helm uninstall", &said);
    let none = || {
        let pods = cluster.get(&["pods"]).ok();
        pods.is_some_and(|p| p["items"].as_array().is_some_and(Vec::is_empty))
    };
    let gone = wait_until(Duration::from_secs(90), none);
    checks.check("all pods are gone", gone, cluster.kubectl(&["get", "pods", "-o", "name"])?);
    std::thread::sleep(WITHOUT_AGENTS);
    running.unchanged(cluster, checks, "uninstall")?;
    cluster.install()?;
    stack.wait_whole(SERVICE)?;
    cluster.rolled_out()?;
    running.unchanged(cluster, checks, "install-again")?;
    Ok(())
}
