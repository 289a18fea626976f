//! What the verbs that speak to an agent share: the local one, or those of a box (`palisade dev`).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use agent::{
    config::RUN_DIR,
    local::{Reply, Request, call},
    run_dir::{Entry, RunDir},
    status::Status,
};
use anyhow::{Context as _, Result, bail};

use crate::dev;

/// A little more than the agent itself takes for an answer.
const PATIENCE: Duration = Duration::from_secs(35);
/// Of several agents, one that does not answer at once may stand still: the next one is asked.
const NEXT_AFTER: Duration = Duration::from_millis(500);

/// Where the agent listens.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Socket {
    /// Socket of the local agent, or the folder of a box (`palisade dev`).
    #[arg(long, value_name = "SOCKET", env = "PALISADE_AGENT", global = true)]
    agent: Option<PathBuf>,
}

impl Socket {
    /// Of the agents of the box in that folder.
    pub(crate) fn of_box(dir: &Path) -> Self {
        Self { agent: Some(dir.to_owned()) }
    }

    /// One, or all of a box. Without a word from the person: the machine's own agent, else the person's own box.
    fn candidates(&self) -> Vec<PathBuf> {
        match &self.agent {
            Some(path) if path.is_dir() => dev::agent_sockets(path),
            Some(path) => vec![path.clone()],
            None => {
                let run = RunDir::at(RUN_DIR);
                // The second as long as agents of the version before may run.
                let own = [run.socket(Entry::Agent), run.socket_before(Entry::Agent)];
                match own.iter().find(|socket| socket.exists()) {
                    Some(own) => vec![own.clone()],
                    None => dev::own_agent_sockets().unwrap_or_else(|| own[..1].to_vec()),
                }
            }
        }
    }

    /// The folder of the box that is meant, if one is.
    pub(crate) fn folder_of_box(&self) -> Option<PathBuf> {
        let socket = self.candidates().into_iter().next()?;
        let machines = socket.ancestors().find(|dir| dir.ends_with("machines"))?;
        machines.parent().filter(|dir| dir.join("box.json").is_file()).map(Path::to_owned)
    }

    /// Whether the person says whom to ask.
    pub(crate) const fn is_named(&self) -> bool {
        self.agent.is_some()
    }

    /// Whether anybody could be asked here.
    pub(crate) fn is_there(&self) -> bool {
        self.candidates().iter().any(|path| path.exists())
    }

    /// Of several agents the one that coordinates, else one with quorum, else any.
    fn best(&self) -> Result<(PathBuf, Status)> {
        let all = self.candidates();
        let patience = if all.len() == 1 { PATIENCE } else { NEXT_AFTER };
        let mut best: Option<(u8, PathBuf, Status)> = None;
        let mut wrong = None;
        for path in all {
            match ask(&path, patience) {
                Ok(status) => {
                    let rank = rank(&status);
                    if best.as_ref().is_none_or(|(known, ..)| rank > *known) {
                        best = Some((rank, path, status));
                    }
                }
                Err(error) => wrong = Some(error),
            }
        }
        match (best, wrong) {
            (Some((_, path, status)), _) => Ok((path, status)),
            (None, Some(error)) => Err(error),
            (None, None) => bail!("no agent is in that folder: is it the folder of a box?"),
        }
    }

    /// The cluster as the agent sees it that knows most.
    pub(crate) fn status(&self) -> Result<Status> {
        Ok(self.best()?.1)
    }

    /// Asks once.
    pub(crate) fn ask(&self, request: &Request) -> Result<Reply> {
        let all = self.candidates();
        let path = match all.as_slice() {
            [only] => only.clone(),
            _ => self.best()?.0,
        };
        Ok(call(&path, request, PATIENCE)?)
    }

    /// Asks for something that is done or refused, and says so.
    pub(crate) fn request(&self, request: &Request) -> Result<()> {
        println!("{}", self.ask_done(request)?);
        Ok(())
    }

    /// The same, without a word of it.
    pub(crate) fn ask_done(&self, request: &Request) -> Result<String> {
        match self.ask(request)? {
            Reply::Done(text) => Ok(text),
            Reply::Refused(reason) => bail!("{reason}"),
            Reply::Status(_) | Reply::Timeline(_) => {
                bail!(
                    "the agent answered something else: agent and command are of different versions"
                )
            }
        }
    }
}

fn ask(path: &Path, patience: Duration) -> Result<Status> {
    match call(path, &Request::Status {}, patience).with_context(|| "asking for the status")? {
        Reply::Status(status) => Ok(*status),
        Reply::Refused(reason) => bail!("{reason}"),
        Reply::Done(_) | Reply::Timeline(_) => {
            bail!("the agent answered something else: agent and command are of different versions")
        }
    }
}

fn rank(status: &Status) -> u8 {
    let open = status.era.as_ref().is_some_and(|era| era.open);
    let coordinates = status.coordinator.as_deref() == Some(&status.node);
    u8::from(status.quorate) * 4 + u8::from(open) * 2 + u8::from(coordinates)
}

/// Who asks, for the record.
pub(crate) fn who() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    name.unwrap_or_else(|_| "root".into()).chars().filter(|c| !c.is_control()).take(80).collect()
}
