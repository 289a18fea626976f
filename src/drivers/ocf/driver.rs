//! Agents for the executor: what was started here is on record, so that the next executor knows it and may end it.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use base::{NodeName, OcfAgent, ResourceId, ResourceKind, ocf::OcfValue};
use lifecycle::{Operation, Outcome, Wish};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tracing::{info, warn};

use super::{
    agents::{Agents, AgentsConfig, Request},
    ear::{Ear, Heard, Tools},
    environment::{self, Clone as Copies, Meta},
    secrets,
    words::Whose,
};
use crate::{
    power::BoxFuture,
    process::{Folder, token},
    resource::{Instance, ResourceDriver, Survivor, failed, ocf},
};

/// Folders of records that are looked at.
const SURVIVORS_MAX: usize = 4096;
const RECORD: &str = "record.json";
/// Beside it, and gone with it.
const SCORE: &str = "promotion.json";

/// Where things lie on this machine.
#[derive(Clone, Debug)]
pub struct OcfConfig {
    /// Which agents.
    pub agents: AgentsConfig,
    /// Root-owned folder of the values that nobody may read; [`super::SECRETS`].
    pub secrets: PathBuf,
    /// Lost at a power cut, kept over a restart of the agent; `/run/palisade/ocf`.
    pub records: PathBuf,
    /// This machine.
    pub node: NodeName,
    /// What stands in for Pacemaker's tools. None: agents find those of the machine.
    pub tools: Option<Tools>,
}

/// Runs OCF agents.
#[derive(Debug)]
pub struct OcfDriver {
    agents: Agents,
    config: OcfConfig,
    /// Made by the first operation.
    tools: OnceCell<()>,
}

/// The driver, with the times that one operation has.
#[derive(Clone, Copy, Debug)]
pub struct Timed<'a> {
    driver: &'a OcfDriver,
    timeout: Duration,
    /// Between two monitors; zero for what is done once.
    interval: Duration,
}

/// A start. Written before it, removed when nothing of it is left.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    resource: ResourceId,
    kind: ResourceKind,
    /// Of this run; random.
    run: u64,
}

impl OcfDriver {
    /// Looks at nothing yet.
    pub fn new(config: OcfConfig) -> Self {
        Self { agents: Agents::new(config.agents.clone()), config, tools: OnceCell::new() }
    }

