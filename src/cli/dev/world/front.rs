//! The way in: an address that some machine announced is served on its real loopback address, each connection by whoever has
//! it at that moment.
//!
//! A stand-in for a network: nobody there means silence, so a client waits as it would for an answer to its first packet.
//! A machine that dies takes its connections with it; on a real network they would hang.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{super::plan::WEB_PORT, net::Net};

/// Between two looks for a holder.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// As long as a client's first packets are repeated, roughly.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Connections on their way at one time.
const CONNECTIONS_MAX: usize = 1024;

pub(super) fn start(net: &Arc<Net>, tasks: &mut JoinSet<()>) {
    let net = Arc::clone(net);
    let mut puts = net.put.subscribe();
    tasks.spawn(async move {
        let mut served = BTreeSet::new();
        let mut doors = JoinSet::new();
        while puts.changed().await.is_ok() {
            let Some(address) = *puts.borrow_and_update() else { continue };
            if !served.insert(address) {
                continue;
            }
            let at = SocketAddr::new(address, WEB_PORT);
            match TcpListener::bind(at).await {
                Ok(listener) => {
                    doors.spawn(door(Arc::clone(&net), listener, address));
                }
                Err(error) => {
                    served.remove(&address);
                    eprintln!("palisade dev: {at} cannot be served from outside: {error}");
                }
            }
        }
    });
}

async fn door(net: Arc<Net>, listener: TcpListener, address: IpAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else {
                    sleep(LOOK_EVERY).await;
                    continue;
                };
                if connections.len() < CONNECTIONS_MAX {
                    connections.spawn(carry(Arc::clone(&net), client, address));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(net: Arc<Net>, mut client: TcpStream, address: IpAddr) {
    let until = Instant::now() + SILENCE_MAX;
    let machine = loop {
        if let Some(machine) = net.holder(address) {
            break machine;
        }
        if Instant::now() >= until {
            return;
        }
        sleep(LOOK_EVERY).await;
    };
    // Nobody on the port: the client sees its connection end, which is as near to a refusal as it gets here.
    let Ok(mut service) = TcpStream::connect((machine.link(), WEB_PORT)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut service) => {}
        () = machine.unreachable() => {}
    }
}
