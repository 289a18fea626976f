//! Start, stop, look and reload, for the executor.

use core::time::Duration;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::PathBuf,
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use base::{NodeName, Proxy, ResourceId, ResourceKind};
use lifecycle::Outcome;
use rustix::process::{Signal, kill_process};
use tokio::{
    io::AsyncReadExt as _,
    process::Command,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{
    admin, files,
    intent::Intent,
    place::{Place, plain, servers_on},
    render::{Surroundings, fingerprint, render},
};
use crate::{
    power::BoxFuture,
    process::Cgroups,
    resource::{Instance, ResourceDriver, Survivor, failed, ocf},
};

/// Between two looks while something comes up.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A reload takes tens of milliseconds; one that takes longer is said to have failed, and tried again by the next check.
const RELOAD_WITHIN: Duration = Duration::from_secs(4);
/// `haproxy -c` of the largest configuration takes tens of milliseconds.
const CHECK_WITHIN: Duration = Duration::from_secs(4);
/// Of what it says about a configuration that it refuses.
const SAID_BYTES_MAX: u64 = 16 * 1024;
/// Connections to a dead server are cut off after this, however long the object lets them come about.
const CONNECTING_MAX: Duration = Duration::from_secs(2);
/// Folders that are looked at.
const SURVIVORS_MAX: usize = 1024;

/// Which program balances.
#[derive(Clone, Debug)]
pub enum Engine {
    /// The real one.
    Haproxy {
        /// `/usr/sbin/haproxy`.
        program: PathBuf,
        /// Its workers' user and group; `None` where this program is not root.
        user: Option<String>,
    },
    /// No HAProxy: a program that reads an [`Intent`] and understands the same words and signals, where there is no network
    /// to be bound to.
    StandIn {
        /// The program and its first arguments; the balancer's folder is the last one.
        program: Vec<String>,
        /// Socket of whoever plays this machine's kernel.
        kernel: PathBuf,
    },
}

impl Engine {
    /// Where Debian and its like put it; its user where there is one and we may become it.
    pub fn haproxy(program: PathBuf) -> Self {
        let root = rustix::process::geteuid().is_root();
        let user = root && matches!(nix::unistd::User::from_name("haproxy"), Ok(Some(_)));
        Self::Haproxy { program, user: user.then(|| "haproxy".into()) }
    }

    pub(super) fn argv(&self, place: &Place) -> io::Result<Vec<String>> {
        let text = |path: PathBuf| plain(&path).map(str::to_owned);
        match self {
            // In the foreground (-db): the shim is its parent.
            Self::Haproxy { program, .. } => Ok(vec![
                text(program.clone())?,
                "-W".into(),
                "-db".into(),
                "-S".into(),
                format!("{},mode,600,level,admin", text(place.path("master.sock"))?),
                "-f".into(),
                text(place.path(self.file()))?,
            ]),
            Self::StandIn { program, .. } => {
                Ok(program.iter().cloned().chain([text(place.path(""))?]).collect())
            }
        }
    }

    /// Of its configuration.
    const fn file(&self) -> &'static str {
        match self {
            Self::Haproxy { .. } => "haproxy.cfg",
            Self::StandIn { .. } => Intent::FILE,
        }
    }

    /// Asks to end when the connections have.
    pub(super) const fn stop_signal(&self) -> &'static str {
        match self {
            Self::Haproxy { .. } | Self::StandIn { .. } => "USR1",
        }
    }
}

/// Where things lie on this machine.
#[derive(Clone, Debug)]
pub struct BalancerConfig {
    /// A folder for each balancer below it; `/run/palisade/balancers`. Lost at a power cut.
    pub root: PathBuf,
    /// As [`crate::process::ProcessConfig::shim`].
    pub shim: Vec<OsString>,
    /// Whether a shim leaves the agent's cgroups.
    pub cgroups: Cgroups,
    /// Which program.
    pub engine: Engine,
}

