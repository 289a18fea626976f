//! A member that is in no ring says so itself: one condition on its own `HANode`, by a field manager of its own. Everything
//! else in a status is the coordinator's (CLUSTER.md section 7).
//!
//! Invariants: nothing is written by a member that is in a ring but the end of what it wrote before; the condition carries
//! no `observedEra`, so it cannot overwrite what a coordinator says; a settled member writes nothing.

use std::{sync::Arc, time::Duration};

use api::{
    Condition, HANode,
    client::{Picture, Section, apply_status},
    condition::{Judgement, find},
    names::{condition as types, manager, reason},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::Shared;

/// The member's own part of its status.
pub const SECTION: Section =
    Section { manager: manager::MEMBER, fields: &[], conditions: &[types::CANNOT_JOIN] };

/// After a change: what follows it at once is told with it.
const PAUSE: Duration = Duration::from_secs(1);
/// After a write that was not taken, twice as long after each further one, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// What was written counts as standing there for this long, until the watch has brought it back.
const ECHO: Duration = Duration::from_secs(10);

pub(super) async fn run(
    shared: Arc<Shared>,
    member: String,
    mut lonely: watch::Receiver<Option<String>>,
) {
    let mut pictures = shared.picture.subscribe();
    let mut written: Option<(Value, Instant)> = None;
    let mut wait: Option<Duration> = None;
    loop {
        let again = Instant::now() + wait.unwrap_or_default();
        tokio::select! {
            // whoever runs without the other parts has dropped it: then there is nothing to say
            changed = lonely.changed() => if changed.is_err() { std::future::pending().await },
            changed = pictures.changed() => if changed.is_err() { return },
            () = sleep_until(again), if wait.is_some() => {}
        }
        sleep(PAUSE).await;
        let why = lonely.borrow_and_update().clone();
        let picture = Arc::clone(&*pictures.borrow_and_update());
        let Some(status) = status(&member, why.as_deref(), &picture, &Time(Timestamp::now()))
        else {
            wait = None;
            continue;
        };
        let echo = written
            .as_ref()
            .is_some_and(|(last, at)| at.elapsed() < ECHO && super::mirror::same(last, &status));
        if echo {
            continue;
        }
        let (client, namespace) = (&shared.client, shared.namespace.as_str());
        let done =
            apply_status::<HANode>(client, namespace, SECTION.manager, &member, &status).await;
        wait = match done {
            Ok(()) => {
                written = Some((status, Instant::now()));
                None
            }
            Err(error) => {
                if wait.is_none() {
                    tracing::warn!(%error, "this member cannot say in its HANode that it cannot join");
                }
                Some(wait.map_or(AGAIN.0, |last| (last * 2).min(AGAIN.1)))
            }
        };
    }
}

/// What is to be written, if anything: `why` it cannot join, or the end of that.
pub fn status(member: &str, why: Option<&str>, picture: &Picture, now: &Time) -> Option<Value> {
    let object = picture.nodes.get(member)?;
    let current = json!(object.status);
    let old: Vec<Condition> =
        serde_json::from_value(current["conditions"].clone()).unwrap_or_default();
    if why.is_none() && find(&old, types::CANNOT_JOIN).is_none() {
        return None;
    }
    let judged = why.map(|why| {
        Judgement::new(types::CANNOT_JOIN, true, reason::KEY_INVALID, why).over(
            &old,
            object.metadata.generation,
            now,
        )
    });
    let wanted = json!({"conditions": judged.into_iter().collect::<Vec<_>>()});
    SECTION.differs(&current, &wanted).then_some(wanted)
}
