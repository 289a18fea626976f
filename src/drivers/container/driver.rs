//! Start, stop and look, for the executor.

use core::time::Duration;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, vec::Vec};

use base::{Label, ResourceId, ResourceKind};
use lifecycle::Outcome;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::{
    containerd::Containerd,
    grpc::{CallError, Client},
    image::{self, ImageError},
    messages::{Any, CREATED, Container, PAUSING, Runtime, STOPPED},
    spec::spec,
};
use crate::{
    process::{
        self, Begun, Depth, Folder, LOOK_EVERY, ProcessId, Templated, examine, look_at,
        template_failed,
    },
    resource::{Survivor, failed, ocf},
};

/// Where the template cannot be read any more.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// What was begun by a start that was broken off is taken away within this, or said to be left.
const UNDOING_MAX: Duration = Duration::from_secs(15);
const RUNTIME: &str = "io.containerd.runc.v2";
const SPEC_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const RESOURCE: &str = "palisade.dev/resource";
const TEMPLATE: &str = "palisade.dev/template";
const BOOT: &str = "palisade.dev/boot";

/// Where things lie on this machine.
#[derive(Clone, Debug)]
pub struct ContainerConfig {
    /// Root-owned folder of templates; `/etc/palisade/processes`.
    pub templates: PathBuf,
    /// Of containerd; `/run/containerd/containerd.sock`.
    pub socket: PathBuf,
    /// Containerd's, not the kubelet's; `palisade`.
    pub namespace: String,
    /// `overlayfs`.
    pub snapshotter: String,
    /// Lost at a power cut, kept over a restart of the agent; `/run/palisade/containers`.
    pub records: PathBuf,
    /// Of this boot: what another boot left does not run.
    pub boot: String,
}

/// Runs images from templates.
pub struct ContainerDriver {
    templates: PathBuf,
    records: PathBuf,
    boot: String,
    containerd: Arc<Containerd>,
}

/// The first process of a container, written down before it is let go.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    process: ProcessId,
}

/// What is true of a container.
#[derive(Debug)]
enum Seen {
    /// Neither process nor record.
    Absent,
    /// A record and no process: it ended, or another boot left it.
    Left(String),
    /// It runs. The template that it was started from.
    Up(ProcessId, Option<Label>),
}

/// One name for each resource, so that there is at most one container of it. A name of containerd's has fewer kinds of
/// characters, and 76 of them.
pub(super) fn id(resource: &ResourceId) -> String {
    let digest = image::hex(resource.as_str().as_bytes());
    format!("palisade-{}", &digest[..40])
}

impl ContainerDriver {
    /// Asks nothing yet.
    pub fn new(config: ContainerConfig) -> Self {
        let client = Client { socket: config.socket, namespace: config.namespace };
        Self {
            templates: config.templates,
            records: config.records,
            boot: config.boot,
            containerd: Arc::new(Containerd { client, snapshotter: config.snapshotter }),
        }
    }

    /// Whether this resource is for this driver: its template names an image, or a container of it was started here.
    pub fn wants(&self, resource: &ResourceId, template: &Label) -> bool {
        self.folder(resource).read::<Record>("record.json").is_some()
            || process::load(&self.templates, template).is_ok_and(|it| it.image.is_some())
    }

    /// The first process that was started last.
    pub fn process(&self, resource: &ResourceId) -> Option<ProcessId> {
        self.folder(resource).read::<Record>("record.json").map(|record| record.process)
    }

    fn folder(&self, resource: &ResourceId) -> Folder {
        Folder::new(&self.records, resource)
    }

    async fn see(&self, resource: &ResourceId) -> Result<Seen, CallError> {
        let id = id(resource);
        let container = self.containerd.container(&id).await?;
        if let Some(container) = &container
            && container.labels.get(BOOT) != Some(&self.boot)
        {
            return Ok(Seen::Left("another boot left it".into()));
        }
        let Some(task) = self.containerd.task(&id).await? else {
            // Containerd may lose a task that it cannot load; the process knows nothing of that.
            if let Some(Record { process }) = self.folder(resource).read("record.json")
                && process.alive()
            {
                let why = format!("containerd has no task of {id}, and pid {} lives", process.pid);
                return Err(CallError::Unknown(why));
            }
            return Ok(match container {
                Some(_) => Seen::Left("it has no process".into()),
                None => Seen::Absent,
            });
        };
        match (task.status, i32::try_from(task.pid).ok().and_then(ProcessId::of)) {
            (STOPPED, _) => Ok(Seen::Left(format!("ended with status {}", task.exit_status))),
            (CREATED..=PAUSING, Some(process)) => {
                let labels = container.map(|container| container.labels).unwrap_or_default();
                let template = labels.get(TEMPLATE).and_then(|label| label.parse().ok());
                Ok(Seen::Up(process, template))
            }
            (CREATED..=PAUSING, None) => Err(CallError::Unknown(format!(
                "containerd says that {id} runs as pid {}, which is not seen here: the executor needs \
                 the machine's pids (hostPID)",
                task.pid
            ))),
            (status, _) => {
                Err(CallError::Unknown(format!("containerd cannot say of {id}: status {status}")))
            }
        }
    }