/// Runs load balancers.
pub struct BalancerDriver {
    config: BalancerConfig,
    /// Machines that are known to be dead; `None` before anybody said so.
    gone: Mutex<Option<BTreeSet<NodeName>>>,
}

impl BalancerDriver {
    /// Looks at nothing yet.
    pub const fn new(config: BalancerConfig) -> Self {
        Self { config, gone: Mutex::new(None) }
    }

    fn gone(&self) -> BTreeSet<NodeName> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// All machines that are known to be dead: what runs sends nothing there from now on, and again to those that are back.
    pub async fn set_gone(&self, machines: BTreeSet<NodeName>) {
        let before = {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            gone.replace(machines.clone())
        };
        for (resource, place, proxy) in self.all() {
            let back = |node: &NodeName| {
                !machines.contains(node) && before.as_ref().is_none_or(|b| b.contains(node))
            };
            for (servers, state) in [
                (servers_on(&proxy, |node| machines.contains(node)).collect::<Vec<_>>(), "maint"),
                (servers_on(&proxy, back).collect(), "ready"),
            ] {
                for server in servers {
                    let words = format!("set server {server} state {state}");
                    if state == "maint" {
                        let words = format!("shutdown sessions server {server}");
                        tokio::spawn(later(place.admin(), words, connecting(&proxy)));
                    }
                    match admin::ask(&place.admin(), &words).await.as_deref().map(str::trim) {
                        Ok("") => info!(%resource, server, state, "told"),
                        Ok(said) => warn!(%resource, server, state, said, "was not taken"),
                        Err(error) => warn!(%resource, server, state, %error, "was not told"),
                    }
                }
            }
        }
    }

