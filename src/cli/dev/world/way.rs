//! The way from one machine to another, for connections: who is reached, where the connection arrives there, and what cuts it.
//!
//! Invariants: nothing passes whose cables are out at one of the two ends; a machine reaches itself without any. A machine that
//! does not answer is silence, not an error, as on a network; a connection whose end is lost ends at once (on a real network it
//! would hang).

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use drivers::stand_in::{Arrival, Told, encode};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional,
    },
    net::{TcpStream, UnixStream},
    time::{Instant, sleep},
};

use super::{
    machine::Machine,
    net::{Arrives, Net},
};

/// Between two looks for somebody who answers.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);
/// As long as a client's first packets are repeated, roughly.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What a connection arrived at.
pub(super) enum Far {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Far {
    /// On a machine that was reached.
    pub(super) async fn open(
        net: &Net,
        on: &Machine,
        from: SocketAddr,
        at: SocketAddr,
    ) -> io::Result<Self> {
        match net.arrives(on, at) {
            // What listens on every address of the machine is at its own one.
            Arrives::Kernel => Ok(Self::Tcp(TcpStream::connect((on.link(), at.port())).await?)),
            Arrives::Socket(path) => {
                let mut stream = UnixStream::connect(path).await?;
                stream.write_all(&encode(&Arrival { from, at })?).await?;
                Ok(Self::Unix(stream))
            }
            Arrives::Nowhere => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Until one of them ends.
    pub(super) async fn join<S>(self, near: &mut S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        // Who ended it, and how, is seen at both ends.
        let _ = match self {
            Self::Tcp(mut far) => copy_bidirectional(near, &mut far).await,
            Self::Unix(mut far) => copy_bidirectional(near, &mut far).await,
        };
    }
}

/// A machine asked for a connection.
pub(super) async fn connect(
    net: &Net,
    me: usize,
    to: SocketAddr,
    mut near: BufReader<UnixStream>,
) -> io::Result<()> {
    let me = Arc::clone(&net.machines()[me]);
    let there = tokio::select! {
        there = reached(net, &me, to) => there,
        // Whoever asked has given up, or speaks before it was asked to.
        _ = near.fill_buf() => return Ok(()),
    };
    // To be said before anybody answers would be wrong: it waits until then, or gives up.
    let Some(there) = there else { return Ok(()) };
    let from = SocketAddr::new(me.link(), 0);
    let far = match Far::open(net, &there, from, to).await {
        Ok(far) => far,
        Err(error) => {
            let why = Told::Refused(format!("{to}: {error}"));
            return near.write_all(&encode(&why)?).await;
        }
    };
    near.write_all(&encode(&Told::Done)?).await?;
    let cut = async {
        if there.place() == me.place() {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            () = me.unreachable() => {}
            () = there.unreachable() => {}
        }
    };
    tokio::select! {
        () = far.join(&mut near) => {}
        () = cut => {}
    }
    Ok(())
}

async fn reached(net: &Net, me: &Machine, to: SocketAddr) -> Option<Arc<Machine>> {
    let until = Instant::now() + SILENCE_MAX;
    while Instant::now() < until {
        if let Some(there) = net.reached(me, to.ip()) {
            return Some(there);
        }
        sleep(LOOK_EVERY).await;
    }
    None
}

/// A machine listens as long as this connection is open.
pub(super) async fn listen(
    net: &Net,
    me: usize,
    at: SocketAddr,
    socket: &Path,
    mut near: BufReader<UnixStream>,
) -> io::Result<()> {
    let run = match net.hear(me, at, socket).await {
        Ok(run) => run,
        Err(why) => return near.write_all(&encode(&Told::Refused(why))?).await,
    };
    let told = near.write_all(&encode(&Told::Done)?).await;
    if told.is_ok() {
        // Nothing is said on it any more: whatever comes is its end.
        let _ = near.read_u8().await;
    }
    net.deafen(me, at, run);
    told
}
