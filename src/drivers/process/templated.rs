//! What runs from a template of the machine, whoever keeps it: our shim, systemd, containerd. Each of them says how it looks,
//! starts and stops; what the executor asks is the same for all.

use core::{fmt::Display, time::Duration};
use std::{path::Path, vec::Vec};

use base::{Label, ResourceId, ResourceKind};
use lifecycle::Outcome;
use tokio::time::{Instant, sleep};
use tracing::error;

use super::{monitor, template, template_failed};
use crate::{
    power::BoxFuture,
    resource::{Instance, ResourceDriver, Survivor, failed, ocf},
};

/// Between two looks while something comes up or goes down.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A machine that has just booted may have no keeper yet.
const PATIENCE: Duration = Duration::from_secs(10);
/// Folders, units or containers that are looked at.
const SURVIVORS_MAX: usize = 4096;

/// How closely something is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Whether it is there.
    Presence,
    /// And whether it is well.
    Health,
}

/// A keeper of processes from templates.
pub(crate) trait Templated: Send + Sync {
    /// Why it cannot be asked.
    type Silence: Display + Send;
    /// Something that it keeps, or of which something is left.
    type Kept: Send;

    /// Is it there, is it well?
    fn look(
        &self,
        resource: &ResourceId,
        template: &Label,
        depth: Depth,
    ) -> impl Future<Output = Result<Outcome, Self::Silence>> + Send;
    /// Bring it up and wait until its monitor is content.
    fn up(
        &self,
        resource: &ResourceId,
        template: &Label,
    ) -> impl Future<Output = Result<Outcome, Self::Silence>> + Send;
    /// Take it down and wait until nothing is left.
    fn down(
        &self,
        resource: &ResourceId,
    ) -> impl Future<Output = Result<Outcome, Self::Silence>> + Send;
    /// Token of its run; `None` when it does not run.
    fn token(&self, resource: &ResourceId) -> impl Future<Output = Option<u64>> + Send;
    /// All that it keeps.
    fn kept(&self) -> impl Future<Output = Result<Vec<Self::Kept>, Self::Silence>> + Send;
    /// What that is, where it runs and is ours.
    fn survivor(&self, kept: Self::Kept) -> impl Future<Output = Option<Survivor>> + Send;
}

impl<T: Templated> ResourceDriver for T {
    fn probe<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match template_of(instance) {
                Ok(label) => said(self.look(instance.resource, label, Depth::Presence).await),
                Err(outcome) => outcome,
            }
        })
    }

    fn start<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match template_of(instance) {
                Ok(label) => said(self.up(instance.resource, label).await),
                Err(outcome) => outcome,
            }
        })
    }

    fn stop<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { said(self.down(instance.resource).await) })
    }

    fn monitor<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match template_of(instance) {
                Ok(label) => said(self.look(instance.resource, label, Depth::Health).await),
                Err(outcome) => outcome,
            }
        })
    }

    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
        Box::pin(async move {
            let until = Instant::now() + PATIENCE;
            let kept = loop {
                match self.kept().await {
                    Ok(kept) => break kept,
                    Err(error) if Instant::now() >= until => {
                        error!(%error, "what runs here cannot be asked; only what is on record is looked for");
                        return Vec::new();
                    }
                    Err(_) => sleep(LOOK_EVERY * 20).await,
                }
            };
            let mut found = Vec::new();
            for one in kept.into_iter().take(SURVIVORS_MAX) {
                found.extend(self.survivor(one).await);
            }
            found.sort_by(|a, b| a.resource.cmp(&b.resource));
            found
        })
    }

    fn run<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<u64>> {
        Box::pin(self.token(instance.resource))
    }
}

/// What cannot be asked is never "not running".
fn said(outcome: Result<Outcome, impl Display>) -> Outcome {
    outcome.unwrap_or_else(|silence| failed(ocf::GENERIC, silence))
}

pub(crate) fn template_of(instance: Instance<'_>) -> Result<&Label, Outcome> {
    match instance.kind {
        ResourceKind::Process { template } => Ok(template),
        _ => Err(failed(ocf::NOT_CONFIGURED, "not a process")),
    }
}

/// What the template's monitor says of something that was up just now; `still_up` is asked if that is nothing good.
pub(crate) async fn examine<E>(
    templates: &Path,
    label: &Label,
    still_up: impl Future<Output = Result<bool, E>> + Send,
) -> Result<Outcome, E> {
    Ok(match template::load(templates, label) {
        // Running it goes on; only its health cannot be seen.
        Err(error) => template_failed(&error),
        Ok(template) => match monitor::look(&template.monitor).await {
            Ok(()) => Outcome::Ok,
            Err(_) if !still_up.await? => Outcome::NotRunning,
            Err(why) => failed(ocf::GENERIC, why),
        },
    })
}

/// A start under way. Dropped before its end, it undoes what was begun.
pub(crate) struct Begun(Option<Box<dyn FnOnce() + Send>>);

impl Begun {
    pub(crate) fn new(undo: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }

    /// It takes its time, and nobody waits for it.
    pub(crate) fn or(undo: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::new(move || spawn(undo))
    }

    /// It has come to its end.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

/// Where a runtime is left to do it.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}
