//! Start, stop and look, for the executor.

use core::time::Duration;
use std::{path::PathBuf, sync::Arc, vec::Vec};

use base::{Label, ResourceId, ResourceKind};
use lifecycle::Outcome;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{
    bus::{Bus, BusError},
    unit::{self, PATTERN, State, Unit},
};
use crate::{
    process::{
        self, Begun, Depth, LOOK_EVERY, Monitor, Templated, examine, look_at, no_containers,
        template_failed,
    },
    resource::{Survivor, failed, ocf},
};

/// A unit that is on its way is waited for so long before its state is judged.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Where things lie on this machine.
#[derive(Clone, Debug)]
pub struct SystemdConfig {
    /// Root-owned folder of templates; `/etc/palisade/processes`.
    pub templates: PathBuf,
    /// D-Bus address of the machine's bus, `unix:path=/run/dbus/system_bus_socket`.
    pub bus: String,
}

/// Runs processes from templates as transient units.
pub struct SystemdDriver {
    templates: PathBuf,
    bus: Arc<Bus>,
}

impl SystemdDriver {
    /// Asks nothing yet.
    pub fn new(config: SystemdConfig) -> Self {
        Self { templates: config.templates, bus: Arc::new(Bus::new(config.bus)) }
    }

    /// Whether there is a unit of this resource that runs, or may.
    pub async fn holds(&self, resource: &ResourceId) -> Result<bool, Outcome> {
        let Ok(name) = unit::name(resource) else { return Ok(false) };
        Ok(self.unit(&name).await.map_err(|error| failed(ocf::GENERIC, error))?.is_some())
    }

    /// The unit as it is now.
    async fn unit(&self, name: &str) -> Result<Option<Unit>, BusError> {
        let found = self.bus.units(name).await?.into_iter().find(|unit| unit.name == name);
        Ok(found.filter(|unit| unit.state != State::Down))
    }

