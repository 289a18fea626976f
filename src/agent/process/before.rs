//! Beside parts of the version before, which had all sockets in the run directory itself (`run_dir` says for how long this
//! is kept).
//!
//! The ring part of this version sees the folders of its peers only, so it does not see the socket of an older fencer, which
//! besides admits nobody but root. The executor sees it and is root: it takes the ring's connection on, byte by byte. Without
//! it a machine whose agent was replaced before its fencer could not fence anybody until that is replaced too, which with
//! `OnDelete` is whenever a person comes to it.

use std::{io, path::Path, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::UnixStream,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    ipc::{Admitted, Listener, Port, connect_raw},
    run_dir::{Entry, RunDir},
};

/// Said on the way when the fencer of the version before has answered: a connection that leads nowhere is none.
const THROUGH: u8 = 1;
/// For the fencer to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The executor's side: takes the ring part on to a fencer of the version before, as long as one is there.
pub(super) async fn lead_to_fencer(run: &RunDir, admitted: Admitted) -> io::Result<()> {
    let listener = Listener::bind(&run.way_to_fencer_before(), admitted)?;
    // One ring part: its newest connection counts.
    let mut last: Option<JoinHandle<()>> = None;
    loop {
        let Ok(mut from) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if let Some(last) = last.take() {
            last.abort();
        }
        if !run.has_before(Entry::Fencer) {
            continue;
        }
        let Ok(mut to) = connect_raw(&run.socket_before(Entry::Fencer), &Admitted::own()).await
        else {
            continue;
        };
        tracing::info!(
            "the fencer of this machine is of the version before: the ring part is led to it"
        );
        last = Some(tokio::spawn(async move {
            if from.write_all(&[THROUGH]).await.is_ok() {
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        }));
    }
}

/// The ring part's side. An error where no fencer of the version before is.
pub(crate) async fn be_led<Out, In>(path: &Path) -> io::Result<Port<Out, In>>
where
    Out: Serialize + Send + Sync + 'static,
    In: DeserializeOwned + Send + 'static,
{
    let mut stream: UnixStream = connect_raw(path, &Admitted::own()).await?;
    match timeout(PATIENCE, stream.read_u8()).await {
        Ok(Ok(THROUGH)) => Ok(Port::over(stream)),
        Ok(Ok(_)) => Err(io::Error::other("the executor is of another version")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_ring_part_is_led_to_a_fencer_of_the_version_before_and_to_nobody_else() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let run = RunDir::at(dir.path());
        run.make_entry(Entry::Executor, None).expect("made");
        let way = run.way_to_fencer_before();
        let leading = {
            let run = run.clone();
            tokio::spawn(async move { lead_to_fencer(&run, Admitted::own()).await })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        let led = be_led::<u32, u32>(&way).await;
        assert!(led.is_err(), "no fencer of the version before");

        let old = Listener::bind(&run.socket_before(Entry::Fencer), Admitted::own());
        let old = old.expect("bound");
        let mut ring = be_led::<u32, u32>(&way).await.expect("led");
        let mut fencer: Port<u32, u32> = Port::over(old.accept().await.expect("accepted"));
        assert!(ring.send(7));
        assert_eq!(fencer.rx.recv().await, Some(7));
        assert!(fencer.send(8));
        assert_eq!(ring.rx.recv().await, Some(8));
        // it is replaced: the ring part hears of it at once
        drop((fencer, old));
        assert_eq!(ring.rx.recv().await, None);
        run.make_entry(Entry::Fencer, None).expect("made");
        run.link_old_path(Entry::Fencer).expect("linked");
        let _new = Listener::bind(&run.socket(Entry::Fencer), Admitted::own()).expect("bound");
        assert!(be_led::<u32, u32>(&way).await.is_err(), "a link of ours leads to no older one");
        leading.abort();
    }
}
