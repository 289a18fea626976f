//! What the executor asks of anything that runs on a machine.
//!
//! A driver says what it saw, in the words of `lifecycle`; whether that is a failure that counts, whether it is tried
//! again and where, is decided elsewhere. Every operation is idempotent: starting what runs and stopping what does not
//! is `Ok`. `Ok` from a stop means that nothing of the instance is left (SAFETY.md#S31).

use core::time::Duration;
use std::vec::Vec;

use base::{ResourceId, ResourceKind};
use lifecycle::{Answer, Call, Operation, Outcome, Wish};

use crate::power::BoxFuture;

/// One instance on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// Which.
    pub resource: &'a ResourceId,
    /// What it is.
    pub kind: &'a ResourceKind,
    /// For addresses: how long the kernel keeps it when nobody renews it; `None` for ever.
    pub lifetime: Option<Duration>,
}

/// Something that runs here and was found by looking, not from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Which.
    pub resource: ResourceId,
    /// What it is, as it was when it was started. `None` where the outside does not say.
    pub kind: Option<ResourceKind>,
    /// Equal as long as nothing restarted (`lifecycle::InstanceReport::run`).
    pub run: u64,
}

/// One kind of resource. Dropping a future breaks the operation off: nothing of it takes effect afterwards, and a
/// process that is being started is killed (`lifecycle::Output::Cancel`).
pub trait ResourceDriver: Send + Sync {
    /// Does it run here? Asked before anything is known.
    fn probe<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome>;
    /// Bring it up and wait until it is.
    fn start<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome>;
    /// Take it down and wait until nothing is left.
    fn stop<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome>;
    /// Is it healthy?
    fn monitor<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome>;
    /// Unpromoted to promoted. Most kinds have no such role.
    fn promote<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        let _ = instance;
        Box::pin(core::future::ready(unimplemented("promoted role")))
    }
    /// Promoted to unpromoted.
    fn demote<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Outcome> {
        let _ = instance;
        Box::pin(core::future::ready(unimplemented("promoted role")))
    }
    /// What runs here in truth, for an executor that has just started (CLUSTER.md section 8).
    fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>>;
    /// Token of the run of this instance; `None` when it does not run.
    fn run<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Option<u64>>;
    /// What the instance says of its own promotion. Most kinds say nothing.
    fn wish<'a>(&'a self, instance: Instance<'a>) -> BoxFuture<'a, Wish> {
        let _ = instance;
        Box::pin(core::future::ready(Wish::Unheard))
    }
}

/// Carries out one call of the executor core, bounded by its timeout. Drop the future to break the call off.
pub async fn carry_out(driver: &dyn ResourceDriver, call: &Call) -> Answer {
    let instance =
        Instance { resource: &call.resource, kind: &call.kind, lifetime: Some(call.lifetime) };
    let work = match call.operation {
        Operation::Probe => driver.probe(instance),
        Operation::Start => driver.start(instance),
        Operation::Stop => driver.stop(instance),
        Operation::Monitor => driver.monitor(instance),
        Operation::Promote => driver.promote(instance),
        Operation::Demote => driver.demote(instance),
    };
    let mut outcome = tokio::time::timeout(call.timeout, work).await.unwrap_or(Outcome::TimedOut);
    plain(&mut outcome);
    let run = driver.run(instance).await.unwrap_or(0);
    let wish = driver.wish(instance).await;
    Answer { outcome, run, wish }
}

/// Bytes of a driver's words: they stand in the state of each member, in objects and in Events.
const WORDS_BYTES_MAX: usize = 200;

/// What a driver says goes from here to the log, the ring, objects and bundles.
fn plain(outcome: &mut Outcome) {
    if let Outcome::Failed { reason, .. } | Outcome::Degraded { reason, .. } = outcome {
        *reason = base::redact::words(reason, WORDS_BYTES_MAX);
    }
}

/// OCF exit codes.
pub(crate) mod ocf {
    pub(crate) const GENERIC: u8 = 1;
    pub(crate) const UNIMPLEMENTED: u8 = 3;
    pub(crate) const PERMISSION: u8 = 4;
    pub(crate) const NOT_INSTALLED: u8 = 5;
    pub(crate) const NOT_CONFIGURED: u8 = 6;
}

/// A failure with at most 200 characters for people.
pub(crate) fn failed(code: u8, reason: impl core::fmt::Display) -> Outcome {
    let reason = reason.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    Outcome::Failed { code, reason }
}

pub(crate) fn unimplemented(what: &str) -> Outcome {
    failed(ocf::UNIMPLEMENTED, format_args!("this kind of resource has no {what}"))
}

#[cfg(test)]
mod tests {
    use core::future::ready;

    use lifecycle::CallId;

    use super::*;

    /// Fails, and says more than it should.
    struct Talker(Outcome);

    impl Talker {
        fn says(&self) -> BoxFuture<'_, Outcome> {
            Box::pin(ready(self.0.clone()))
        }
    }

    impl ResourceDriver for Talker {
        fn probe<'a>(&'a self, _: Instance<'a>) -> BoxFuture<'a, Outcome> {
            self.says()
        }
        fn start<'a>(&'a self, _: Instance<'a>) -> BoxFuture<'a, Outcome> {
            self.says()
        }
        fn stop<'a>(&'a self, _: Instance<'a>) -> BoxFuture<'a, Outcome> {
            self.says()
        }
        fn monitor<'a>(&'a self, _: Instance<'a>) -> BoxFuture<'a, Outcome> {
            self.says()
        }
        fn survivors(&self) -> BoxFuture<'_, Vec<Survivor>> {
            Box::pin(ready(Vec::new()))
        }
        fn run<'a>(&'a self, _: Instance<'a>) -> BoxFuture<'a, Option<u64>> {
            Box::pin(ready(None))
        }
    }

    #[tokio::test]
    async fn no_secret_leaves_a_driver_with_its_words_whatever_it_does() {
        const CANARY: &str = "Seč'r\"$(x)\n";
        let reason = format!("cannot log in:\n db_password = {CANARY} {}", "x".repeat(999));
        let failed = Outcome::Failed { code: 1, reason: reason.clone() };
        let degraded = Outcome::Degraded { promoted: false, reason };
        let call = |operation| Call {
            id: CallId(1),
            resource: "db".parse().expect("valid"),
            kind: ResourceKind::Process { template: "db".parse().expect("valid") },
            operation,
            interval: None,
            timeout: Duration::from_secs(1),
            lifetime: Duration::ZERO,
            order: None,
        };
        for (driver, operation) in [
            (Talker(failed.clone()), Operation::Start),
            (Talker(failed), Operation::Stop),
            (Talker(degraded), Operation::Monitor),
        ] {
            let answer = carry_out(&driver, &call(operation)).await;
            let (Outcome::Failed { reason, .. } | Outcome::Degraded { reason, .. }) =
                answer.outcome
            else {
                panic!("{operation:?}: {:?}", answer.outcome);
            };
            assert_eq!(reason, "cannot log in:  db_password =[redacted]", "{operation:?}");
        }
    }
}