    /// What is true, after a process that has just ended had time to be noticed.
    async fn settled(&self, resource: &ResourceId) -> Result<Seen, CallError> {
        match self.see(resource).await {
            Err(CallError::Unknown(_)) => {
                sleep(LOOK_EVERY * 10).await;
                self.see(resource).await
            }
            seen => seen,
        }
    }

    /// Waits until the monitor is content, or the process ended.
    async fn ready(
        &self,
        resource: &ResourceId,
        monitor: &process::Monitor,
    ) -> Result<Outcome, CallError> {
        loop {
            match self.settled(resource).await? {
                Seen::Up(process, _) => {
                    if look_at(monitor).await.is_ok() && process.alive() {
                        return Ok(Outcome::Ok);
                    }
                }
                Seen::Left(why) => return Ok(failed(ocf::GENERIC, why)),
                Seen::Absent => return Ok(failed(ocf::GENERIC, "somebody deleted it")),
            }
            sleep(LOOK_EVERY * 4).await;
        }
    }
}

/// Takes away what is left of a container that does not run. Containerd refuses where it does.
async fn clean(containerd: &Containerd, id: &str) -> Result<(), CallError> {
    containerd.delete_task(id).await?;
    containerd.delete(id).await?;
    containerd.remove_snapshot(id).await
}

/// Of a start that was broken off.
async fn undo(containerd: Arc<Containerd>, id: String) {
    let until = Instant::now() + UNDOING_MAX;
    loop {
        // A call that was broken off may still be carried out: what it made is found by the next round.
        let _ = containerd.kill(&id, Signal::KILL.as_raw()).await;
        match clean(&containerd, &id).await {
            Ok(()) => return,
            Err(error) if Instant::now() >= until => {
                warn!(id, %error, "a start that was broken off may go on");
                return;
            }
            Err(_) => sleep(LOOK_EVERY * 10).await,
        }
    }
}

impl Templated for ContainerDriver {
    type Silence = CallError;
    type Kept = Container;

    async fn look(
        &self,
        resource: &ResourceId,
        label: &Label,
        depth: Depth,
    ) -> Result<Outcome, CallError> {
        let process = match self.settled(resource).await? {
            Seen::Absent | Seen::Left(_) => return Ok(Outcome::NotRunning),
            Seen::Up(process, _) => process,
        };
        match depth {
            Depth::Presence => Ok(Outcome::Ok),
            Depth::Health => examine(&self.templates, label, async { Ok(process.alive()) }).await,
        }
    }

