//! How the three parts of an agent talk: typed messages over bounded queues, and below them either nothing (tests and
//! `palisade dev`) or a Unix socket (production).
//!
//! Invariants: a part that cannot keep up loses its connection, never the sender its time; each entry checks who is on
//! the other side (CVE-2020-25654: entering behind the front door went around the checks); a frame has a limit, and
//! one that cannot be read ends the connection.

pub mod frame;
mod socket;

use tokio::sync::mpsc;

pub use frame::{FRAME_BYTES_MAX, FrameError};
pub use socket::{Admitted, Listener, connect, connect_raw};

/// Messages that may wait in one direction.
pub const QUEUE_MAX: usize = 1024;

/// One end of a connection. Either half closed means that the connection is over.
#[derive(Debug)]
pub struct Port<Out, In> {
    /// To the other side. Use `try_send`: a full queue is a hanging part.
    pub tx: mpsc::Sender<Out>,
    /// From the other side; `None` when the connection is over.
    pub rx: mpsc::Receiver<In>,
}

/// Two ends in one process.
pub fn pair<A, B>() -> (Port<A, B>, Port<B, A>) {
    let (to_b, from_a) = mpsc::channel(QUEUE_MAX);
    let (to_a, from_b) = mpsc::channel(QUEUE_MAX);
    (Port { tx: to_b, rx: from_b }, Port { tx: to_a, rx: from_a })
}

impl<Out, In> Port<Out, In> {
    /// Hands a message over without waiting. `false` when the connection is over or the other side hangs: drop the
    /// port then, and connect anew.
    #[must_use]
    pub fn send(&self, message: Out) -> bool {
        self.tx.try_send(message).is_ok()
    }
}
