//! The way in: an address that some machine announced is served on its real loopback address, each connection by whoever has
//! it at that moment.
//!
//! A stand-in for a network: nobody there means silence, so a client waits as it would for an answer to its first packet.
//! A machine that dies takes its connections with it; on a real network they would hang.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    net::Net,
    way::{Far, LOOK_EVERY, SILENCE_MAX},
};

/// Connections on their way at one time, of one port.
const CONNECTIONS_MAX: usize = 1024;
/// Ports that are served, of all addresses; each stays until the box ends.
const DOORS_MAX: usize = 256;

/// A port that is to be served.
pub(super) struct Door {
    pub(super) at: SocketAddr,
    /// Whoever wants to know whether it is.
    pub(super) told: Option<oneshot::Sender<io::Result<()>>>,
}

pub(super) fn start(net: &Arc<Net>, mut asked: mpsc::Receiver<Door>, tasks: &mut JoinSet<()>) {
    let net = Arc::clone(net);
    tasks.spawn(async move {
        let mut served = BTreeSet::new();
        let mut doors = JoinSet::new();
        while let Some(Door { at, told }) = asked.recv().await {
            let opened = if served.contains(&at) {
                Ok(())
            } else if served.len() >= DOORS_MAX {
                Err(io::Error::other(format!("{DOORS_MAX} ports are served: end the box first")))
            } else {
                TcpListener::bind(at).await.map(|listener| {
                    served.insert(at);
                    doors.spawn(door(Arc::clone(&net), listener, at));
                })
            };
            match (told, opened) {
                // Whoever does not wait for it any more has ended.
                (Some(told), opened) => drop(told.send(opened)),
                (None, Ok(())) => {}
                (None, Err(error)) => {
                    eprintln!("palisade dev: {at} cannot be served from outside: {error}");
                }
            }
        }
    });
}

async fn door(net: Arc<Net>, listener: TcpListener, at: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, from)) = accepted else {
                    sleep(LOOK_EVERY).await;
                    continue;
                };
                if connections.len() < CONNECTIONS_MAX {
                    connections.spawn(carry(Arc::clone(&net), client, from, at));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(net: Arc<Net>, mut client: TcpStream, from: SocketAddr, at: SocketAddr) {
    let until = Instant::now() + SILENCE_MAX;
    let machine = loop {
        if let Some(machine) = net.holder(at.ip()) {
            break machine;
        }
        if Instant::now() >= until {
            return;
        }
        sleep(LOOK_EVERY).await;
    };
    // Nobody on the port: the client sees its connection end, which is as near to a refusal as it gets here.
    let Ok(service) = Far::open(&net, &machine, from, at).await else { return };
    tokio::select! {
        () = service.join(&mut client) => {}
        () = machine.unreachable() => {}
    }
}
