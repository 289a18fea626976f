//! The ring's process: one thread for the ring, this one for everything that may wait: the local socket, metrics, the API.

use std::{io, sync::Arc, thread};

use base::NodeId;
use drivers::probe::Prober as Driver;
use policy::revision::{REVISION_FORMAT, Revision};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Exit, Machine, PART_LOCK_PATIENCE, RealProber, StandInProber, arguments_of_child, asked_to_end,
    runtime,
};
use crate::{
    clock, conditions,
    config::{Options, Realtime},
    http,
    ipc::{Admitted, Listener},
    keys::RingKeys,
    kubernetes,
    local::{self, Call, Reply, Request},
    metrics::Metrics,
    ring::{Dial, Ended, Feed, Prober, Setup, Stop, ask_privileges, run},
    run_dir::Entry,
    state::{Disk, FileKind, StateDir, random_u128},
    status::{RingStatus, Status},
    supervise::{AGAIN, GONE, LEFT, end_with_parent},
};

/// Requests on their way to the ring.
const CALLS_MAX: usize = 16;
/// News of the API on their way to the ring.
const FEED_MAX: usize = 16;

pub(super) fn main(options: Options) -> io::Result<Exit> {
    let dir = &options.state_dir;
    let state_dir = match options.ring_user() {
        Some(_) => StateDir::open_by_child(dir, &arguments_of_child("disk")),
        None => StateDir::open(dir, PART_LOCK_PATIENCE),
    };
    let state_dir = state_dir.map_err(io::Error::other)?;
    runtime()?.block_on(start(options, state_dir))
}

async fn start(options: Options, mut state_dir: StateDir) -> io::Result<Exit> {
    let machine = Machine::read(&options.config)?;
    let absence = options.config.planned_absence();
    let metrics = Arc::new(Metrics::new());
    let (call, mut calls) = mpsc::channel(CALLS_MAX);
    let socket = options.run_dir().make_entry(Entry::Agent, None).map_err(io::Error::other)?;
    let listener = Listener::bind(&socket, Admitted::own())?;
    let realtime = options.config.realtime == Realtime::Try;
    let ring = ring_thread(&options, realtime).await?;
    tokio::spawn(local::serve(listener, call.clone()));
    if let Some(address) = options.config.metrics_listen {
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            if let Err(error) = http::serve(address, metrics).await {
                tracing::error!(%error, "metrics and health are not served");
            }
        });
    }
    let (news, mut feed) = mpsc::channel(FEED_MAX);
    let (views, view) = watch::channel(None);
    let (lonely, why_lonely) = watch::channel(None);
    let known = state_dir
        .read_as::<Revision>(FileKind::Revision)?
        .filter(|revision| revision.format == REVISION_FORMAT);
    tokio::spawn(kubernetes::run::<Feed>(kubernetes::Setup {
        kubeconfig: options.kubeconfig.clone(),
        namespace: options.namespace.clone(),
        cluster: options.cluster.clone(),
        known: known.clone(),
        news,
        calls: call,
        views: view,
        lonely: (options.node_name.to_string(), why_lonely),
        metrics: Arc::clone(&metrics),
    }));

    metrics.health.set_idle(Some(
        "this member waits for its HACluster, for its name in it, or for the ring key",
    ));
    let contact = first_contact(&options, known, &mut state_dir, &mut feed, &mut calls, &lonely);
    let Contact { revision, keys, era } = tokio::select! {
        contact = contact => contact?,
        ended = asked_to_end() => { ended?; return Ok(Exit::Done); }
    };
    // Its loop has the usual time to begin.
    metrics.health.turn(clock::now());
    metrics.health.set_idle(None);
    let me = member(&options, &revision)?;
    let mut loaded = state_dir
        .begin(&options.cluster_key(), me, random_u128(), clock::wall_ms())
        .map_err(io::Error::other)?;
    if loaded.disk == Disk::Lost {
        // An era opened from the empty state starts above what the API shows already (CLUSTER.md section 7).
        loaded.reserved = loaded.reserved.max(era);
    }
    let mut wrong = Vec::new();
    for file in &loaded.set_aside {
        let text =
            format!("{} was kept as {}: {}", file.kind.file_name(), file.kept.display(), file.why);
        wrong.push((conditions::STATE_SET_ASIDE, text));
    }
    let unsealed = "ring keys and BMC credentials lie in the state directory with mode 0600 only: this machine offers no TPM to the agent";
    wrong.push((conditions::SECRETS_UNSEALED, unsealed.to_owned()));

    let own = revision.voter(me).map(|voter| voter.links.clone()).unwrap_or_default();
    let stand_in = options.config.stand_in.clone();
    if let Some(stand_in) = &stand_in {
        let text = format!(
            "this is no machine: its addresses, and whether its peers are there, come from {}; its load balancers are no HAProxy",
            stand_in.kernel.display()
        );
        tracing::warn!("{text}");
        wrong.push((conditions::STAND_IN, text));
    }
    let run_dir = options.run_dir();
    let (stop, stopping) = mpsc::channel(1);
    wrong.extend(ring.refused.map(|text| (conditions::PRIVILEGE, text)));
    let make = move |driver: Arc<Driver>| {
        let prober: Arc<dyn Prober> = match &stand_in {
            Some(stand_in) => Arc::new(StandInProber::new(stand_in)),
            None => Arc::new(RealProber::new(driver, own)),
        };
        Setup {
            node_name: options.node_name.clone(),
            state_dir,
            loaded,
            revision,
            keys,
            boot_id: machine.boot_id,
            system_uuid: machine.system_uuid,
            networks: options.config.interfaces.clone(),
            bound: stand_in.map(|stand_in| stand_in.links).unwrap_or_default(),
            executor: Dial::Socket(run_dir.socket(Entry::Executor)),
            fencer: Dial::SocketOrBefore {
                socket: run_dir.socket(Entry::Fencer),
                way: run_dir.way_to_fencer_before(),
            },
            prober,
            calls,
            feed,
            views,
            stop: stopping,
            metrics,
            watchdog: options.config.watchdog.is_some(),
            conditions: wrong,
            lonely,
        }
    };
    // The thread waits for it, or has panicked, which is found out below.
    let _ = ring.make.send(Box::new(make));
    let mut end = ring.ended;
    let result = tokio::select! {
        result = &mut end => result,
        asked = asked_to_end() => {
            asked?;
            let _ = stop.send(Stop::Detach(absence)).await;
            end.await
        }
    };
    match result.map_err(|_| io::Error::other("the ring's thread panicked"))?? {
        Ended::Detached => Ok(Exit::Done),
        Ended::Gone(reason) => {
            tracing::error!(%reason, "this member cannot go on");
            Ok(Exit::Code(GONE))
        }
        Ended::Left(reason) => {
            tracing::warn!(%reason, "this member has left the ring for good");
            Ok(Exit::Code(LEFT))
        }
        Ended::Reconfigured => Ok(Exit::Code(AGAIN)),
    }
}

