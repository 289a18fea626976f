//! The sockets at which agents ask their machines' kernels.

use std::{io, sync::Arc};

use anyhow::{Context as _, Result};
use drivers::stand_in::{Ask, LINE_BYTES_MAX, Told, decode, encode};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{net::Net, way};

/// Of one machine at one time; most are short.
const CONNECTIONS_MAX: usize = 4096;

pub(super) fn start(net: &Arc<Net>, tasks: &mut JoinSet<()>) -> Result<()> {
    for (me, machine) in net.machines().iter().enumerate() {
        let path = machine.kernel_socket();
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        let net = Arc::clone(net);
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        tasks.spawn(async move {
            loop {
                let Ok(taken) = Arc::clone(&room).acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                };
                let net = Arc::clone(&net);
                tokio::spawn(async move {
                    // Whoever breaks off hears nothing.
                    let _ = serve(&net, me, stream).await;
                    drop(taken);
                });
            }
        });
    }
    Ok(())
}

async fn serve(net: &Net, me: usize, stream: UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    (&mut stream).take(limit).read_until(b'\n', &mut line).await?;
    let told = match decode::<Ask>(&line) {
        Ok(Ask::Connect { to }) => return way::connect(net, me, to, stream).await,
        Ok(Ask::Listen { at, socket }) => return way::listen(net, me, at, &socket, stream).await,
        Ok(ask) => net.answer(me, ask).await,
        Err(error) => Told::Refused(format!("cannot be read: {error}")),
    };
    stream.write_all(&encode(&told)?).await
}
