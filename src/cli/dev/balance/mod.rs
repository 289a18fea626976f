//! `palisade dev balance`: what stands in for HAProxy on a machine of a box. Started by its agent, under a shim, as HAProxy is.
//!
//! Promises: the same words on `admin.sock`, the same signals (SIGUSR2 reads the configuration again, SIGUSR1 ends when the
//! connections have), the same judgement of servers (`fall`, `rise`, the first bad look at a fresh one counts); a reload ends no
//! connection; what it does not take is said, and the configuration before goes on. It says at each start that it is no HAProxy.
//! Never: another address than those of loopback; a connection to a server that does not go over the network of the box.
//!
//! What HAProxy does and this does not: requests of one connection stay with one server, whatever the mode; `X-Forwarded-For`;
//! statistics but for a few.
//!
//! ```text
//!   front.sock ─▶ session ─▶ choose ─▶ Kernel::connect ─▶ server        check ─▶ Kernel::connect ─▶ server
//!   admin.sock ─▶ admin ─▶ pool (servers: health, maintenance, sessions) ◀─ check
//! ```

mod admin;
mod check;
mod health;
mod pool;
mod session;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use drivers::{haproxy::Intent, stand_in::Kernel};
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    task::JoinSet,
};

use self::pool::Live;

/// Connections at once, whatever the object says: this is a box.
const SESSIONS_MAX: usize = 4096;
/// Descriptors that are not connections.
const DESCRIPTORS_KEPT: u64 = 64;
/// After an error of the kernel.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the balancer.
    folder: PathBuf,
}

/// All of a running one.
struct Balancer {
    folder: PathBuf,
    live: Mutex<Arc<Live>>,
    sessions: AtomicUsize,
    /// How many the descriptors suffice for.
    sessions_max: usize,
    /// A session ended, or other parameters are in force.
    changed: Notify,
}

impl Balancer {
    fn live(&self) -> Arc<Live> {
        // Replaced in one step.
        Arc::clone(&self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn sessions_max(&self) -> usize {
        let wanted = usize::try_from(self.live().intent.proxy.connections_max);
        wanted.unwrap_or(SESSIONS_MAX).min(self.sessions_max)
    }
}

/// One connection of a client, counted as long as it lives.
struct Counted(Arc<Balancer>);

impl Counted {
    fn new(balancer: &Arc<Balancer>) -> Self {
        balancer.sessions.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(balancer))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    println!("this is no HAProxy: it stands in for it in a box, and balances connections");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(live(&args.folder));
    runtime.shutdown_background();
    if let Err(error) = &result {
        // The agent reads the last line.
        println!("[ALERT] {error:#}");
    }
    result
}

async fn live(folder: &Path) -> Result<()> {
    // Before anything that its agent waits for: a signal without a handler would end it.
    let mut reload = signal(SignalKind::user_defined2())?;
    let mut end = signal(SignalKind::user_defined1())?;
    let intent = Intent::load(folder).context(Intent::FILE)?;
    let front = listener(&folder.join(Intent::FRONT))?;
    let mut ears = Ears::default();
    ears.follow(folder, &intent).await?;
    let balancer = Arc::new(Balancer {
        folder: folder.to_owned(),
        live: Mutex::new(Arc::new(Live::new(intent, None))),
        sessions: AtomicUsize::new(0),
        sessions_max: descriptors(),
        changed: Notify::new(),
    });
    let _checks = serve(&balancer, front, &mut ears, &mut reload, &mut end).await?;
    // Nobody new from here on; checks go on for those that are there.
    ears.0.clear();
    while balancer.sessions.load(Ordering::Relaxed) > 0 {
        balancer.changed.notified().await;
    }
    println!("ended with its last connection");
    Ok(())
}

/// Until it is asked to end.
async fn serve(
    balancer: &Arc<Balancer>,
    front: UnixListener,
    ears: &mut Ears,
    reload: &mut Signal,
    end: &mut Signal,
) -> Result<JoinSet<()>> {
    let mut checks = check::start(&balancer.live());
    let admin = listener(&balancer.folder.join(Intent::ADMIN))?;
    let mut doors = JoinSet::new();
    doors.spawn(session::accept(Arc::clone(balancer), front));
    doors.spawn(admin::accept(Arc::clone(balancer), admin));
    loop {
        tokio::select! {
            _ = reload.recv() => match again(balancer, ears).await {
                Ok(()) => {
                    checks = check::start(&balancer.live());
                    balancer.changed.notify_one();
                    println!("other parameters are in force: {}", balancer.live().intent.fingerprint);
                }
                Err(error) => println!("[ALERT] the configuration before goes on: {error:#}"),
            },
            _ = end.recv() => return Ok(checks),
        }
    }
}

/// Other parameters. Servers that stay keep what is known of them, and their connections.
async fn again(balancer: &Balancer, ears: &mut Ears) -> Result<()> {
    let intent = Intent::load(&balancer.folder).context(Intent::FILE)?;
    ears.follow(&balancer.folder, &intent).await?;
    let before = balancer.live();
    let live = Arc::new(Live::new(intent, Some(&before)));
    *balancer.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    Ok(())
}

/// The addresses and ports that the network brings here; each as long as its connection is open.
#[derive(Default)]
struct Ears(BTreeMap<SocketAddr, UnixStream>);

impl Ears {
    /// All or nothing.
    async fn follow(&mut self, folder: &Path, intent: &Intent) -> Result<()> {
        let kernel = Kernel::new(&intent.kernel);
        let mut fresh = BTreeMap::new();
        let wanted = intent.proxy.frontends.iter().map(|f| SocketAddr::new(f.address, f.port));
        let wanted: Vec<SocketAddr> = wanted.collect();
        for at in wanted.iter().filter(|at| !self.0.contains_key(at)) {
            let kept = kernel.listen(*at, folder.join(Intent::FRONT)).await;
            fresh.insert(*at, kept.with_context(|| format!("cannot listen on {at}"))?);
        }
        self.0.retain(|at, _| wanted.contains(at));
        self.0.extend(fresh);
        Ok(())
    }
}

/// Its owner's only.
fn listener(path: &Path) -> Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let bound = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(bound)
}

/// As many as we may have; so many connections are possible, with two descriptors each.
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = 2 * SESSIONS_MAX as u64 + DESCRIPTORS_KEPT;
    let wanted = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let more = current.is_some_and(|current| current < wanted);
    let raised = Rlimit { current: Some(wanted), maximum };
    let have = match more && setrlimit(Resource::Nofile, raised).is_ok() {
        true => Some(wanted),
        false => current,
    };
    let room = have.map_or(u64::MAX, |have| have.saturating_sub(DESCRIPTORS_KEPT) / 2);
    usize::try_from(room).unwrap_or(SESSIONS_MAX).clamp(1, SESSIONS_MAX)
}
