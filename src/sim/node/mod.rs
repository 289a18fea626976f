//! The glue: three parts of one agent, each a thin translation between a pure core and the world.
//!
//! Invariant: nothing is decided here and nothing is shared but messages. The real agent's glue does the same with
//! sockets in place of [`Effect`]s.

mod executor;
mod fencer;
mod ring;

use base::{Instant, NodeId};
use cluster::{ExecutorDo, ExecutorSays, FencerDo, FencerSays, PersistId, RequestKind, Verdict};
use fencing::{DeviceAction, DeviceCall, DeviceError};
use lifecycle::{Answer, Call, CallId};
use policy::revision::Revision;

pub use executor::ExecutorPart;
pub use fencer::{FencerPart, session_answer};
pub use ring::RingPart;

use crate::{
    clock::Clock, disk::FileName, fact::Part, kernel::Kernel, log::Log, net::Datagram,
    params::Params, queue::Time,
};

/// What a part is handed while it runs.
pub struct Context<'a> {
    /// The world's time; for facts only.
    pub now: Time,
    /// This machine's boot-time clock.
    pub local: Instant,
    /// This machine.
    pub node: NodeId,
    /// Its clocks.
    pub clock: &'a Clock,
    /// Its kernel.
    pub kernel: &'a mut Kernel,
    /// How the run was drawn.
    pub params: &'a Params,
    /// Facts.
    pub log: &'a mut Log,
    /// What is to be done.
    pub effects: &'a mut Vec<Effect>,
}

/// Which write became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Of the cluster's engine.
    File(PersistId),
    /// Ring sequence numbers up to this.
    Reserved(u64),
}

/// What a part wants from the world.
#[expect(
    missing_docs,
    reason = "fields are named for what they say; each variant has its sentence"
)]
#[derive(Debug)]
pub enum Effect {
    /// A datagram to a machine.
    Send { to: usize, datagram: Datagram },
    /// Replace a file.
    Write { name: FileName, bytes: Vec<u8>, then: Written },
    /// Ask a machine whether it is there.
    Probe { node: NodeId },
    /// Run a driver.
    Drive(Call),
    /// Log in at a BMC.
    Session(DeviceCall),
    /// A power command or a read leaves this machine.
    Transmit { call: fencing::CallId, target: NodeId, action: DeviceAction },
    /// A message to another part of this agent.
    Tell(Part, Message),
    /// reboot(2).
    Reboot,
    /// This part ends by itself.
    Exit,
}

/// What a part is told.
#[expect(
    missing_docs,
    reason = "fields are named for what they say; each variant has its sentence"
)]
#[derive(Clone, Debug)]
pub enum Message {
    /// Ring: a datagram came in.
    Datagram { from: usize, bytes: Datagram },
    /// Ring: a write is durable.
    Written(Written),
    /// Ring: the executor says.
    ExecutorSays(ExecutorSays),
    /// Ring: the fencer says.
    FencerSays(FencerSays),
    /// Ring: a probe ended.
    Probed { node: NodeId, verdict: Verdict },
    /// Ring: a datagram to this machine came back, its port is closed.
    Unreachable(NodeId),
    /// Ring: what the wall clock shows.
    Wall(i64),
    /// Ring: what the API server shows, compiled.
    Revision(Box<Revision>),
    /// Ring: a person asks.
    Request(RequestKind),
    /// Ring: executor or fencer has a new connection, because it started or because it had stood still.
    Connected(Part),
    /// Executor: the ring part says, and when: deadlines count from there.
    ExecutorDo(ExecutorDo, Instant),
    /// Fencer: the ring part says, and when.
    FencerDo(FencerDo, Instant),
    /// Executor, fencer: the ring part saw a token.
    Token {
        /// When, on this machine.
        seen_at: Instant,
        /// Whether it renews addresses.
        era_open: bool,
    },
    /// Executor, fencer: the ring part's socket closed.
    RingClosed,
    /// Executor: the driver comes to the system call that does it.
    Due(CallId),
    /// Executor: the driver ends; with this answer, or with what the kernel shows.
    Done(CallId, Option<Answer>),
    /// Fencer: logged in, identity compared.
    LoggedIn(fencing::CallId),
    /// Fencer: the session is closed.
    Closed(fencing::CallId, Result<fencing::Answer, DeviceError>),
}

/// How a message comes to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Lost without a word where there is no room.
    Datagram,
    /// Over the connection to the ring part: where there is no room the connection ends.
    Connection,
    /// From the part's own drivers, disk and BMCs, or from people.
    Own,
}

impl Message {
    /// How it comes.
    pub fn way(&self) -> Way {
        match self {
            Self::Datagram { .. } => Way::Datagram,
            Self::ExecutorDo(..) | Self::FencerDo(..) | Self::Token { .. } | Self::RingClosed => {
                Way::Connection
            }
            _ => Way::Own,
        }
    }
}

/// One running part.
pub enum Running {
    /// See [`RingPart`].
    Ring(Box<RingPart>),
    /// See [`ExecutorPart`].
    Executor(Box<ExecutorPart>),
    /// See [`FencerPart`].
    Fencer(Box<FencerPart>),
}

impl Running {
    /// Takes a message.
    pub fn handle(&mut self, ctx: &mut Context<'_>, message: Message) {
        match self {
            Self::Ring(part) => part.handle(ctx, message),
            Self::Executor(part) => part.handle(ctx, message),
            Self::Fencer(part) => part.handle(ctx, message),
        }
    }

    /// Works off timers.
    pub fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        match self {
            Self::Ring(part) => part.handle_timeout(ctx),
            Self::Executor(part) => part.handle_timeout(ctx),
            Self::Fencer(part) => part.handle_timeout(ctx),
        }
    }

    /// When to be woken.
    pub fn wake(&self) -> Option<Instant> {
        match self {
            Self::Ring(part) => part.wake(),
            Self::Executor(part) => part.wake(),
            Self::Fencer(part) => part.wake(),
        }
    }

    /// The ring part, if it is one.
    pub fn as_ring(&self) -> Option<&RingPart> {
        if let Self::Ring(part) = self { Some(part) } else { None }
    }

    /// The executor part, if it is one.
    pub fn as_executor(&self) -> Option<&ExecutorPart> {
        if let Self::Executor(part) = self { Some(part) } else { None }
    }
}