/// The ring's thread, which has opened what needs a right and waits for what it is to run.
struct RingThread {
    make: oneshot::Sender<MakeSetup>,
    ended: oneshot::Receiver<io::Result<Ended>>,
    /// What the kernel refused.
    refused: Option<String>,
}

type MakeSetup = Box<dyn FnOnce(Arc<Driver>) -> Setup + Send>;

/// Starts it, and gives root up with it where the configuration says so. Called while there is no other thread.
async fn ring_thread(options: &Options, realtime: bool) -> io::Result<RingThread> {
    let user = options.ring_user();
    let parent = std::os::unix::process::parent_id();
    if user.is_some() {
        crate::user::prepare()?;
    }
    let (opened, ready) = oneshot::channel();
    let (given_up, confined) = oneshot::channel::<()>();
    let (make, made) = oneshot::channel::<MakeSetup>();
    let (end, ended) = oneshot::channel();
    let node = options.node_name.clone();
    let body = move || {
        let _here = tracing::info_span!("ring", %node, part = "ring").entered();
        let refused = ask_privileges(realtime);
        let result = runtime().and_then(|runtime| {
            runtime.block_on(async move {
                let driver = Arc::new(Driver::open());
                let _ = opened.send(refused);
                if confined.await.is_ok() {
                    crate::user::confine()?;
                }
                let made = made.await.map_err(|_| io::Error::other("the ring part ends"))?;
                run(made(driver)).await
            })
        });
        let _ = end.send(result);
    };
    // A panic drops the sender: this process ends, and the watchdog is not fed until it is back (STYLE.md 14).
    thread::Builder::new().name("ring".into()).stack_size(2 * 1024 * 1024).spawn(body)?;
    let refused = ready.await.map_err(|_| io::Error::other("the ring's thread cannot start"))?;
    if let Some(user) = user {
        crate::user::give_root_up(user)?;
        // The kernel forgets it when a process changes its user.
        end_with_parent(parent)?;
        let _ = given_up.send(());
        tracing::info!(uid = user.uid, gid = user.gid, "the ring part is not root any more");
    }
    Ok(RingThread { make, ended, refused })
}

