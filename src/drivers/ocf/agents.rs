//! The agents of this machine, for the executor.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::{fs::MetadataExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
};

use base::{AgentName, ResourceId};
use lifecycle::{Operation, Outcome};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    codes,
    environment::{Meta, action, bare, environment},
    metadata::{self, Metadata, MetadataError},
    parameters::{self, Refused},
    run::{Ended, Keep, Launch, RunError, run, said},
};
use crate::{
    process::{OTHERS_WRITE, STICKY, owned},
    resource::{failed, ocf},
};

/// The standard's folder; agents are in `resource.d/PROVIDER/TYPE` below it.
pub const ROOT: &str = "/usr/lib/ocf";
/// Agents advise five seconds for it.
const METADATA_WITHIN: Duration = Duration::from_secs(10);
const EXECUTABLE: u32 = 0o111;

/// What this machine runs.
#[derive(Clone, Debug)]
pub struct AgentsConfig {
    /// [`ROOT`].
    pub root: PathBuf,
    /// Agents that may be run; all others are refused, whatever an object says.
    pub allowed: BTreeSet<AgentName>,
    /// What leaves our surroundings and becomes the agent; none: agents are our children with all that this means.
    pub launch: Option<Launch>,
}

/// Runs OCF agents.
#[derive(Debug)]
pub struct Agents {
    config: AgentsConfig,
}

/// One instance, as its object describes it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which agent.
    pub agent: &'a AgentName,
    /// Which instance.
    pub resource: &'a ResourceId,
    /// The object's.
    pub parameters: &'a BTreeMap<String, String>,
    /// Names of those whose values nobody may read.
    pub hidden: &'a BTreeSet<String>,
    /// It was allowed when it was started here: what runs may always be looked at and ended.
    pub started: bool,
    /// Everything else.
    pub meta: &'a Meta,
}

/// Why an agent is not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Not in the list.
    #[error(
        "{0} is not allowed on this machine: add it to ocf_agents in the agent's configuration there"
    )]
    NotAllowed(AgentName),
    /// No such file.
    #[error("{path} cannot be read on this machine: install the package that has it ({error})")]
    Absent {
        /// The file.
        path: PathBuf,
        /// Of the machine.
        error: io::Error,
    },
    /// Somebody else than root can change it.
    #[error(
        "{0} is not root's alone: chown root it, chmod go-w it, and the folders above; symbolic links are not followed"
    )]
    Unsafe(PathBuf),
    /// It is no program.
    #[error("{0} is no program: it must be a regular file that may be executed")]
    NoProgram(PathBuf),
    /// Its metadata cannot be used.
    #[error("{agent}: {error}")]
    Metadata {
        /// Which.
        agent: AgentName,
        /// Why.
        error: MetadataError,
    },
    /// Asking for its metadata failed.
    #[error("{agent} meta-data: {why}")]
    NoMetadata {
        /// Which.
        agent: AgentName,
        /// Why.
        why: String,
    },
    /// The object's parameters are wrong.
    #[error("{}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Parameters(Vec<Refused>),
}

impl AgentError {
    /// OCF's code for it.
    const fn code(&self) -> u8 {
        match self {
            Self::Unsafe(_) => ocf::PERMISSION,
            Self::Absent { .. } | Self::NoProgram(_) | Self::NotAllowed(_) => ocf::NOT_INSTALLED,
            Self::Metadata { .. } | Self::NoMetadata { .. } => ocf::GENERIC,
            Self::Parameters(_) => ocf::NOT_CONFIGURED,
        }
    }
}

impl Agents {
    /// Looks at nothing yet.
    pub const fn new(config: AgentsConfig) -> Self {
        Self { config }
    }

