//! The way of each machine to the API: one listener a machine, silent while the machine's cables are out.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use super::{bound, machine::Machine};

/// Where each machine finds the API, in order. They end with this process.
pub(super) async fn start(machines: &[Arc<Machine>], api: SocketAddr) -> Result<Vec<SocketAddr>> {
    let mut all = Vec::new();
    for machine in machines {
        // The API's certificate is for this address.
        let address = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0);
        let listener = bound(TcpListener::bind(address).await, address)?;
        all.push(listener.local_addr()?);
        let machine = Arc::clone(machine);
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                };
                tokio::spawn(carry(Arc::clone(&machine), client, api));
            }
        });
    }
    Ok(all)
}

async fn carry(machine: Arc<Machine>, mut client: TcpStream, api: SocketAddr) {
    if !machine.wires().reachable() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(api).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = machine.unreachable() => {}
    }
}