    /// The unit, after one that is just coming or going had time to arrive.
    async fn settled(&self, name: &str) -> Result<Option<Unit>, BusError> {
        let until = Instant::now() + SETTLE_MAX;
        loop {
            let Some(unit) = self.unit(name).await? else { return Ok(None) };
            if matches!(unit.state, State::Up | State::Ended) || Instant::now() >= until {
                return Ok(Some(unit));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the monitor is content, or the unit ended.
    async fn ready(&self, name: &str, monitor: &Monitor) -> Result<Outcome, BusError> {
        loop {
            match self.unit(name).await? {
                Some(unit) if unit.state == State::Up => {
                    if look_at(monitor).await.is_ok() {
                        return Ok(Outcome::Ok);
                    }
                }
                Some(unit) if unit.state == State::Ended => {
                    return Ok(failed(ocf::GENERIC, self.bus.result(&unit).await));
                }
                Some(_) => {}
                // Ended with status 0, and systemd has forgotten it.
                None => return Ok(failed(ocf::GENERIC, "ended with status 0")),
            }
            sleep(LOOK_EVERY * 2).await;
        }
    }

    /// What is left of a unit that is down, in words.
    async fn left(&self, name: &str) -> Result<Option<String>, BusError> {
        let pids = self.bus.processes(name).await?;
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let said = || format!("its first process ended and others are left: {}", pids.join(", "));
        Ok((!pids.is_empty()).then(said))
    }
}

/// Of a start that was broken off.
async fn undo(bus: Arc<Bus>, name: String) {
    // The stop first: it cancels a job that waits; then nothing waits for the stop signal's timeout.
    for done in [bus.stop(&name).await, bus.kill(&name).await] {
        match done {
            Ok(()) | Err(BusError::NoSuchUnit) => {}
            Err(error) => warn!(name, %error, "a start that was broken off may go on"),
        }
    }
}

impl Templated for SystemdDriver {
    type Silence = BusError;
    type Kept = Unit;

    async fn look(
        &self,
        resource: &ResourceId,
        label: &Label,
        depth: Depth,
    ) -> Result<Outcome, BusError> {
        let Ok(name) = unit::name(resource) else { return Ok(Outcome::NotRunning) };
        let Some(unit) = self.settled(&name).await? else { return Ok(Outcome::NotRunning) };
        match (unit.state, depth) {
            (State::Up, Depth::Presence) => Ok(Outcome::Ok),
            (State::Up, Depth::Health) => {
                let still_up = async {
                    Ok(self.unit(&name).await?.is_some_and(|unit| unit.state == State::Up))
                };
                examine(&self.templates, label, still_up).await
            }
            (State::Ended, _) => Ok(match self.left(&name).await? {
                Some(left) => failed(ocf::GENERIC, left),
                None => Outcome::NotRunning,
            }),
            (State::Coming | State::Going | State::Down, _) => {
                Ok(failed(ocf::GENERIC, format!("{name} is on its way: {:?}", unit.state)))
            }
        }
    }

    async fn up(&self, resource: &ResourceId, label: &Label) -> Result<Outcome, BusError> {
        let template = match process::load(&self.templates, label) {
            Ok(template) => template,
            Err(error) => return Ok(template_failed(&error)),
        };
        if template.image.is_some() {
            return Ok(no_containers());
        }
        let name = match unit::name(resource) {
            Ok(name) => name,
            Err(why) => return Ok(failed(ocf::NOT_CONFIGURED, why)),
        };
        match self.settled(&name).await? {
            Some(unit) if unit.state == State::Up => {
                if unit::template(&unit.description).as_ref() != Some(label) {
                    let why = format!("{name} runs, {}: stop it first", unit.description);
                    return Ok(failed(ocf::GENERIC, why));
                }
                return self.ready(&name, &template.monitor).await;
            }
            Some(unit) if unit.state != State::Ended => {
                return Ok(failed(ocf::GENERIC, format!("{name} is on its way: {:?}", unit.state)));
            }
            Some(_) => {
                if let Some(left) = self.left(&name).await? {
                    return Ok(failed(ocf::GENERIC, left));
                }
                self.bus.forget(&name).await?;
            }
            None => {}
        }
        let description = unit::description(resource, label);
        // From here to the end of the start a call that is broken off takes the unit with it.
        let begun = Begun::or(undo(Arc::clone(&self.bus), name.clone()));
        self.bus.start(&name, &unit::properties(description, &template)).await?;
        info!(%resource, template = %label, unit = name, "started");
        let outcome = self.ready(&name, &template.monitor).await?;
        begun.keep();
        Ok(outcome)
    }

    /// Systemd sends the stop signal, waits for the template's timeout and kills; the caller bounds the whole.
    async fn down(&self, resource: &ResourceId) -> Result<Outcome, BusError> {
        // What has no unit's name never had a unit.
        let Ok(name) = unit::name(resource) else { return Ok(Outcome::Ok) };
        match self.unit(&name).await? {
            None => return Ok(Outcome::Ok),
            Some(unit) if unit.state == State::Ended => {}
            Some(_) => match self.bus.stop(&name).await {
                Ok(()) | Err(BusError::NoSuchUnit) => {}
                Err(other) => return Err(other),
            },
        }
        loop {
            match self.unit(&name).await? {
                None => break,
                Some(unit) if unit.state == State::Ended => {
                    if let Some(left) = self.left(&name).await? {
                        // It may wait for a disk: asked again until the caller's patience ends.
                        warn!(%resource, left, "killed and not gone");
                        self.bus.kill(&name).await?;
                        sleep(LOOK_EVERY * 20).await;
                        continue;
                    }
                    self.bus.forget(&name).await?;
                    break;
                }
                Some(_) => sleep(LOOK_EVERY).await,
            }
        }
        info!(%resource, unit = name, "stopped");
        Ok(Outcome::Ok)
    }

    async fn token(&self, resource: &ResourceId) -> Option<u64> {
        let name = unit::name(resource).ok()?;
        let unit = self.unit(&name).await.ok()??;
        let up = matches!(unit.state, State::Up | State::Going);
        if up { unit::run(&self.bus.invocation(&unit).await.ok()?) } else { None }
    }

    async fn kept(&self) -> Result<Vec<Unit>, BusError> {
        self.bus.units(PATTERN).await
    }

    async fn survivor(&self, unit: Unit) -> Option<Survivor> {
        let resource = unit::resource(&unit.name)?;
        if matches!(unit.state, State::Down | State::Ended) {
            return None;
        }
        let kind =
            unit::template(&unit.description).map(|template| ResourceKind::Process { template });
        let run = self.token(&resource).await.unwrap_or(0);
        Some(Survivor { resource, kind, run })
    }
}
