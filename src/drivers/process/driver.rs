//! Start, stop and look, for the executor.

use core::{convert::Infallible, time::Duration};
use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use base::{Label, ResourceId, ResourceKind};
use lifecycle::Outcome;
use tokio::{
    process::Command,
    sync::oneshot,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{
    cgroup::Cgroups,
    monitor,
    proc::ProcessId,
    record::{Exit, Folder, Record},
    stop,
    template::{self, TemplateError},
    templated::{Begun, Depth, LOOK_EVERY, Templated, examine, spawn},
};
use crate::resource::{Survivor, failed, ocf};

/// A shim that has ended its process is gone after this, or something hangs.
const BURIAL_MAX: Duration = Duration::from_secs(2);

/// Where things lie on this machine.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Root-owned folder of templates; `/etc/palisade/processes`.
    pub templates: PathBuf,
    /// Lost at a power cut, kept over a restart of the agent; `/run/palisade/resources`.
    pub resources: PathBuf,
    /// The program that has the shim as a subcommand, and the words before the shim's own: `palisade`, `shim`.
    pub shim: Vec<OsString>,
    /// Whether a shim leaves the agent's cgroups.
    pub cgroups: Cgroups,
}

/// Runs processes from templates.
pub struct ProcessDriver {
    config: ProcessConfig,
}

impl ProcessDriver {
    /// Looks at nothing yet.
    pub const fn new(config: ProcessConfig) -> Self {
        Self { config }
    }

    /// How the last run of a resource ended, for people.
    pub fn last_exit(&self, resource: &ResourceId) -> Option<Exit> {
        self.folder(resource).read("exit.json")
    }

    /// Whether anything of a start of this resource is left here.
    pub fn holds(&self, resource: &ResourceId) -> bool {
        self.record(resource).is_some()
    }

    /// The process of a resource, while it lives.
    pub fn process(&self, resource: &ResourceId) -> Option<ProcessId> {
        self.record(resource).map(|record| record.process).filter(|process| process.alive())
    }

    fn folder(&self, resource: &ResourceId) -> Folder {
        Folder::new(&self.config.resources, resource)
    }

    /// The record of what lives, wholly or in part.
    fn record(&self, resource: &ResourceId) -> Option<Record> {
        let record: Record = self.folder(resource).read("record.json")?;
        (record.resource == *resource && stop::any_lives(&record)).then_some(record)
    }

    /// Waits until the monitor is content, or the process ended.
    async fn ready(&self, record: &Record, monitor: &template::Monitor) -> Outcome {
        loop {
            if !record.process.alive() {
                return failed(ocf::GENERIC, self.why_ended(record));
            }
            if monitor::look(monitor).await.is_ok() && record.process.alive() {
                return Outcome::Ok;
            }
            sleep(LOOK_EVERY * 4).await;
        }
    }

    fn why_ended(&self, record: &Record) -> String {
        let exit = self.last_exit(&record.resource).filter(|exit| exit.token == record.token);
        match exit {
            Some(Exit { status: Some(status), .. }) => format!("ended with status {status}"),
            Some(Exit { signal: Some(signal), .. }) => format!("ended by signal {signal}"),
            _ => "ended".into(),
        }
    }

