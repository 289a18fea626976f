//! The I/O half: HTTPS with hyper, the boot-time clock, one session at a time.

use core::{future::Future, pin::pin, time::Duration};
use std::{net::SocketAddr, string::String, sync::Arc};

use base::{Instant, SystemUuid};
use tokio::{
    sync::{Mutex, oneshot},
    time::timeout,
};

use self::wire::Wire;
use super::{
    proto::{Action, Answer, Ask, Config, Failure, Output, Session, Step},
    tls::Trust,
};
use crate::{
    clock::boottime,
    power::{BoxFuture, DeviceIdentity, Permit, PowerDevice, PowerError, PowerOrder, PowerState},
    secret::Password,
};

mod wire;

/// After the deadline, or when nobody waits any more, a session is still ended, and a login still heard, for so long:
/// both switch nothing, and a BMC has few sessions (SAFETY.md 1.8).
const CLOSING: Duration = Duration::from_secs(2);

/// For the answer to anything but a command: a connection that hangs is given up while there is time for another.
const ANSWER: Duration = Duration::from_secs(10);

/// How to reach one BMC. No `Debug`: it holds the password.
#[derive(Clone)]
pub struct RedfishTarget {
    /// Usually port 443.
    pub address: SocketAddr,
    /// Name of the account.
    pub user: String,
    /// UTF-8.
    pub password: Password,
    /// `Id` or path of the system; the only one where it is missing.
    pub system: Option<String>,
    /// Whom we talk to.
    pub trust: Trust,
}

/// A BMC that speaks Redfish.
pub struct RedfishDevice {
    target: Arc<RedfishTarget>,
    /// Held while a session is open: many BMCs have four.
    slot: Arc<Mutex<()>>,
}

struct Errand {
    action: Action,
    target: Option<SystemUuid>,
    permit: Permit,
    deadline: Instant,
}

type Caller = oneshot::Sender<Result<Answer, PowerError>>;

impl RedfishDevice {
    /// Opens nothing yet.
    pub fn new(target: RedfishTarget) -> Self {
        Self { target: Arc::new(target), slot: Arc::default() }
    }

    /// Runs in a task of its own, so that a caller who drops the future ends the session and does not merely forget
    /// it (SAFETY.md 1.8: lost Close).
    async fn run(&self, errand: Errand) -> Result<Answer, PowerError> {
        let (mut tell, told) = oneshot::channel();
        let (target, slot) = (Arc::clone(&self.target), Arc::clone(&self.slot));
        tokio::spawn(async move {
            let result = match timeout(left(errand.deadline), slot.lock()).await {
                Err(_) => Err(PowerError::Timeout("waiting for its only session")),
                // Given up while it waited: then not even a session is opened.
                Ok(_) if tell.is_closed() => Err(PowerError::Superseded),
                Ok(_slot) => one_session(&target, &errand, &mut tell)
                    .await
                    .map_err(|failure| power_error(failure, errand.target)),
            };
            // Nobody listens any more: then nobody needs it.
            let _ = tell.send(result);
        });
        told.await.unwrap_or(Err(PowerError::Timeout("the session's task ended")))
    }

    async fn read(&self, target: SystemUuid, deadline: Instant) -> Result<PowerState, PowerError> {
        let permit = Permit::new(|| true);
        let errand = Errand { action: Action::ReadPower, target: Some(target), permit, deadline };
        match self.run(errand).await? {
            Answer::Power(state) => Ok(state),
            Answer::Identity(_) | Answer::Accepted => Err(PowerError::StateUnknown),
        }
    }

    async fn switch(
        &self,
        action: Action,
        order: PowerOrder,
    ) -> Result<fencing::Answer, PowerError> {
        let deadline = boottime() + order.within;
        let PowerOrder { target, permit, .. } = order;
        self.run(Errand { action, target: Some(target), permit, deadline }).await?;
        // The command's session is closed. Only what a new one reads counts (SAFETY.md#S4).
        match self.read(target, deadline).await {
            Ok(state) => Ok(fencing::Answer::Power(state)),
            // Many BMCs are busy for a while after a command; the caller reads again.
            Err(
                PowerError::RefusedByHttp { .. }
                | PowerError::StateUnknown
                | PowerError::Timeout(_)
                | PowerError::Unreachable(_),
            ) => Ok(fencing::Answer::Accepted),
            Err(error) => Err(error),
        }
    }
}

impl PowerDevice for RedfishDevice {
    fn identity(&self, within: Duration) -> BoxFuture<'_, Result<DeviceIdentity, PowerError>> {
        let deadline = boottime() + within;
        Box::pin(async move {
            let permit = Permit::new(|| true);
            let errand = Errand { action: Action::Identify, target: None, permit, deadline };
            match self.run(errand).await? {
                Answer::Identity(identity) => Ok(identity),
                Answer::Power(_) | Answer::Accepted => {
                    Err(PowerError::ProtocolViolation("it answered another question"))
                }
            }
        })
    }

    fn status(
        &self,
        target: SystemUuid,
        within: Duration,
    ) -> BoxFuture<'_, Result<PowerState, PowerError>> {
        let deadline = boottime() + within;
        Box::pin(self.read(target, deadline))
    }

    fn off(&self, order: PowerOrder) -> BoxFuture<'_, Result<fencing::Answer, PowerError>> {
        Box::pin(self.switch(Action::SwitchOff, order))
    }

    fn on(&self, order: PowerOrder) -> BoxFuture<'_, Result<fencing::Answer, PowerError>> {
        Box::pin(self.switch(Action::SwitchOn, order))
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.since(boottime())
}

