//! What the loop of the ring part is given, and how it ends.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use base::{BootId, NodeName, SystemUuid};
use cluster::{Status as View, Verdict};
use drivers::power::BoxFuture;
use policy::revision::Revision;
use tokio::sync::{mpsc, watch};

use super::parts::Dial;
use crate::{
    keys::RingKeys,
    kubernetes::News,
    local::Call,
    messages::{FromExecutor, FromFencer, ToExecutor, ToFencer},
    metrics::Metrics,
    state::{Loaded, StateDir},
};

/// What comes from the API, or from whoever stands in for it.
#[derive(Clone)]
pub enum Feed {
    /// Whether it can be reached: a condition, nothing else (CLUSTER.md section 7).
    Api(Result<(), String>),
    /// The ring keys.
    Keys(RingKeys),
    /// A compiled revision.
    Revision(Box<Revision>),
    /// The highest era that any object names. Only a member that starts without its disk needs it, before it starts.
    Era(u64),
    /// What the API has in place of ring keys, and what to do.
    KeysWrong(String),
}

impl From<News> for Feed {
    fn from(news: News) -> Self {
        match news {
            News::Api(reached) => Self::Api(reached),
            News::Era(sequence) => Self::Era(sequence),
            News::Keys(keys) => Self::Keys(keys),
            News::KeysWrong(why) => Self::KeysWrong(why),
            News::Revision(revision) => Self::Revision(revision),
        }
    }
}

/// A planned end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The agent stops and will be back within this time, at most 60 s.
    Detach(Duration),
}

/// Why [`super::run`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As asked.
    Detached,
    /// It cannot go on, with the reason.
    Gone(String),
    /// For good, by a clean leave, with the reason.
    Left(String),
    /// Members, addresses or times of the ring changed: start again with the cached revision.
    Reconfigured,
}

/// Looks whether a machine answers although its agent does not (CLUSTER.md section 5).
pub trait Prober: Send + Sync {
    /// All links at once, three tries, 100 ms in all.
    fn probe(&self, addresses: Vec<IpAddr>, port: u16) -> BoxFuture<'static, Verdict>;
}

/// What the ring part starts with.
pub struct Setup {
    /// This machine's name.
    pub node_name: NodeName,
    /// The directory, locked.
    pub state_dir: StateDir,
    /// What it held.
    pub loaded: Loaded,
    /// The newest revision that this member has seen.
    pub revision: Revision,
    /// The ring keys.
    pub keys: RingKeys,
    /// This boot of the machine.
    pub boot_id: BootId,
    /// What the machine says that it is.
    pub system_uuid: Option<SystemUuid>,
    /// Interfaces that the machine's own configuration names, over the revision's.
    pub networks: BTreeMap<String, String>,
    /// Where the own links are bound; empty: at the addresses of the revision.
    pub bound: Vec<IpAddr>,
    /// How the executor is reached.
    pub executor: Dial<ToExecutor, FromExecutor>,
    /// How the fencer is reached.
    pub fencer: Dial<ToFencer, FromFencer>,
    /// How machines are probed.
    pub prober: Arc<dyn Prober>,
    /// From the local socket.
    pub calls: mpsc::Receiver<Call>,
    /// From the API.
    pub feed: mpsc::Receiver<Feed>,
    /// To the mirror: the engine's view whenever it changed.
    pub views: watch::Sender<Option<Arc<View>>>,
    /// Planned ends.
    pub stop: mpsc::Receiver<Stop>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether the machine's configuration names a watchdog.
    pub watchdog: bool,
    /// What is wrong already: type and text.
    pub conditions: Vec<(&'static str, String)>,
    /// To the member's own object: why it cannot be in a ring.
    pub lonely: watch::Sender<Option<String>>,
}