/// What a member must know before it can be one.
struct Contact {
    revision: Revision,
    keys: RingKeys,
    /// Highest era that the API showed, 0 without the API.
    era: u64,
}

/// The cached revision and keys, or the first ones that the API gives. People who ask meanwhile hear what is missing.
async fn first_contact(
    options: &Options,
    mut revision: Option<Revision>,
    state_dir: &mut StateDir,
    feed: &mut mpsc::Receiver<Feed>,
    calls: &mut mpsc::Receiver<Call>,
    lonely: &watch::Sender<Option<String>>,
) -> io::Result<Contact> {
    let mut era = 0;
    let mut keys = state_dir.ring_keys()?;
    let mut api = "not yet reached".to_owned();
    let mut wrong_key: Option<String> = None;
    loop {
        let missing = match (revision.take(), keys.take()) {
            (Some(found), Some(known)) => match member(options, &found) {
                Ok(_) => return Ok(Contact { revision: found, keys: known, era }),
                Err(error) => {
                    tracing::warn!(%error, "waiting");
                    (revision, keys) = (Some(found), Some(known));
                    "its name in spec.members of the HACluster"
                }
            },
            (None, Some(known)) => {
                keys = Some(known);
                "a revision of the cluster"
            }
            (Some(known), None) => {
                revision = Some(known);
                "the ring keys"
            }
            (None, None) => "a revision of the cluster and the ring keys",
        };
        tokio::select! {
            Some(call) = calls.recv() => answer(options, call, missing, &api, wrong_key.as_deref()),
            news = feed.recv() => match news {
                Some(Feed::Api(Ok(()))) => api = "reached".into(),
                Some(Feed::Api(Err(error))) => {
                    tracing::warn!(%error, "waiting for the API, for {missing}");
                    api = error;
                }
                Some(Feed::Era(sequence)) => era = era.max(sequence),
                // with keys of its own it is in a ring soon, and says it there
                Some(Feed::KeysWrong(why)) => {
                    wrong_key = Some(why.clone());
                    lonely.send_replace(Some(why).filter(|_| keys.is_none()));
                }
                Some(Feed::Keys(new)) => {
                    wrong_key = None;
                    lonely.send_replace(None);
                    state_dir.write(FileKind::RingKeys, new.to_text().as_bytes())?;
                    keys = Some(new);
                }
                Some(Feed::Revision(new)) => {
                    state_dir.write_as(FileKind::Revision, &*new)?;
                    revision = Some(*new);
                }
                None => {
                    let error = format!(
                        "{} holds no {missing}, and there is no API to ask: name one by --kubeconfig",
                        options.state_dir.display()
                    );
                    return Err(io::Error::new(io::ErrorKind::NotFound, error));
                }
            },
        }
    }
}

fn answer(options: &Options, call: Call, missing: &str, api: &str, wrong_key: Option<&str>) {
    let reply = match call.request {
        Request::Status {} => Reply::Status(Box::new(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            cluster: options.cluster_key(),
            node: options.node_name.to_string(),
            at_ms: clock::wall_ms(),
            ring: RingStatus { state: "waiting".into(), ..RingStatus::default() },
            conditions: vec![match wrong_key {
                Some(why) => crate::status::ConditionStatus {
                    kind: conditions::KEY.into(),
                    reason: "FirstContact".into(),
                    message: format!("waiting for {missing}: {why}"),
                },
                None => crate::status::ConditionStatus {
                    kind: conditions::API_UNREACHABLE.into(),
                    reason: "FirstContact".into(),
                    message: format!("waiting for {missing}; the API: {api}"),
                },
            }],
            ..Status::default()
        })),
        Request::Timeline { .. } => Reply::Timeline(Vec::new()),
        _ => Reply::Refused(format!("this member has not started yet: it waits for {missing}")),
    };
    let _ = call.reply.send(reply);
}

fn member(options: &Options, revision: &Revision) -> io::Result<NodeId> {
    let found = revision.voters.iter().find(|voter| voter.name == options.node_name);
    found.map(|voter| voter.id).ok_or_else(|| {
        let names: Vec<&str> = revision.voters.iter().map(|v| v.name.as_str()).collect();
        io::Error::other(format!(
            "no member is called {}: add it to spec.members of the HACluster, or correct --node-name (members: {})",
            options.node_name,
            names.join(", ")
        ))
    })
}