    /// Everything that has a folder.
    fn all(&self) -> Vec<(ResourceId, Place, Proxy)> {
        let Ok(entries) = fs::read_dir(&self.config.root) else { return Vec::new() };
        let mut all: Vec<_> = entries
            .take(SURVIVORS_MAX)
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<ResourceId>().ok())
            .filter_map(|resource| {
                let place = Place::of(&self.config, &resource).ok()?;
                let proxy = place.proxy()?;
                Some((resource, place, proxy))
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Writes the configuration where it will be read, unless the program refuses it: then what lies there stays.
    async fn write(
        &self,
        place: &Place,
        resource: &ResourceId,
        proxy: &Proxy,
    ) -> Result<(), Unusable> {
        let broken = |error: io::Error| Unusable::Broken(error.to_string());
        let admin = place.admin();
        plain(&admin).map_err(broken)?;
        let gone = self.gone();
        let bytes = match &self.config.engine {
            Engine::StandIn { kernel, .. } => {
                let intent = Intent::new(resource, proxy, gone, kernel.clone());
                intent.check().map_err(Unusable::Refused)?;
                serde_json::to_vec_pretty(&intent).map_err(|e| Unusable::Broken(e.to_string()))?
            }
            Engine::Haproxy { program, user } => {
                let text = render(
                    proxy,
                    &Surroundings {
                        resource,
                        admin: &admin,
                        user: user.as_deref(),
                        elsewhere: user.is_some(),
                        connections_max: files::connections(proxy, files::limit()),
                        gone: &gone,
                    },
                );
                place.write("haproxy.try", text.as_bytes()).map_err(broken)?;
                check(program, &place.path("haproxy.try")).await?;
                text.into_bytes()
            }
        };
        let json = serde_json::to_vec(proxy).map_err(|e| Unusable::Broken(e.to_string()))?;
        place.write(self.config.engine.file(), &bytes).map_err(broken)?;
        place.write("proxy.json", &json).map_err(broken)
    }

    async fn up(&self, resource: &ResourceId, proxy: &Proxy) -> Outcome {
        let place = match Place::of(&self.config, resource) {
            Ok(place) => place,
            Err(error) => return failed(ocf::GENERIC, error),
        };
        if place.process.probe(inner(resource, &place)).await != Outcome::NotRunning {
            return self.converge(&place, resource, proxy).await;
        }
        if let Err(error) = place.prepare(&self.config.engine) {
            return failed(ocf::PERMISSION, error);
        }
        if let Err(refused) = self.write(&place, resource, proxy).await {
            return refused.outcome();
        }
        // The folder outlives an attempt that fails: nothing of it runs, and its files are replaced.
        match place.process.start(inner(resource, &place)).await {
            Outcome::Ok => {}
            other => return other,
        }
        loop {
            if place.process.run(inner(resource, &place)).await.is_none() {
                let said = last_line(&place.path("process"), resource);
                return failed(ocf::GENERIC, format_args!("it ended at once: {said}"));
            }
            if self.runs(&place, proxy).await == Ok(true) {
                return self.fits(proxy);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether what runs, runs with these parameters.
    async fn runs(&self, place: &Place, proxy: &Proxy) -> Result<bool, String> {
        let found = admin::running(&place.admin()).await.map_err(|error| error.to_string())?;
        Ok(found == fingerprint(proxy))
    }

    /// It runs. How many connections the stand-in takes is its own affair.
    fn fits(&self, proxy: &Proxy) -> Outcome {
        match self.config.engine {
            Engine::Haproxy { .. } => files::runs(proxy, files::limit()),
            Engine::StandIn { .. } => Outcome::Ok,
        }
    }

    /// What runs gets other parameters without losing a connection; where they are refused it goes on with those that it has.
    async fn converge(&self, place: &Place, resource: &ResourceId, proxy: &Proxy) -> Outcome {
        match self.runs(place, proxy).await {
            Ok(true) => return self.fits(proxy),
            Ok(false) => {}
            Err(why) => return failed(ocf::GENERIC, format_args!("its socket: {why}")),
        }
        let kept = |why: String| Outcome::Degraded {
            promoted: false,
            reason: format!("the new configuration is not in force, the one before goes on: {why}"),
        };
        if let Err(refused) = self.write(place, resource, proxy).await {
            warn!(%resource, why = refused.text(), "a configuration was refused; the one before goes on");
            return kept(refused.text());
        }
        let Some(process) = place.process.process(resource).and_then(|p| p.as_pid()) else {
            return Outcome::NotRunning;
        };
        if let Err(error) = kill_process(process, Signal::USR2) {
            return kept(error.to_string());
        }
        let until = Instant::now() + RELOAD_WITHIN;
        while Instant::now() < until {
            sleep(LOOK_EVERY).await;
            if self.runs(place, proxy).await == Ok(true) {
                info!(%resource, "reloaded");
                return self.fits(proxy);
            }
        }
        let why = format!(
            "the reload did not take effect: {}",
            last_line(&place.path("process"), resource)
        );
        warn!(%resource, why);
        kept(why)
    }

    async fn look(&self, resource: &ResourceId, proxy: Option<&Proxy>) -> Outcome {
        let place = match Place::of(&self.config, resource) {
            Ok(place) => place,
            Err(error) => return failed(ocf::GENERIC, error),
        };
        match (place.process.probe(inner(resource, &place)).await, proxy) {
            (Outcome::Ok, Some(proxy)) => self.converge(&place, resource, proxy).await,
            (other, _) => other,
        }
    }

    async fn down(&self, resource: &ResourceId) -> Outcome {
        let place = match Place::of(&self.config, resource) {
            Ok(place) => place,
            Err(error) => return failed(ocf::GENERIC, error),
        };
        let outcome = place.process.stop(inner(resource, &place)).await;
        if outcome == Outcome::Ok
            && let Err(error) = place.remove()
        {
            warn!(%resource, %error, "its folder was not removed");
        }
        outcome
    }
}

/// Who is connecting to a dead server goes to another one when that takes too long; cut off, it would hear an error. Who
/// is connected already hears nothing any more, and is cut off after that.
fn connecting(proxy: &Proxy) -> Duration {
    let longest = proxy.backends.iter().map(|b| b.connect_timeout_ms).max().unwrap_or_default();
    Duration::from_millis(longest.into()).min(CONNECTING_MAX) + LOOK_EVERY
}

async fn later(admin: PathBuf, words: String, after: Duration) {
    sleep(after).await;
    if let Err(error) = admin::ask(&admin, &words).await {
        // it may be gone, or another one by now: then there is nothing to be cut off
        info!(words, %error, "was not told");
    }
}

/// Why a configuration is not used.
enum Unusable {
    /// The program says so.
    Refused(String),
    /// It could not be asked.
    Broken(String),
    /// It is not on this machine.
    Absent(String),
}

impl Unusable {
    fn text(&self) -> String {
        match self {
            Self::Absent(why) | Self::Broken(why) | Self::Refused(why) => why.clone(),
        }
    }

    fn outcome(&self) -> Outcome {
        let code = match self {
            Self::Absent(_) => ocf::NOT_INSTALLED,
            Self::Broken(_) => ocf::GENERIC,
            Self::Refused(_) => ocf::NOT_CONFIGURED,
        };
        failed(code, self.text())
    }
}

/// Asks the program itself.
async fn check(program: &std::path::Path, file: &std::path::Path) -> Result<(), Unusable> {
    let mut command = Command::new(program);
    command.arg("-c").arg("-f").arg(file);
    command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().map_err(|error| {
        let program = program.display();
        match error.kind() {
            io::ErrorKind::NotFound => Unusable::Absent(format!(
                "{program} is not on this machine: install haproxy 2.6 or later there"
            )),
            _ => Unusable::Broken(format!("{program}: {error}")),
        }
    })?;
    let mut said = Vec::new();
    let work = async {
        if let Some(stderr) = child.stderr.take() {
            stderr.take(SAID_BYTES_MAX).read_to_end(&mut said).await?;
        }
        child.wait().await
    };
    match timeout(CHECK_WITHIN, work).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(_)) => {
            let said = String::from_utf8_lossy(&said);
            let alert = said.lines().find(|line| line.contains("[ALERT]")).unwrap_or("no reason");
            Err(Unusable::Refused(format!("haproxy -c: {}", alert.trim())))
        }
        Ok(Err(error)) => Err(Unusable::Broken(format!("haproxy -c: {error}"))),
        Err(_) => Err(Unusable::Broken("haproxy -c does not end".into())),
    }
}

/// What it said last, for people.
fn last_line(process: &std::path::Path, resource: &ResourceId) -> String {
    let text = fs::read(process.join(resource.as_str()).join("output.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let alert = text.lines().rev().find(|line| line.contains("[ALERT]"));
    alert.or_else(|| text.lines().last()).unwrap_or("it said nothing").trim().to_owned()
}

fn inner<'a>(resource: &'a ResourceId, place: &'a Place) -> Instance<'a> {
    Instance { resource, kind: &place.kind, lifetime: None }
}

fn wanted<'a>(instance: Instance<'a>) -> Result<&'a Proxy, Outcome> {
    match instance.kind {
        ResourceKind::LoadBalancer(proxy) => Ok(proxy),
        _ => Err(failed(ocf::NOT_CONFIGURED, "not a load balancer")),
    }
}

impl ResourceDriver for BalancerDriver {
    fn probe<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(instance.resource, None))
    }

    fn start<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match wanted(instance) {
                Ok(proxy) => self.up(instance.resource, proxy).await,
                Err(outcome) => outcome,
            }
        })
    }

    fn stop<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.down(instance.resource))
    }

    fn monitor<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match wanted(instance) {
                Ok(proxy) => self.look(instance.resource, Some(proxy)).await,
                Err(outcome) => outcome,
            }
        })
    }

    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for (_, place, proxy) in self.all() {
                for survivor in place.process.survivors().await {
                    let kind = Some(ResourceKind::LoadBalancer(proxy.clone()));
                    found.push(Survivor { kind, ..survivor });
                }
            }
            found
        })
    }

    fn run<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<u64>> {
        Box::pin(async move {
            let place = Place::of(&self.config, instance.resource).ok()?;
            place.process.run(inner(instance.resource, &place)).await
        })
    }
}