    async fn up(&self, resource: &ResourceId, label: &Label) -> Result<Outcome, CallError> {
        let template = match process::load(&self.templates, label) {
            Ok(template) => template,
            Err(error) => return Ok(template_failed(&error)),
        };
        match self.settled(resource).await? {
            Seen::Absent => {}
            Seen::Up(_, from) if from.as_ref() == Some(label) => {
                return self.ready(resource, &template.monitor).await;
            }
            Seen::Up(..) => {
                let why = "runs as a container from another template: stop it first";
                return Ok(failed(ocf::GENERIC, why));
            }
            Seen::Left(_) => {}
        }
        let Some(image) = &template.image else {
            return Ok(failed(ocf::NOT_CONFIGURED, "its template names no image any more"));
        };
        let found = match image::find(&self.containerd, image).await {
            Ok(found) => found,
            Err(ImageError::Wrong(why)) => return Ok(failed(ocf::NOT_INSTALLED, why)),
            Err(ImageError::Call(error)) => return Err(error),
        };
        let id = id(resource);
        let spec = match spec(&id, &template, image, &found.says) {
            Ok(spec) => spec,
            Err(why) => return Ok(failed(ocf::NOT_CONFIGURED, why)),
        };
        clean(&self.containerd, &id).await?;
        let folder = self.folder(resource);
        if let Err(error) = folder.remove().and_then(|()| folder.create()) {
            let path = folder.path("");
            return Ok(failed(ocf::PERMISSION, format_args!("{}: {error}", path.display())));
        }
        // From here to the end of the start a call that is broken off, or fails, takes everything with it.
        let begun = Begun::or(undo(Arc::clone(&self.containerd), id.clone()));
        let rootfs = match self.containerd.prepare(&id, &found.layers).await {
            Ok(rootfs) => rootfs,
            Err(CallError::Absent(_)) => {
                let (name, namespace) = (&image.name, &self.containerd.client.namespace);
                let why = format!(
                    "image {name} is not unpacked for snapshotter {}: import it again, \
                     `ctr -n {namespace} images import --snapshotter {0} FILE`",
                    self.containerd.snapshotter
                );
                return Ok(failed(ocf::NOT_INSTALLED, why));
            }
            Err(other) => return Err(other),
        };
        let labels = [
            (RESOURCE.to_owned(), resource.to_string()),
            (TEMPLATE.to_owned(), label.to_string()),
            (BOOT.to_owned(), self.boot.clone()),
        ];
        let container = Container {
            id: id.clone(),
            labels: BTreeMap::from(labels),
            image: image.name.clone(),
            runtime: Some(Runtime { name: RUNTIME.into() }),
            spec: Some(Any { type_url: SPEC_URL.into(), value: spec.to_string().into_bytes() }),
            snapshotter: self.containerd.snapshotter.clone(),
            snapshot_key: id.clone(),
        };
        self.containerd.create(container).await?;
        let pid = self.containerd.create_task(&id, rootfs).await?;
        // It waits to be let go, so this is it: its number and start time stay when it becomes the service.
        let Some(process) = i32::try_from(pid).ok().and_then(ProcessId::of) else {
            let why = format!("pid {pid} is not seen here: the executor needs the machine's pids");
            return Ok(failed(ocf::NOT_CONFIGURED, why));
        };
        if let Err(error) = folder.write("record.json", &Record { process }) {
            let path = folder.path("record.json");
            return Ok(failed(ocf::PERMISSION, format_args!("{}: {error}", path.display())));
        }
        self.containerd.start_task(&id).await?;
        info!(%resource, template = %label, image = image.name, pid, "started");
        let outcome = self.ready(resource, &template.monitor).await?;
        begun.keep();
        Ok(outcome)
    }

    /// The stop signal, the template's patience, SIGKILL, its end; the caller bounds the whole.
    async fn down(&self, resource: &ResourceId) -> Result<Outcome, CallError> {
        let id = id(resource);
        if let Seen::Up(process, from) = self.settled(resource).await? {
            let template = from.and_then(|label| process::load(&self.templates, &label).ok());
            let patience = template.as_ref().map_or(STOP_TIMEOUT, |it| it.stop_timeout);
            let signal = template.map_or(Signal::TERM, |it| it.stop_signal.signal());
            let until = Instant::now() + patience;
            self.containerd.kill(&id, signal.as_raw()).await?;
            while process.alive() && Instant::now() < until {
                sleep(LOOK_EVERY).await;
            }
            if process.alive() {
                warn!(%resource, "did not end by itself: killed");
            }
            while process.alive() {
                // It may wait for a disk: asked again until the caller's patience ends.
                self.containerd.kill(&id, Signal::KILL.as_raw()).await?;
                sleep(LOOK_EVERY * 4).await;
            }
            // Containerd's own word too, and only then it gives the task up.
            while let Seen::Up(..) = self.settled(resource).await? {
                sleep(LOOK_EVERY).await;
            }
            info!(%resource, "stopped");
        }
        clean(&self.containerd, &id).await?;
        if let Err(error) = self.folder(resource).remove() {
            warn!(%resource, %error, "record not removed");
        }
        Ok(Outcome::Ok)
    }

    async fn token(&self, resource: &ResourceId) -> Option<u64> {
        match self.see(resource).await {
            Ok(Seen::Up(process, _)) => Some(process.token()),
            _ => None,
        }
    }

    async fn kept(&self) -> Result<Vec<Container>, CallError> {
        self.containerd.containers(RESOURCE).await
    }

    async fn survivor(&self, container: Container) -> Option<Survivor> {
        let resource: ResourceId = container.labels.get(RESOURCE)?.parse().ok()?;
        if container.id != id(&resource) {
            return None;
        }
        match self.settled(&resource).await {
            Ok(Seen::Up(process, template)) => {
                let kind = template.map(|template| ResourceKind::Process { template });
                return Some(Survivor { resource, kind, run: process.token() });
            }
            Ok(Seen::Left(why)) => {
                info!(%resource, why, "a container without a process: taken away");
                if let Err(error) = clean(&self.containerd, &container.id).await {
                    warn!(%resource, %error, "it stays");
                }
            }
            Ok(Seen::Absent) => {}
            // Asked again by the probe, which then says so.
            Err(error) => error!(%resource, %error, "whether it runs is not known"),
        }
        None
    }
}
