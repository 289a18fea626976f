//! One controller behind a socket on loopback.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant as Clock},
};

use base::Instant;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::Notify,
    task::JoinHandle,
    time::sleep,
};

use crate::{
    chassis::{Chassis, Command, Effect, Power, Timing},
    redfish::{self, Redfish},
};

/// Longest datagram of any management protocol over UDP.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// After an error of the socket, so that one that stays does not turn in a circle.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Ends when it is done.
pub type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The machine behind a controller.
pub trait Machine: Send + Sync {
    /// Ends everything that runs on it; done when nothing is left. Must be idempotent.
    fn cut(&self) -> Done;
    /// Lets it boot; done when the boot has begun.
    fn start(&self) -> Done;
}

/// The server half of a protocol.
pub trait Speaker: Send {
    /// One datagram came, and the power is so.
    fn hear(&mut self, datagram: &[u8], power: bool) -> Said;
}

/// What a speaker makes of a datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// To whoever asked.
    pub answer: Option<Vec<u8>>,
    /// What was asked for and accepted.
    pub command: Option<Command>,
}

/// A controller that listens; it stops when it is dropped. Its machine stays as it is.
#[derive(Debug)]
pub struct Bmc {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    chassis: Mutex<Chassis>,
    begun: Clock,
    reachable: AtomicBool,
    pressed: Notify,
}

impl Shared {
    fn now(&self) -> Instant {
        Instant(u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn chassis(&self) -> MutexGuard<'_, Chassis> {
        // Nothing can panic under the lock.
        self.chassis.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new(on: bool, timing: Timing) -> Arc<Self> {
        Arc::new(Self {
            chassis: Mutex::new(Chassis::new(on, timing)),
            begun: Clock::now(),
            reachable: AtomicBool::new(true),
            pressed: Notify::new(),
        })
    }

    pub(crate) fn press(&self, command: Command) {
        let now = self.now();
        self.chassis().handle_command(now, command);
        self.pressed.notify_one();
    }

    pub(crate) fn reading(&self) -> Power {
        self.chassis().reading()
    }

    pub(crate) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }
}

fn only_loopback(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let text = format!("a simulated BMC listens on loopback only: not on {address}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

impl Bmc {
    /// Listens. `on`: whether its machine runs now.
    pub async fn start(
        address: SocketAddr,
        on: bool,
        timing: Timing,
        speaker: Box<dyn Speaker>,
        machine: Arc<dyn Machine>,
    ) -> io::Result<Self> {
        only_loopback(address)?;
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr()?;
        let shared = Shared::new(on, timing);
        let (own, socket) = (Arc::clone(&shared), Arc::new(socket));
        let task = tokio::spawn(async move {
            tokio::join!(listen(&own, &socket, speaker), switch(&own, &machine));
        });
        Ok(Self { address, shared, task })
    }

    /// Listens with TLS and speaks Redfish. `on`: whether its machine runs now.
    pub async fn start_redfish(
        address: SocketAddr,
        on: bool,
        timing: Timing,
        service: Redfish,
        machine: Arc<dyn Machine>,
    ) -> io::Result<Self> {
        only_loopback(address)?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let acceptor = service.certificate().acceptor()?;
        let shared = Shared::new(on, timing);
        let own = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            tokio::join!(
                redfish::listen(&own, &listener, &acceptor, &service),
                switch(&own, &machine)
            );
        });
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says about the power.
    #[must_use]
    pub fn power(&self) -> bool {
        self.shared.chassis().power()
    }

    /// A finger on the button.
    pub fn press(&self, command: Command) {
        self.shared.press(command);
    }

    /// Whether its network cable is plugged in.
    pub fn set_reachable(&self, reachable: bool) {
        self.shared.reachable.store(reachable, Ordering::Relaxed);
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(shared: &Shared, socket: &UdpSocket, mut speaker: Box<dyn Speaker>) {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            sleep(ERROR_PAUSE).await;
            continue;
        };
        if !shared.is_reachable() {
            continue;
        }
        let power = shared.chassis().power();
        let Said { answer, command } = speaker.hear(&buffer[..length], power);
        if let Some(command) = command {
            tracing::info!(?command, bmc = ?socket.local_addr().ok(), "accepted");
            shared.press(command);
        }
        if let Some(answer) = answer {
            // What is lost is asked for again.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn switch(shared: &Shared, machine: &Arc<dyn Machine>) {
    loop {
        let now = shared.now();
        let (effect, wake) = {
            let mut chassis = shared.chassis();
            chassis.handle_timeout(now);
            (chassis.poll_effect(), chassis.poll_timeout())
        };
        match effect {
            Some(Effect::Cut) => {
                machine.cut().await;
                let now = shared.now();
                shared.chassis().handle_cut(now);
            }
            Some(Effect::Start) => machine.start().await,
            None => {
                let time = async {
                    match wake {
                        Some(at) => sleep(at.since(now)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = time => {}
                    () = shared.pressed.notified() => {}
                }
            }
        }
    }
}