    fn spawn(
        &self,
        resource: &ResourceId,
        template: &Label,
        token: &str,
    ) -> std::io::Result<(i32, oneshot::Receiver<std::io::Result<ExitStatus>>)> {
        let (program, words) = self
            .config
            .shim
            .split_first()
            .ok_or_else(|| std::io::Error::other("no shim program is configured"))?;
        let mut command = Command::new(program);
        command
            // What people look for in `ps`, by whatever path it was started.
            .arg0("palisade")
            .args(words)
            .arg("--resources")
            .arg(&self.config.resources)
            .arg("--templates")
            .arg(&self.config.templates)
            .args(["--resource", resource.as_str(), "--template", template.as_str()])
            .args(["--token", token])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(false);
        if let Cgroups::Leave { to } = &self.config.cgroups {
            command.args(["--cgroup", to]);
        }
        let mut child = command.spawn()?;
        let shim = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0);
        let (tell, told) = oneshot::channel();
        // Reaps it, whoever still listens.
        tokio::spawn(async move {
            let _ = tell.send(child.wait().await);
        });
        Ok((shim, told))
    }

    /// The record of what lives, after a shim that is just burying had time to end.
    async fn settled(&self, resource: &ResourceId) -> Option<Record> {
        let until = Instant::now() + BURIAL_MAX;
        loop {
            let record = self.record(resource)?;
            if record.process.alive() || Instant::now() >= until {
                return Some(record);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn begin(&self, resource: &ResourceId, name: &Label) -> Outcome {
        let template = match template::load(&self.config.templates, name) {
            Ok(template) => template,
            Err(error) => return template_failed(&error),
        };
        if template.image.is_some() {
            return no_containers();
        }
        let folder = self.folder(resource);
        if let Some(record) = self.settled(resource).await {
            if record.template != *name {
                let other = record.template;
                return failed(
                    ocf::GENERIC,
                    format_args!("runs from template {other}: stop it first"),
                );
            }
            if !record.process.alive() {
                return failed(
                    ocf::GENERIC,
                    "its first process ended and others are left: stop it first",
                );
            }
            return self.ready(&record, &template.monitor).await;
        }
        let prepared = folder.remove().and_then(|()| folder.create());
        if let Err(error) = prepared {
            return failed(ocf::PERMISSION, format_args!("{}: {error}", folder.path("").display()));
        }
        let token = token();
        let (shim, mut gone) = match self.spawn(resource, name, &token) {
            Ok(begun) => begun,
            Err(error) => return failed(ocf::NOT_INSTALLED, format_args!("the shim: {error}")),
        };
        // From here to the end of the start a call that is broken off takes the process with it.
        let begun = Begun::new(move || break_off(shim));
        let record = loop {
            if let Some(record) = folder.read::<Record>("record.json")
                && record.token == token
            {
                break record;
            }
            if let Ok(status) = gone.try_recv() {
                let why = fs::read_to_string(folder.path("error"));
                let why = why.unwrap_or_else(|_| format!("the shim ended: {status:?}"));
                return failed(ocf::NOT_CONFIGURED, why);
            }
            sleep(LOOK_EVERY).await;
        };
        for kept in &record.cgroups_kept {
            warn!(%resource, kept, "not left: the process may end with the agent's container");
        }
        info!(%resource, template = %name, pid = record.process.pid, "started");
        let outcome = self.ready(&record, &template.monitor).await;
        begun.keep();
        outcome
    }

    async fn end(&self, resource: &ResourceId) -> Outcome {
        let folder = self.folder(resource);
        let Some(record) = self.record(resource) else { return Outcome::Ok };
        let template = template::load(&self.config.templates, &record.template).ok();
        match stop::stop(&record, template.as_ref()).await {
            Ok(()) => {
                // What ended on purpose leaves nothing to explain.
                if let Err(error) = folder.remove() {
                    warn!(%resource, %error, "record not removed");
                }
                info!(%resource, "stopped");
                Outcome::Ok
            }
            Err(why) => failed(ocf::GENERIC, why),
        }
    }
}

/// Of a start that was broken off: at once for what is there, then until the shim, which takes SIGTERM only before it has a
/// process, is gone.
fn break_off(shim: i32) {
    let Some(shim) = ProcessId::of(shim) else { return };
    stop::break_off(shim);
    spawn(async move {
        let until = Instant::now() + BURIAL_MAX;
        while shim.alive() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
            stop::break_off(shim);
        }
    });
}

/// Records and processes are looked at, nobody is asked.
impl Templated for ProcessDriver {
    type Silence = Infallible;
    type Kept = OsString;

    async fn look(
        &self,
        resource: &ResourceId,
        label: &Label,
        depth: Depth,
    ) -> Result<Outcome, Infallible> {
        let Some(record) = self.settled(resource).await else { return Ok(Outcome::NotRunning) };
        if !record.process.alive() {
            return Ok(failed(ocf::GENERIC, "its first process ended and others are left"));
        }
        match depth {
            Depth::Presence => Ok(Outcome::Ok),
            Depth::Health => {
                let still_up = async { Ok(record.process.alive()) };
                examine(&self.config.templates, label, still_up).await
            }
        }
    }

    async fn up(&self, resource: &ResourceId, label: &Label) -> Result<Outcome, Infallible> {
        Ok(self.begin(resource, label).await)
    }

    async fn down(&self, resource: &ResourceId) -> Result<Outcome, Infallible> {
        Ok(self.end(resource).await)
    }

    async fn token(&self, resource: &ResourceId) -> Option<u64> {
        self.process(resource).map(|process| process.token())
    }

    async fn kept(&self) -> Result<Vec<OsString>, Infallible> {
        let entries = fs::read_dir(&self.config.resources).into_iter().flatten();
        Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
    }

    async fn survivor(&self, folder: OsString) -> Option<Survivor> {
        let resource: ResourceId = folder.to_str()?.parse().ok()?;
        let record = self.record(&resource)?;
        stop::runs(&record).then_some(())?;
        let kind = Some(ResourceKind::Process { template: record.template.clone() });
        Some(Survivor { resource, kind, run: record.process.token() })
    }
}

/// For a driver of programs that is handed a template of an image.
pub(crate) fn no_containers() -> Outcome {
    let why = "its template names an image: give the agent of this machine [containers] in agent.toml, \
               or the template argv and no image";
    failed(ocf::NOT_CONFIGURED, why)
}

pub(crate) fn template_failed(error: &TemplateError) -> Outcome {
    let code = match error {
        TemplateError::Absent(_) => ocf::NOT_INSTALLED,
        TemplateError::Unsafe(_) | TemplateError::Unreadable { .. } => ocf::PERMISSION,
        TemplateError::Invalid { .. } => ocf::NOT_CONFIGURED,
    };
    failed(code, error)
}

/// Tells one start from another: 64 unpredictable bits.
pub(crate) fn token() -> String {
    let mut bytes = [0; 8];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => format!("{:016x}", u64::from_be_bytes(bytes)),
        // Unlike any other start of this boot: one agent starts one instance at a time.
        Err(_) => format!("t{}", crate::clock::boottime().0),
    }
}