    /// For one operation; of a recurring monitor, how often it is done.
    pub fn within(&self, timeout: Duration, interval: Option<Duration>) -> Timed<'_> {
        Timed { driver: self, timeout, interval: interval.unwrap_or_default() }
    }

    /// What was started here in this boot and was not seen stopped since.
    pub fn survivors(&self) -> Vec<Survivor> {
        let Ok(entries) = fs::read_dir(&self.config.records) else { return Vec::new() };
        let mut found: Vec<Survivor> = entries
            .take(SURVIVORS_MAX)
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<ResourceId>().ok())
            .filter_map(|resource| {
                let Record { kind, run, .. } = self.record(&resource)?;
                Some(Survivor { resource, kind: Some(kind), run })
            })
            .collect();
        found.sort_by(|a, b| a.resource.cmp(&b.resource));
        found
    }

    fn folder(&self, resource: &ResourceId) -> Folder {
        Folder::new(&self.config.records, resource)
    }

    fn record(&self, resource: &ResourceId) -> Option<Record> {
        let record: Record = self.folder(resource).read(RECORD)?;
        (record.resource == *resource).then_some(record)
    }

    /// Before anything is begun: an executor that dies meanwhile leaves word of it.
    fn begin(&self, instance: Instance<'_>) -> Result<(), Outcome> {
        if let Some(known) = self.record(instance.resource)
            && known.kind == *instance.kind
        {
            return Ok(());
        }
        let record = Record {
            resource: instance.resource.clone(),
            kind: instance.kind.clone(),
            run: u64::from_str_radix(&token(), 16).unwrap_or(1),
        };
        let folder = self.folder(instance.resource);
        let written = folder.create().and_then(|()| folder.write(RECORD, &record));
        written.map_err(|error| failed(ocf::PERMISSION, format_args!("its record: {error}")))
    }

    fn ended(&self, resource: &ResourceId) {
        if let Err(error) = self.folder(resource).remove() {
            warn!(%resource, %error, "the record of an agent was not removed");
        }
    }

    /// What the instance last said of its own promotion.
    fn score(&self, resource: &ResourceId) -> Option<i32> {
        self.folder(resource).read(SCORE)
    }

    /// On record like the start: the next executor says it in its first report.
    fn keep_score(&self, resource: &ResourceId, score: Option<i32>) {
        let folder = self.folder(resource);
        let kept = match score {
            Some(score) => folder.create().and_then(|()| folder.write(SCORE, &score)),
            None => folder.remove_one(SCORE),
        };
        match kept {
            Ok(()) => info!(%resource, ?score, "an agent said how much it wants to be promoted"),
            Err(error) => warn!(%resource, %error, "an agent's promotion score was not kept"),
        }
    }

    /// For one call; without it an agent's tools end with an error and their reason.
    async fn ear(&self, resource: &ResourceId) -> Option<Ear> {
        let tools = self.config.tools.as_ref()?;
        let made = self.tools.get_or_try_init(|| async { tools.make() }).await;
        let ear = made.and_then(|()| Ear::open(tools));
        ear.inspect_err(|error| {
            warn!(%resource, %error, folder = %tools.folder.display(), "what an agent says is not heard");
        })
        .ok()
    }

    async fn act(
        &self,
        instance: Instance<'_>,
        operation: Operation,
        times: &Timed<'_>,
    ) -> Outcome {
        let ResourceKind::Ocf(agent) = instance.kind else {
            return failed(ocf::NOT_CONFIGURED, "not an OCF agent");
        };
        let started = self.record(instance.resource).is_some_and(
            |record| matches!(&record.kind, ResourceKind::Ocf(known) if known.name == agent.name),
        );
        let (parameters, hidden) = match self.parameters(agent, operation) {
            Ok(parameters) => parameters,
            Err(outcome) => return outcome,
        };
        if operation == Operation::Start
            && let Err(outcome) = self.begin(instance)
        {
            return outcome;
        }
        let ear = self.ear(instance.resource).await;
        let tools = self.config.tools.as_ref().map(|tools| environment::Heard {
            bin: tools.bin(),
            socket: ear.as_ref().map(|ear| ear.path().to_owned()),
        });
        let meta = Meta { tools, ..self.meta(instance.resource, agent, times) };
        let request = Request {
            agent: &agent.name,
            resource: instance.resource,
            parameters: &parameters,
            hidden: &hidden,
            started,
            meta: &meta,
        };
        let before = self.score(instance.resource);
        let mut heard = Heard { score: before };
        let whose = Whose { instance: instance.resource, node: Some(&self.config.node) };
        let outcome = match &ear {
            Some(ear) => tokio::select! {
                biased;
                outcome = self.agents.act(request, operation) => outcome,
                never = ear.listen(whose, &mut heard) => match never {},
            },
            None => self.agents.act(request, operation).await,
        };
        // what was said by one that was broken off may be half of what it wanted to say
        if heard.score != before && outcome != Outcome::TimedOut {
            self.keep_score(instance.resource, heard.score);
        }
        let outcome = if started { outcome } else { where_nothing_was(operation, outcome) };
        match (operation, &outcome) {
            (Operation::Stop, Outcome::Ok) | (_, Outcome::NotRunning) => {
                self.ended(instance.resource);
            }
            _ => {}
        }
        outcome
    }

    /// The parameters with the values of this machine, and which of them nobody may read.
    fn parameters(
        &self,
        agent: &OcfAgent,
        operation: Operation,
    ) -> Result<(BTreeMap<String, String>, BTreeSet<String>), Outcome> {
        let (mut all, mut hidden) = (BTreeMap::new(), BTreeSet::new());
        for parameter in &agent.parameters {
            let name = parameter.name.as_str().to_owned();
            let value = match &parameter.value {
                OcfValue::Text(text) => text.clone(),
                OcfValue::Secret(file) => match secrets::read(&self.config.secrets, file) {
                    Ok(value) => {
                        hidden.insert(name.clone());
                        value
                    }
                    Err(error) if matches!(operation, Operation::Start | Operation::Promote) => {
                        return Err(failed(ocf::NOT_INSTALLED, error));
                    }
                    // What runs is looked at and ended all the same; the agent says whether it can without.
                    Err(error) => {
                        warn!(%error, agent = %agent.name, parameter = name, "not passed");
                        continue;
                    }
                },
            };
            all.insert(name, value);
        }
        Ok((all, hidden))
    }

    fn meta(&self, resource: &ResourceId, agent: &OcfAgent, times: &Timed<'_>) -> Meta {
        let number = resource.as_str().rsplit_once(':').and_then(|(_, number)| number.parse().ok());
        let clone = agent.copies.map(|copies| Copies {
            number: number.unwrap_or(0),
            max: copies.max.into(),
            node_max: copies.node_max.into(),
            promoted_max: copies.promoted_max.into(),
            unique: copies.unique,
        });
        Meta {
            timeout: times.timeout,
            interval: times.interval,
            clone,
            notify: None,
            node: Some(self.config.node.to_string()),
            check_level: 0,
            tools: None,
        }
    }
}

/// Of what was never started here: an agent that is not allowed, or not there, has nothing running. As with templates that a
/// machine does not have: otherwise each machine without the agent would have to be powered off to know it.
fn where_nothing_was(operation: Operation, outcome: Outcome) -> Outcome {
    match (operation, &outcome) {
        (
            Operation::Probe | Operation::Stop | Operation::Demote,
            Outcome::Failed { code: ocf::NOT_INSTALLED, .. },
        ) => Outcome::NotRunning,
        _ => outcome,
    }
}

impl ResourceDriver for Timed<'_> {
    fn probe<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.driver.act(instance, Operation::Probe, self))
    }

    fn start<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.driver.act(instance, Operation::Start, self))
    }

    fn stop<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.driver.act(instance, Operation::Stop, self))
    }

    fn monitor<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.driver.act(instance, Operation::Monitor, self))
    }

    fn promote<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.driver.act(instance, Operation::Promote, self))
    }

    fn demote<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.driver.act(instance, Operation::Demote, self))
    }

    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
        Box::pin(core::future::ready(self.driver.survivors()))
    }

    fn run<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<u64>> {
        let run = self.driver.record(instance.resource).map(|record| record.run);
        Box::pin(core::future::ready(run))
    }

    fn wish<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Wish> {
        let wish = self.driver.score(instance.resource).map_or(Wish::None, Wish::Score);
        Box::pin(core::future::ready(wish))
    }
}
