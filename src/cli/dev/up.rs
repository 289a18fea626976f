//! `palisade dev`: from nothing to a cluster that serves, and back to nothing.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    local::{Reply, Request, call},
    state::DirLock,
    status::Status,
};
use anyhow::{Context as _, Result, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinSet,
};

use super::{
    api::ApiServer,
    control, gap,
    objects::{NAMESPACE, examples},
    page,
    plan::{self, Claim, Folder, Plan},
    world::{Times, World},
};

/// A new box is served in seconds, one that was cut off in the middle of something in a minute.
const READY_MAX: Duration = Duration::from_secs(120);
/// Without an answer of its address for so long, a box whose machines are all there counts as up all the same: a person
/// may have changed what it runs.
const SERVED_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For an answer of an agent that starts.
const STATUS_MAX: Duration = Duration::from_millis(500);
/// An earlier box of this folder may still be ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// One controller a box: a fresh one takes the Lease of its predecessor over at once.
const IDENTITY: &str = "palisade-dev";

/// BMCs of a new box that speak Redfish: both protocols are seen.
const REDFISH: u8 = 1;

/// What a person chose.
pub(super) struct Choice {
    pub(super) nodes: Option<u8>,
    pub(super) redfish: Option<u8>,
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) times: Times,
}

pub(super) fn run(folder: &Folder, choice: &Choice) -> Result<()> {
    folder.make()?;
    let lock = DirLock::take(folder.path(), "box.lock", LOCK_PATIENCE);
    let _lock = lock.map_err(|_| {
        let stop = "`palisade dev stop` ends it, another --dir makes another";
        anyhow::anyhow!("a box runs already in {}: {stop}", folder.path().display())
    })?;
    crate::log::start_in(&folder.path().join("box.log"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot make a runtime")?;
    let result = runtime.block_on(live(folder, choice));
    // Threads that wait for an agent's answer are not waited for.
    runtime.shutdown_background();
    result
}

async fn live(folder: &Folder, choice: &Choice) -> Result<()> {
    // From the first moment on: a Ctrl-C while it starts leaves nothing behind either.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let stop = Arc::new(Notify::new());
    let asked = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            () = stop.notified() => {}
        }
    };
    tokio::pin!(asked);

    let told = Teller(Instant::now());
    let (mut plan, _claim) = match folder.load()? {
        Some(plan) => {
            if choice.nodes.is_some_and(|nodes| usize::from(nodes) != plan.nodes.len()) {
                bail!(
                    "the box in {} has {} machines: choose another --dir for another number",
                    folder.path().display(),
                    plan.nodes.len()
                );
            }
            let redfish = plan.nodes.iter().filter(|node| node.redfish.is_some()).count();
            if choice.redfish.is_some_and(|wanted| usize::from(wanted) != redfish) {
                bail!(
                    "the box in {} has {redfish} BMCs that speak Redfish: choose another --dir for another number",
                    folder.path().display()
                );
            }
            told.say(&format!("the box in {} again", folder.path().display()));
            let claim = Claim::of(&plan)?;
            (plan, claim)
        }
        None => {
            let nodes = choice.nodes.unwrap_or(plan::NODES_MIN);
            let claim = Claim::any()?;
            let plan = plan::new(&claim, nodes, choice.redfish.unwrap_or(REDFISH).min(nodes))?;
            folder.store(&plan)?;
            told.say(&format!("a new box in {}", folder.path().display()));
            (plan, claim)
        }
    };
    let world = World::build(&plan, folder, choice.times).await?;
    let mut tasks = JoinSet::new();
    control::serve(folder, &world, &stop, &mut tasks)?;
    if let Err(error) = page::start(&plan, folder, &mut tasks).await {
        // Somebody may use that port; all else works without it.
        told.say(&format!("no page at http://{}: {error:#}", plan.page_socket()));
    }
    let api = ApiServer::start(folder, choice.kubeconfig.as_deref()).await?;
    let result = tokio::select! {
        result = bring_up(folder, &mut plan, &world, &api, &told) => match result {
            Ok(()) => { asked.await; Ok(()) }
            Err(error) => Err(error),
        },
        () = &mut asked => Ok(()),
    };
    told.say("ending: all machines lose their power");
    world.end().await;
    api.stop().await?;
    control::remove(&folder.control())?;
    match world.overlaps() {
        0 => {}
        n => eprintln!(
            "palisade dev: two machines held one address {n} times: that must never happen"
        ),
    }
    result
}

