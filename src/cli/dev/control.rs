//! How `palisade dev kill` and its like reach a running box: one JSON line each way at a socket of the folder.

use std::{io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use super::{plan::Folder, world::World};

const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Ending a machine takes milliseconds, freezing one too.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be done to a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Ask {
    Describe {},
    Freeze { node: String },
    Heal { node: String },
    Isolate { node: String },
    Kill { node: String },
    Start { node: String },
    Stop {},
    Thaw { node: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Done(String),
    Refused(String),
}

/// Serves until it is dropped with its tasks; `stop` is told when somebody asks for the end.
pub(super) fn serve(
    folder: &Folder,
    world: &Arc<World>,
    stop: &Arc<Notify>,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    let path = folder.control();
    remove(&path)?;
    let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let (world, stop) = (Arc::clone(world), Arc::clone(stop));
    tasks.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
            tokio::spawn(async move {
                // Whoever breaks off hears nothing.
                let _ = answer(&world, &stop, stream).await;
            });
        }
    });
    Ok(())
}

/// The file of an earlier box goes; the caller holds the lock of the folder.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

async fn answer(world: &World, stop: &Notify, stream: UnixStream) -> Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(read).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    let done = match serde_json::from_slice(&line) {
        Ok(ask) => carry_out(world, stop, ask).await,
        Err(error) => Err(error.into()),
    };
    let told = match done {
        Ok(text) => Told::Done(text),
        Err(error) => Told::Refused(format!("{error:#}")),
    };
    let mut line = serde_json::to_vec(&told)?;
    line.push(b'\n');
    Ok(write.write_all(&line).await?)
}

async fn carry_out(world: &World, stop: &Notify, ask: Ask) -> Result<String> {
    match ask {
        Ask::Describe {} => {
            let overlaps = world.overlaps();
            Ok(format!("{}\noverlaps: {overlaps}", world.describe().join("\n")))
        }
        Ask::Freeze { node } => world.freeze(&node).await,
        Ask::Heal { node } => world.plug(&node, true),
        Ask::Isolate { node } => world.plug(&node, false),
        Ask::Kill { node } => world.kill(&node).await,
        Ask::Start { node } => world.start(&node).await,
        Ask::Stop {} => {
            stop.notify_one();
            Ok("the box ends".into())
        }
        Ask::Thaw { node } => world.thaw(&node).await,
    }
}

/// Asks a running box.
pub(super) async fn ask(folder: &Folder, ask: &Ask) -> Result<String> {
    let path = folder.control();
    let mut stream = UnixStream::connect(&path).await.with_context(|| {
        format!("no box runs in {}: start it with `palisade dev`", folder.path().display())
    })?;
    let talk = async {
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut told = Vec::new();
        BufReader::new(stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut told).await?;
        Ok::<Told, anyhow::Error>(serde_json::from_slice(&told)?)
    };
    match timeout(PATIENCE, talk).await.context("the box does not answer")?? {
        Told::Done(text) => Ok(text),
        Told::Refused(why) => bail!(why),
    }
}
