//! `palisade bundle`: what somebody else needs to understand a cluster's trouble, in one file.
//!
//! Secrets are never asked for. Everything else goes through [`redact`] on its way into the file: values under names of
//! secrets, what stands behind such a name in a line, private keys. What could not be had is in the manifest, with why.

mod logs;
mod redact;

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use agent::local::{Reply, Request};
use anyhow::{Context as _, Result, bail};
use base::redact::line;
use serde_json::{Value, json};

use self::redact::value;
use crate::{
    local::Socket,
    status::{Reach, objects_of},
};

/// Of one log: its end.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Of one scrape.
const SCRAPE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Of all entries together, before they are compressed.
const BUNDLE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Entries of a timeline.
const TIMELINE_MAX: u16 = 1000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of `palisade bundle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file that is made; it must not be there yet.
    #[arg(long, short, value_name = "FILE.tar.gz")]
    output: PathBuf,
    /// Of timeline, journal and pods, the last so many minutes; all that is kept when left out.
    #[arg(long, value_name = "MINUTES")]
    since: Option<u64>,
    /// A log whose end goes in, beside those of the box, of the machine's journal and of our pods; several are possible.
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// Where /metrics is served; several are possible.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9465")]
    metrics: Vec<SocketAddr>,
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    reach: Reach,
}

/// What goes in, as it is collected.
#[derive(Default)]
struct Bundle {
    entries: Vec<(String, Vec<u8>)>,
    missing: Vec<Value>,
    bytes: usize,
}

impl Bundle {
    fn add(&mut self, name: &str, content: Result<String>) {
        match content {
            Ok(text) if self.bytes + text.len() <= BUNDLE_BYTES_MAX => {
                eprintln!("palisade: {name}: {} bytes", text.len());
                self.bytes += text.len();
                self.entries.push((name.to_owned(), text.into_bytes()));
            }
            Ok(_) => self.miss(name, "the bundle is full"),
            Err(error) => self.miss(name, &format!("{error:#}")),
        }
    }

    fn miss(&mut self, name: &str, why: &str) {
        let why = line(why);
        eprintln!("palisade: {name}: not in it: {why}");
        self.missing.push(json!({"name": name, "why": why}));
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut bundle = Bundle::default();
    bundle.add("version.txt", Ok(format!("palisade {}\n", env!("CARGO_PKG_VERSION"))));
    let status = args.socket.status();
    bundle.add(
        "agent/status.json",
        status.and_then(|status| json_text(serde_json::to_value(status)?)),
    );
    bundle.add("agent/timeline.json", timeline(args));
    for at in &args.metrics {
        bundle.add(&format!("metrics/{at}.txt"), scrape(*at));
    }
    for path in &args.log {
        let flat = path.display().to_string().trim_start_matches('/').replace('/', "_");
        bundle.add(&format!("logs/{flat}"), end_of(path));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        logs::of_machine(&args.socket, args.since, &mut bundle).await;
        objects(args, &mut bundle).await;
    });
    write(&args.output, bundle)
}

fn json_text(mut found: Value) -> Result<String> {
    value(&mut found);
    Ok(serde_json::to_string_pretty(&found)? + "\n")
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn timeline(args: &Args) -> Result<String> {
    let Reply::Timeline(mut entries) =
        args.socket.ask(&Request::Timeline { limit: TIMELINE_MAX })?
    else {
        bail!("the agent answered something else");
    };
    if let Some(minutes) = args.since {
        let from = now_ms().saturating_sub(minutes.saturating_mul(60_000));
        entries.retain(|entry| entry.at_ms >= from);
    }
    json_text(serde_json::to_value(entries)?)
}

fn scrape(at: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut bytes = Vec::new();
    stream.take(SCRAPE_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (_, body) = text.split_once("\r\n\r\n").context("no answer")?;
    Ok(lines(body))
}

fn end_of(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(lines(&String::from_utf8_lossy(&bytes)))
}

fn lines(text: &str) -> String {
    base::redact::text(text)
}

/// All of our kinds, Events, and logs of our pods. Never a Secret.
async fn objects(args: &Args, bundle: &mut Bundle) {
    let asked = tokio::time::timeout(PATIENCE, args.reach.client()).await;
    let (client, namespace) = match asked.map_err(anyhow::Error::from).and_then(|client| client) {
        Ok(reached) => reached,
        Err(error) => return bundle.miss("objects", &format!("{error:#}")),
    };
    macro_rules! each {
        ($($kind:ty => $name:literal),* $(,)?) => {$(
            let found = tokio::time::timeout(PATIENCE, objects_of::<$kind>(&client, &namespace)).await;
            let found = found.map_err(anyhow::Error::from).and_then(|found| found);
            bundle.add(concat!("objects/", $name, ".json"), found.and_then(|all| json_text(Value::Array(all))));
        )*};
    }
    each! {
        api::HACluster => "haclusters",
        api::HANode => "hanodes",
        api::FenceDevice => "fencedevices",
        api::ResourcePlacement => "resourceplacements",
        api::PlacementConstraint => "placementconstraints",
        api::VirtualIP => "virtualips",
        api::FencingOperation => "fencingoperations",
        api::FencingRequest => "fencingrequests",
        api::FencingConfirmation => "fencingconfirmations",
        api::LoadBalancer => "loadbalancers",
    }
    logs::of_cluster(&client, &namespace, args.since, bundle).await;
}

fn write(path: &Path, bundle: Bundle) -> Result<()> {
    let entries: Vec<Value> = bundle
        .entries
        .iter()
        .map(|(name, bytes)| json!({"name": name, "bytes": bytes.len()}))
        .collect();
    let manifest = json!({
        "palisade": env!("CARGO_PKG_VERSION"), "madeAtMs": now_ms(), "entries": entries, "missing": bundle.missing,
        "redacted": "values under names of secrets, private keys; Secrets were not asked for",
    });
    let manifest = ("manifest.json".to_owned(), serde_json::to_vec_pretty(&manifest)?);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file
        .with_context(|| format!("cannot make {}: choose a name that is free", path.display()))?;
    let mut tar =
        tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::default()));
    for (name, bytes) in std::iter::once(&manifest).chain(&bundle.entries) {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len())?);
        header.set_mode(0o600);
        header.set_mtime(now_ms() / 1000);
        tar.append_data(&mut header, format!("palisade-bundle/{name}"), bytes.as_slice())?;
    }
    tar.into_inner()?.finish()?.sync_all()?;
    println!("{}", path.display());
    Ok(())
}