async fn bring_up(
    folder: &Folder,
    plan: &mut Plan,
    world: &World,
    api: &ApiServer,
    told: &Teller,
) -> Result<()> {
    match api.address() {
        Some(address) => told.say(&format!("API server (devapi) at https://{address}")),
        None => told.say("the API server that you named; machines that are cut off still reach it"),
    }
    let relays = match api.address() {
        Some(address) => world.relays(address).await?,
        None => Vec::new(),
    };
    for node in &plan.nodes {
        std::fs::create_dir_all(folder.machine(&node.name))?;
    }
    api.write_for_machines(folder, plan, &relays)?;
    std::fs::create_dir_all(folder.examples())?;
    for (file, text) in examples(plan) {
        plan::write_private(&folder.examples().join(file), text.as_bytes())?;
    }
    let new = !plan.objects_made;
    api.make_objects(folder, plan, world.power_off()).await?;
    start_controller(folder, plan)?;
    if new {
        told.say("made: HACluster, fence devices, Secrets, one process, one virtual address");
    }
    world.boot_all().await?;
    told.say(&format!("{} machines boot; {}", plan.nodes.len(), bmcs(plan)));
    until_ready(folder, plan, told).await?;
    println!("ready");
    hints(folder, plan);
    Ok(())
}

/// What the BMCs of the box speak.
fn bmcs(plan: &Plan) -> String {
    let names = |redfish: bool| -> Vec<&str> {
        let nodes = plan.nodes.iter().filter(|node| node.redfish.is_some() == redfish);
        nodes.map(|node| node.name.as_str()).collect()
    };
    let (ipmi, redfish) = (names(false), names(true));
    match (ipmi.is_empty(), redfish.is_empty()) {
        (_, true) => "each has a BMC that speaks IPMI".into(),
        (true, false) => "each has a BMC that speaks Redfish".into(),
        (false, false) => {
            format!("the BMCs of {} speak IPMI, of {} Redfish", ipmi.join(", "), redfish.join(", "))
        }
    }
}

