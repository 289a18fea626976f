//! The network of the ring: takes what one agent sends to another's address and gives it on, from the sender's address, if the
//! cables of both are in.

use std::{io, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{net::UdpSocket, task::JoinSet};

use super::{bound, machine::Machine};

const DATAGRAM_BYTES_MAX: usize = 65_535;

pub(super) async fn start(machines: &[Arc<Machine>], tasks: &mut JoinSet<()>) -> Result<()> {
    let mut sockets = Vec::new();
    for machine in machines {
        let address = machine.ring_link();
        sockets.push(bound(UdpSocket::bind(address).await, address)?);
    }
    let ends: Arc<[(Arc<Machine>, UdpSocket)]> =
        machines.iter().cloned().zip(sockets).collect::<Vec<_>>().into();
    for to in 0..ends.len() {
        let ends = Arc::clone(&ends);
        tasks.spawn(async move {
            let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                if carry(&ends, to, &mut buffer).await.is_err() {
                    // An error that stays must not turn in a circle.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }
    Ok(())
}

/// One datagram that was sent to the address of `to`.
async fn carry(ends: &[(Arc<Machine>, UdpSocket)], to: usize, buffer: &mut [u8]) -> io::Result<()> {
    let (receiver, socket) = &ends[to];
    let (length, from) = socket.recv_from(buffer).await?;
    let sender = ends.iter().find(|(machine, _)| machine.ring_port() == from);
    let Some((sender, out)) = sender else { return Ok(()) };
    if sender.wires().reachable() && receiver.wires().reachable() {
        // What is not taken at once is lost, as on the wire.
        let _ = out.try_send_to(&buffer[..length], receiver.ring_port());
    }
    Ok(())
}