/// Until when the answer of this step is waited for. Half of the time is left for looking what became of a command
/// that is not answered.
fn patience(step: Step, deadline: Instant) -> Instant {
    let now = boottime();
    match step {
        Step::Logout => now + CLOSING,
        Step::Command => now + deadline.since(now) / 2,
        _ => deadline.min(now + ANSWER),
    }
}

async fn one_session(
    target: &RedfishTarget,
    errand: &Errand,
    caller: &mut Caller,
) -> Result<Answer, Failure> {
    if left(errand.deadline).is_zero() {
        return Err(Failure::Timeout("waiting for its only session"));
    }
    let mut session = Session::new(Config {
        user: target.user.clone(),
        password: target.password.clone(),
        system: target.system.clone(),
        target: errand.target,
        action: errand.action,
    });
    let mut wire = Wire::new(target);
    let mut aborted = false;
    loop {
        let (ask, command) = match session.poll_output() {
            None => return Err(Failure::Timeout("the session")),
            Some(Output::Finished(result)) => return result,
            Some(Output::Ask(ask)) => (ask, false),
            Some(Output::Command(ask)) => (ask, true),
        };
        let step = session.step();
        let until = patience(step, errand.deadline);
        let ended = {
            let mut exchange = pin!(exchange(&mut wire, ask, command, step, until, errand));
            tokio::select! {
                ended = &mut exchange => Some(ended),
                () = caller.closed(), if !aborted => {
                    aborted = true;
                    session.handle_abort();
                    match session.step() {
                        // It may have been opened already.
                        Step::Login => timeout(CLOSING, &mut exchange).await.ok(),
                        _ => None,
                    }
                }
            }
        };
        match ended {
            Some(Ended::Reply(reply)) => {
                session.handle_reply(&reply);
                if boottime() >= errand.deadline {
                    session.handle_failure(Failure::Timeout(step.name()));
                }
            }
            Some(Ended::Withdrawn) => session.handle_withdrawn(),
            Some(Ended::Failed(failure)) => {
                wire.reset();
                session.handle_failure(failure);
            }
            None => {
                wire.reset();
                if session.step() == Step::Login {
                    session.handle_failure(Failure::Superseded);
                }
            }
        }
    }
}

enum Ended {
    Reply(super::proto::Reply),
    Withdrawn,
    Failed(Failure),
}

/// One request and its answer. What is not there by `until` never comes: the connection is reset, so that no command
/// waits in a buffer (CLUSTER.md section 4).
async fn exchange(
    wire: &mut Wire<'_>,
    ask: Ask,
    command: bool,
    step: Step,
    until: Instant,
    errand: &Errand,
) -> Ended {
    let grace = if step == Step::Login { CLOSING } else { Duration::ZERO };
    let work = async {
        // A connection that was kept may have been closed meanwhile: looking is asked again over a new one, a command
        // is not, since nobody can tell whether it was heard.
        let mut kept = wire.is_open();
        loop {
            wire.open().await?;
            // Right before the request leaves, after a handshake that may have been slow.
            if boottime() >= until {
                return Err(Failure::Timeout(step.name()));
            }
            if command && !errand.permit.stands() {
                return Ok(None);
            }
            match wire.send(&ask).await {
                Err(Failure::Unreachable(_)) if kept && !command => {
                    kept = false;
                    wire.reset();
                }
                other => return other.map(Some),
            }
        }
    };
    match within(until, grace, work).await {
        Some(Ok(Some(reply))) => Ended::Reply(reply),
        Some(Ok(None)) => Ended::Withdrawn,
        Some(Err(failure)) => Ended::Failed(failure),
        None => Ended::Failed(Failure::Timeout(step.name())),
    }
}

async fn within<T>(until: Instant, grace: Duration, work: impl Future<Output = T>) -> Option<T> {
    timeout(left(until) + grace, work).await.ok()
}

fn power_error(failure: Failure, target: Option<SystemUuid>) -> PowerError {
    match failure {
        Failure::Authentication(why) => PowerError::AuthenticationFailed(why),
        Failure::Refused { what, status, said } => {
            let said = if said.0.is_empty() { said.0 } else { format!(" ({})", said.0) };
            PowerError::RefusedByHttp { what, status, said }
        }
        Failure::StateUnknown => PowerError::StateUnknown,
        Failure::Superseded => PowerError::Superseded,
        Failure::Timeout(what) => PowerError::Timeout(what),
        Failure::Unreachable(why) => PowerError::Unreachable(why),
        Failure::Untrusted(why) => PowerError::Untrusted(why),
        Failure::Unusable(why) => PowerError::Misfit(why),
        Failure::Violation(why) => PowerError::ProtocolViolation(why),
        Failure::WrongIdentity(found) => {
            PowerError::WrongIdentity { wanted: target.unwrap_or(SystemUuid(0)), found }
        }
    }
}
