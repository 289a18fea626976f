//! What the verbs that speak to the local agent share.

use std::{path::PathBuf, time::Duration};

use agent::{
    config::{RUN_DIR, SOCKET_NAME},
    local::{Reply, Request, call},
};
use anyhow::bail;

/// A little more than the agent itself takes for an answer.
const PATIENCE: Duration = Duration::from_secs(35);

/// Where the agent listens.
#[derive(clap::Args)]
pub(crate) struct Socket {
    /// Socket of the local agent.
    #[arg(long, value_name = "SOCKET", env = "PALISADE_AGENT", global = true)]
    agent: Option<PathBuf>,
}

impl Socket {
    /// Asks once.
    pub(crate) fn ask(&self, request: &Request) -> anyhow::Result<Reply> {
        let path = self.agent.clone().unwrap_or_else(|| [RUN_DIR, SOCKET_NAME].iter().collect());
        Ok(call(&path, request, PATIENCE)?)
    }

    /// Asks for something that is done or refused, and says so.
    pub(crate) fn request(&self, request: &Request) -> anyhow::Result<()> {
        match self.ask(request)? {
            Reply::Done(text) => {
                println!("{text}");
                Ok(())
            }
            Reply::Refused(reason) => bail!("{reason}"),
            Reply::Status(_) | Reply::Timeline(_) => {
                bail!(
                    "the agent answered something else: agent and command are of different versions"
                )
            }
        }
    }
}

/// Who asks, for the record.
pub(crate) fn who() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    name.unwrap_or_else(|_| "root".into()).chars().filter(|c| !c.is_control()).take(80).collect()
}