    /// The agent's file, if it may be run: allowed, and nobody but root (or who runs this program) can have written it or
    /// put it there. Folders are theirs too, so that what was looked at is what is run.
    fn program(&self, agent: &AgentName, started: bool) -> Result<PathBuf, AgentError> {
        if !started && !self.config.allowed.contains(agent) {
            return Err(AgentError::NotAllowed(agent.clone()));
        }
        let path = self.config.root.join("resource.d").join(agent.provider()).join(agent.kind());
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            let meta = look(above)?;
            let shared = meta.mode() & OTHERS_WRITE != 0 && meta.mode() & STICKY == 0;
            if !meta.is_dir() || !owned(meta.uid()) || shared {
                return Err(AgentError::Unsafe(above.to_owned()));
            }
        }
        let meta = look(&path)?;
        if meta.is_symlink() || !owned(meta.uid()) || meta.mode() & OTHERS_WRITE != 0 {
            return Err(AgentError::Unsafe(path));
        }
        if !meta.is_file() || meta.mode() & EXECUTABLE == 0 {
            return Err(AgentError::NoProgram(path));
        }
        Ok(path)
    }

    /// What the agent says about itself.
    pub async fn metadata(&self, agent: &AgentName) -> Result<Metadata, AgentError> {
        let program = self.program(agent, false)?;
        let silent = |why: String| AgentError::NoMetadata { agent: agent.clone(), why };
        let environment = bare(&self.config.root, agent);
        let keep = Keep::Whole(metadata::BYTES_MAX);
        let ended = timeout(
            METADATA_WITHIN,
            run(&self.config.launch, &program, "meta-data", &environment, keep),
        )
        .await;
        let ended = match ended {
            Ok(ended) => ended.map_err(|error| silent(error.to_string()))?,
            Err(_) => return Err(silent("did not end within 10 s and was killed".into())),
        };
        if !ended.status.success() {
            return Err(silent(format!("{}: {}", ended.status, said(&ended))));
        }
        metadata::parse(&ended.stdout)
            .map_err(|error| AgentError::Metadata { agent: agent.clone(), error })
    }

    /// Whether the agent takes these parameters.
    pub async fn check(
        &self,
        agent: &AgentName,
        given: &BTreeMap<String, String>,
        hidden: &BTreeSet<String>,
    ) -> Result<Metadata, AgentError> {
        let metadata = self.metadata(agent).await?;
        match parameters::check_hiding(&metadata, given, hidden) {
            refused if refused.is_empty() => Ok(metadata),
            refused => Err(AgentError::Parameters(refused)),
        }
    }

    /// Carries out one operation within its timeout. Dropped before its end, the agent is killed with its process group.
    pub async fn act(&self, request: Request<'_>, operation: Operation) -> Outcome {
        match timeout(request.meta.timeout, self.carry_out(request, operation)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => failed(error.code(), error),
            Err(_) => {
                let (resource, agent) = (request.resource, request.agent);
                warn!(%resource, %agent, ?operation, "did not end in its time and was killed");
                Outcome::TimedOut
            }
        }
    }

    async fn carry_out(
        &self,
        request: Request<'_>,
        operation: Operation,
    ) -> Result<Outcome, AgentError> {
        let Request { agent, resource, parameters, hidden, started, meta } = request;
        let begins = matches!(operation, Operation::Start | Operation::Promote);
        let program = self.program(agent, started && !begins)?;
        if begins {
            let metadata = self.check(agent, parameters, hidden).await?;
            if operation == Operation::Promote && !metadata.promotable() {
                return Ok(crate::resource::unimplemented("promoted role"));
            }
        }
        let root = &self.config.root;
        let environment = environment(root, agent, resource, operation, parameters, meta);
        let outcome =
            match run(&self.config.launch, &program, action(operation), &environment, Keep::Last)
                .await
            {
                Ok(ended) => judge(operation, &ended, parameters, hidden),
                Err(error @ RunError::NotStarted(_)) => failed(ocf::PERMISSION, error),
                Err(error) => failed(ocf::GENERIC, error),
            };
        if !matches!(operation, Operation::Monitor | Operation::Probe) {
            info!(%resource, %agent, ?operation, ?outcome, "an agent ended");
        }
        Ok(outcome)
    }
}

fn look(path: &Path) -> Result<fs::Metadata, AgentError> {
    fs::symlink_metadata(path).map_err(|error| AgentError::Absent { path: path.to_owned(), error })
}

fn judge(
    operation: Operation,
    ended: &Ended,
    parameters: &BTreeMap<String, String>,
    hidden: &BTreeSet<String>,
) -> Outcome {
    let mut said = said(ended);
    let secret = |name: &String| hidden.contains(name) || parameters::secret(name);
    for (_, value) in parameters.iter().filter(|(name, _)| secret(name)) {
        // A reason is one line: of a value with several each alone may stand in it, and all of them without their ends.
        let whole: String = value.chars().filter(|c| !c.is_control()).collect();
        for text in core::iter::once(whole.as_str()).chain(value.lines()) {
            if !text.is_empty() {
                said = said.replace(text, "(not shown)");
            }
        }
    }
    match ended.status.code().map(u8::try_from) {
        Some(Ok(code)) => codes::outcome(operation, code, &said),
        _ => {
            let signal = ended.status.signal().unwrap_or(0);
            failed(ocf::GENERIC, format_args!("it was ended by signal {signal}: {said}"))
        }
    }
}
