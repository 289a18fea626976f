//! The ring part's ends of its connections to executor and fencer.
//!
//! Invariants: a part that does not take a message at once loses its connection and gets a new one; on each connection it
//! hears first what it must know before anything else.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, mpsc};

use crate::{
    ipc::{Admitted, Port, connect, pair},
    process::be_led,
};

/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(50);

/// How a part is reached.
#[derive(Debug)]
pub enum Dial<Out, In> {
    /// In this process: tests and `palisade dev`.
    Here(mpsc::Sender<Port<In, Out>>),
    /// Over its socket.
    Socket(PathBuf),
    /// Over its socket, or else the way that the executor knows to a part of the version before.
    SocketOrBefore {
        /// Of a part of this version.
        socket: PathBuf,
        /// The executor's.
        way: PathBuf,
    },
}

impl<Out, In> Dial<Out, In>
where
    Out: Serialize + Send + Sync + 'static,
    In: DeserializeOwned + Send + 'static,
{
    /// Connects again and again: after each port given out it waits until `lost` says that it is over.
    pub(crate) async fn keep(self, ports: mpsc::Sender<Port<Out, In>>, lost: Arc<Notify>) {
        loop {
            match self.dial().await {
                Ok(port) => {
                    if ports.send(port).await.is_err() {
                        return;
                    }
                    lost.notified().await;
                }
                Err(error) => tracing::debug!(%error, "a part of the agent is not there yet"),
            }
            if ports.is_closed() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn dial(&self) -> io::Result<Port<Out, In>> {
        match self {
            Self::Here(parts) => {
                let (ours, theirs) = pair();
                let gone = |_| io::Error::from(io::ErrorKind::NotConnected);
                parts.send(theirs).await.map_err(gone)?;
                Ok(ours)
            }
            Self::Socket(path) => connect(path, &Admitted::own()).await,
            Self::SocketOrBefore { socket, way } => {
                match connect(socket, &Admitted::own()).await {
                    Ok(port) => Ok(port),
                    // What is said is why this version's is not there; the other is seldom there.
                    Err(error) => be_led(way).await.map_err(|_| error),
                }
            }
        }
    }
}

/// One of the two, connected or not.
#[derive(Debug)]
pub(super) struct Part<Out, In> {
    name: &'static str,
    port: Option<Port<Out, In>>,
    fresh: mpsc::Receiver<Port<Out, In>>,
    lost: Arc<Notify>,
}

impl<Out, In> Part<Out, In>
where
    Out: Serialize + Send + Sync + 'static,
    In: DeserializeOwned + Send + 'static,
{
    /// Starts to connect. Must be called inside the runtime that polls it.
    pub(super) fn start(name: &'static str, dial: Dial<Out, In>) -> Self {
        let (ports, fresh) = mpsc::channel(1);
        let lost = Arc::new(Notify::new());
        tokio::spawn(dial.keep(ports, Arc::clone(&lost)));
        Self { name, port: None, fresh, lost }
    }

    /// Whether there is a connection.
    pub(super) const fn connected(&self) -> bool {
        self.port.is_some()
    }

    /// Says something, if there is a connection. A part whose queue is full hangs: its connection ends.
    pub(super) fn say(&mut self, message: Out) {
        if let Some(port) = &self.port
            && !port.send(message)
        {
            self.drop_port("does not take messages");
        }
    }

    /// The next thing that the part says; `None` when a connection began or ended, see [`Self::connected`].
    pub(super) async fn next(&mut self) -> Option<In> {
        match &mut self.port {
            Some(port) => {
                let message = port.rx.recv().await;
                if message.is_none() {
                    self.drop_port("closed its connection");
                }
                message
            }
            None => {
                match self.fresh.recv().await {
                    Some(port) => self.port = Some(port),
                    None => std::future::pending().await,
                }
                None
            }
        }
    }

    fn drop_port(&mut self, why: &'static str) {
        tracing::warn!(part = self.name, "{why}; connecting again");
        self.port = None;
        self.lost.notify_one();
    }
}