/// In a thread of its own, as its own process would have one. It ends with this process; what it holds is one Lease.
fn start_controller(folder: &Folder, plan: &Plan) -> Result<()> {
    // Somebody may use that port; all else works without it.
    let listen = Some(plan.controller_metrics());
    let listen = listen.filter(|at| std::net::TcpListener::bind(at).is_ok());
    let duration = Duration::from_secs(15);
    let kubeconfig = folder.kubeconfig();
    let life = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        loop {
            let ended = runtime.block_on(controller::run(controller::Args {
                kubeconfig: Some(kubeconfig.clone()),
                namespace: NAMESPACE.into(),
                identity: IDENTITY.into(),
                listen,
                lease: controller::lease::Times { duration, renew: duration / 4 },
            }));
            tracing::error!(?ended, "the controller ended and is started again");
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    let thread = std::thread::Builder::new().name("controller".into());
    thread.spawn(life).map(drop).context("cannot start the controller")
}

async fn until_ready(folder: &Folder, plan: &Plan, told: &Teller) -> Result<()> {
    let begun = Instant::now();
    let mut shown = Vec::new();
    let mut whole_since = None;
    loop {
        let mut seen = Vec::new();
        for node in &plan.nodes {
            if let Some(status) = status_of(folder.agent_socket(&node.name)).await {
                seen.push(status);
            }
        }
        for line in progress(&seen) {
            if !shown.contains(&line) {
                told.say(&line);
                shown.push(line);
            }
        }
        let whole = seen.len() == plan.nodes.len() && seen.iter().all(|s| is_whole(s, plan));
        if whole {
            let since = *whole_since.get_or_insert_with(Instant::now);
            if let Some(by) = gap::ask(plan.vip_socket()).await {
                told.say(&format!("http://{} answers: served by {by}", plan.vip_socket()));
                return Ok(());
            }
            let wanted = seen.iter().any(|s| s.resources.iter().any(|r| r.kind == "Address"));
            if since.elapsed() > SERVED_MAX && !wanted {
                told.say("all machines are there; nothing is to be served");
                return Ok(());
            }
        } else {
            whole_since = None;
        }
        if begun.elapsed() > READY_MAX {
            let log = plan.nodes.first().map(|node| folder.agent_log(&node.name));
            let log = log.map(|log| log.display().to_string()).unwrap_or_default();
            let last = seen.first().map(|s| format!("{:?}", s.conditions)).unwrap_or_default();
            bail!("not ready after {READY_MAX:?}: look into {log}; the first machine says {last}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn status_of(socket: PathBuf) -> Option<Status> {
    let ask = move || match call(&socket, &Request::Status {}, STATUS_MAX) {
        Ok(Reply::Status(status)) => Some(*status),
        _ => None,
    };
    tokio::task::spawn_blocking(ask).await.ok()?
}

fn is_whole(status: &Status, plan: &Plan) -> bool {
    let online = status.nodes.iter().filter(|node| node.state == "online").count();
    online == plan.nodes.len() && status.quorate && status.era.as_ref().is_some_and(|era| era.open)
}

/// What has been reached, in words that are said once.
fn progress(seen: &[Status]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(status) = seen.iter().find(|status| !status.ring.members.is_empty()) {
        lines.push(format!("ring of {}", status.ring.members.join(", ")));
    }
    let open = seen.iter().find(|s| s.era.as_ref().is_some_and(|era| era.open));
    if let Some(status) = open {
        let by = status.coordinator.as_deref().unwrap_or("nobody");
        lines.push(format!("era open, quorate, coordinated by {by}"));
        for resource in &status.resources {
            for instance in resource.instances.iter().filter(|i| i.role == "Started") {
                lines.push(format!("{} runs on {}", resource.id, instance.node));
            }
        }
    }
    lines
}

/// Says how far it is, with the time since the start.
struct Teller(Instant);

impl Teller {
    fn say(&self, text: &str) {
        eprintln!("{:6.2} s  {text}", self.0.elapsed().as_secs_f64());
    }
}

/// What to type, as this program itself was typed.
fn program() -> String {
    let typed = std::env::args().next().filter(|word| word.contains('/'));
    typed.unwrap_or_else(|| "palisade".into())
}

fn hints(folder: &Folder, plan: &Plan) {
    let first = plan.nodes.first().map_or("n1", |node| node.name.as_str());
    let default = Folder::choose(None).is_ok_and(|default| default.path() == folder.path());
    let (dir, agent) = match default {
        true => (String::new(), String::new()),
        false => {
            let folder = folder.path().display();
            (format!(" --dir {folder}"), format!(" --agent {folder}"))
        }
    };
    let palisade = program();
    eprintln!(
        "\nAddresses here are those of loopback, put and taken away by a stand-in; processes, ring, fencing and API are real.\n\n\
         In another terminal:"
    );
    let tries = [
        ("who serves?", format!("curl http://{}", plan.vip_socket())),
        ("machines, ring, resources, live", format!("{palisade} status --watch{agent}")),
        ("the same in a browser", format!("http://{}/", plan.page_socket())),
        ("its power fails: who serves then?", format!("{palisade} dev kill {first}{dir}")),
        ("why it took that long", format!("{palisade} timeline{agent}")),
        ("other troubles", format!("{palisade} dev freeze|thaw|isolate|heal|start {first}{dir}")),
        (
            "the objects",
            format!("kubectl --kubeconfig {} get palisade", folder.kubeconfig().display()),
        ),
        ("the end; its state stays", format!("{palisade} dev stop{dir}    (or Ctrl-C here)")),
    ];
    for (why, command) in tries {
        eprintln!("  {why:34} {command}");
    }
}
