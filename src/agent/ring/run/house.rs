//! Keeping house beside the ring: wall clock, counters, what this member judges of itself, the view that others read.
//!
//! Invariants: nothing here is waited for by the ring, and none of it decides anything; a view is handed on only when it has
//! changed.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use base::Instant;
use cluster::{Input, Status as View};
use policy::revision::Revision;
use prometheus_client::metrics::{counter::Counter, family::Family};
use tokio::sync::watch;

use super::Loop;
use crate::{
    clock, conditions,
    metrics::{Link, Reason, State},
    ring::{counted, view::ring_state},
    transport::Addresses,
};

/// Wall time, metrics, views: nothing that anybody waits for.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// How often the engine hears of the wall clock.
const WALL_EVERY: Duration = Duration::from_secs(10);
/// How long a gap is shown after it: long enough for a person and a scrape.
const GAP_SHOWN: Duration = Duration::from_secs(60);
/// A configured watchdog that is not armed for longer is said.
const UNARMED_MAX: Duration = Duration::from_secs(15);

impl Loop {
    pub(super) fn keep_house(&mut self, now: Instant, views: &watch::Sender<Option<Arc<View>>>) {
        self.house_at = now + HOUSEKEEPING;
        if self.wall_at <= now {
            self.wall_at = now + WALL_EVERY;
            let seconds = i64::try_from(clock::wall_ms() / 1000).unwrap_or(i64::MAX);
            self.core.handle(now, Input::Wall(seconds));
            self.core.pump(now, &mut self.outlet);
        }
        self.core.retire_keys(now);
        self.outlet.metrics.health.set_ready(self.core.member().is_ready());
        let metrics = Arc::clone(&self.outlet.metrics);
        for phases in self.outlet.incidents.over(now) {
            metrics.failover(&phases);
        }
        let (accepted, dropped) = self.core.datagrams();
        metrics.ring.received.inc_by(accepted - self.accepted);
        self.accepted = accepted;
        for (why, count) in dropped {
            let known = self.dropped.entry(why.label()).or_insert(0);
            if count > *known {
                metrics
                    .ring
                    .dropped
                    .get_or_create(&Reason { reason: why.label() })
                    .inc_by(count - *known);
                *known = count;
            }
        }
        let ring = self.core.ring_counters();
        counted::ring(&metrics, self.ring_counted, ring);
        self.ring_counted = ring;
        let state = ring_state(self.core.ring_state());
        metrics.ring.state.replace(BTreeMap::from([(State { state }, 1)]));
        self.judge_watchdog(now);
        self.tell_alone(now);
        let heard = self.core.member().heard();
        self.outlet.changed |= heard != self.alone.heard;
        self.alone.heard = heard;
        if !core::mem::take(&mut self.outlet.changed) {
            return;
        }
        let view = self.core.member().status();
        counted::view(&metrics, &view, &self.revision);
        if self.shown.as_deref() != Some(&view) {
            let view = Arc::new(view);
            self.shown = Some(Arc::clone(&view));
            views.send_replace(Some(view));
        }
    }

    pub(super) fn watchdog(&mut self, now: Instant, timeout: Option<Duration>) {
        let own = &self.outlet.metrics.own;
        own.watchdog_armed.set(timeout.is_some().into());
        let seconds = timeout.map_or(0, |timeout| timeout.as_secs());
        own.watchdog_timeout.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        self.unarmed_since = match timeout {
            Some(_) => None,
            None => self.unarmed_since.or(Some(now)),
        };
    }

    /// It takes a moment after each start of a part, and is no news then.
    fn judge_watchdog(&mut self, now: Instant) {
        let unarmed = self.unarmed_since.is_some_and(|at| now.since(at) >= UNARMED_MAX);
        let wanted = self.watchdog && self.stopping.is_none() && !self.core.member().is_suspended();
        let text = (wanted && unarmed).then(|| {
            "the watchdog that this machine's configuration names is not proven armed: nothing resets this machine if its agent hangs; look at the fencer's log and at the device".to_owned()
        });
        self.outlet.condition(conditions::WATCHDOG, text);
        if self.gap_at.is_some_and(|at| now.since(at) >= GAP_SHOWN) {
            self.gap_at = None;
            self.outlet.condition(conditions::GAP, None);
        }
    }
}

/// A counter for each address of each peer.
pub(super) fn link_counters(
    family: &Family<Link, Counter>,
    addresses: &Addresses,
    revision: &Revision,
) -> BTreeMap<IpAddr, Counter> {
    let each = addresses.peers.iter().flat_map(|(node, links)| {
        let peer = counted::peer(revision, *node);
        links.iter().zip(0_u16..).map(move |(address, link)| {
            (*address, family.get_or_create_owned(&Link { peer: peer.clone(), link }))
        })
    });
    each.collect()
}
