//! The seven properties of extended virtual synchrony (TOTEM.md section 2.2), checked over whole runs.
//!
//! A life that ended has an incomplete view and owes nothing after its end; what it did deliver must fit the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use base::{Configuration, ConfigurationKind, Guarantee, Member, NodeId, RingEvent, RingId};

use super::net::Life;

/// One configuration as one life saw it: its regular part, and what followed it.
#[derive(Debug)]
struct Period<'a> {
    configuration: &'a Configuration,
    messages: Vec<(NodeId, Guarantee, &'a [u8])>,
    next: Option<&'a Configuration>,
}

fn periods(life: &Life) -> Result<Vec<Period<'_>>, String> {
    let mut periods: Vec<Period<'_>> = Vec::new();
    for event in &life.events {
        match event {
            RingEvent::Configuration(configuration) => {
                if let Some(last) = periods.last_mut() {
                    last.next = Some(configuration);
                }
                periods.push(Period { configuration, messages: vec![], next: None });
            }
            RingEvent::Message(m) => {
                let last = periods.last_mut().ok_or("1: delivered before any configuration")?;
                last.messages.push((m.sender, m.guarantee, &m.payload));
            }
        }
    }
    Ok(periods)
}

/// Names the property that does not hold, and where.
pub(super) fn check(lives: &[Life]) -> Result<(), String> {
    let views: Vec<_> = lives
        .iter()
        .map(|life| periods(life).map_err(|e| format!("{:?}: {e}", life.member)))
        .collect::<Result<_, _>>()?;
    configurations(lives, &views)?;
    basic(lives, &views)?;
    self_delivery(lives, &views)?;
    atomicity(lives, &views)?;
    order(&views)?;
    safety(lives, &views)
}

/// 2: configurations form a sequence; equal ids mean equal members; ids grow; the transitional one fits both sides.
fn configurations(lives: &[Life], views: &[Vec<Period<'_>>]) -> Result<(), String> {
    let mut rings: BTreeMap<RingId, &[Member]> = BTreeMap::new();
    let mut installers: BTreeMap<(RingId, NodeId), usize> = BTreeMap::new();
    let mut per_node: BTreeMap<NodeId, RingId> = BTreeMap::new();
    for (at, (life, view)) in lives.iter().zip(views).enumerate() {
        let mut before: Option<&Configuration> = None;
        for period in view {
            let c = period.configuration;
            let err = |what: &str| {
                Err(format!("2: {what}: {:?} installs {c:?} after {before:?}", life.member))
            };
            if !c.members.contains(&life.member) {
                return err("not a member itself");
            }
            if !c.members.windows(2).all(|w| w[0].node < w[1].node) {
                return err("members not ascending");
            }
            match (c.kind, before.map(|b| b.kind)) {
                (ConfigurationKind::Regular, None | Some(ConfigurationKind::Transitional))
                | (ConfigurationKind::Transitional, Some(ConfigurationKind::Regular)) => {}
                _ => return err("kinds do not alternate"),
            }
            if let Some(b) = before {
                match c.kind {
                    ConfigurationKind::Transitional
                        if c.ring <= b.ring || !c.members.iter().all(|m| b.members.contains(m)) =>
                    {
                        return err("the transitional one is no part of the old");
                    }
                    ConfigurationKind::Regular
                        if c.ring != b.ring || !b.members.iter().all(|m| c.members.contains(m)) =>
                    {
                        return err("the transitional one is no part of the new");
                    }
                    _ => {}
                }
            }
            if c.kind == ConfigurationKind::Regular {
                if *rings.entry(c.ring).or_insert(&c.members) != &c.members[..] {
                    return err("two member lists for one ring id");
                }
                if installers
                    .insert((c.ring, life.member.node), at)
                    .is_some_and(|other| other != at)
                {
                    return err("two lives installed one ring id");
                }
                if per_node.insert(life.member.node, c.ring).is_some_and(|last| last >= c.ring) {
                    return err("ring ids do not grow");
                }
            }
            before = Some(c);
        }
    }
    // a transitional configuration has the same members for all of them that came from the same ring
    let mut seen: BTreeMap<(RingId, RingId), &[Member]> = BTreeMap::new();
    for period in views.iter().flatten() {
        if let Some(next) = period.next.filter(|n| n.kind == ConfigurationKind::Transitional) {
            let key = (period.configuration.ring, next.ring);
            if *seen.entry(key).or_insert(&next.members) != &next.members[..] {
                return Err(format!("2: two transitional memberships for {key:?}"));
            }
        }
    }
    Ok(())
}

/// 1: once, only if sent, in a configuration of which the sender is a member.
fn basic(lives: &[Life], views: &[Vec<Period<'_>>]) -> Result<(), String> {
    let sent: BTreeMap<&[u8], Member> =
        lives.iter().flat_map(|l| l.sent.iter().map(|p| (&p[..], l.member))).collect();
    for (life, view) in lives.iter().zip(views) {
        let mut seen = BTreeSet::new();
        let mut regular: &[Member] = &[];
        for period in view {
            if period.configuration.kind == ConfigurationKind::Regular {
                regular = &period.configuration.members;
            }
            for (sender, _, payload) in &period.messages {
                let what = || format!("{:?} {}", life.member, name(payload));
                let Some(origin) = sent.get(payload) else {
                    return Err(format!("1: never sent: {}", what()));
                };
                if !seen.insert(*payload) {
                    return Err(format!("1: delivered twice: {}", what()));
                }
                if origin.node != *sender || !regular.contains(origin) {
                    return Err(format!("1: the sender is not in the configuration: {}", what()));
                }
            }
        }
    }
    Ok(())
}

/// 3: who lives at the end has delivered everything that it sent (the run ends quietly), in the order of sending.
fn self_delivery(lives: &[Life], views: &[Vec<Period<'_>>]) -> Result<(), String> {
    for (life, view) in lives.iter().zip(views) {
        let own: Vec<_> = view
            .iter()
            .flat_map(|p| &p.messages)
            .filter(|(sender, _, _)| *sender == life.member.node)
            .map(|(_, _, payload)| *payload)
            .collect();
        let sent: Vec<_> = life.sent.iter().map(|p| &p[..]).collect();
        if life.ended && !sent.starts_with(&own) || !life.ended && sent != own {
            let missing = sent.iter().find(|p| !own.contains(p)).map(|p| name(p));
            return Err(format!("3: {:?} own messages: first missing {missing:?}", life.member));
        }
    }
    Ok(())
}

/// 4: the same two configurations one after the other: the same messages in between, in the same order.
fn atomicity(lives: &[Life], views: &[Vec<Period<'_>>]) -> Result<(), String> {
    type Key<'a> = (RingId, bool, Vec<u16>, RingId, bool, Vec<u16>);
    let nodes = |c: &Configuration| c.members.iter().map(|m| m.node.as_u16()).collect::<Vec<_>>();
    let kind = |c: &Configuration| c.kind == ConfigurationKind::Regular;
    let mut first: BTreeMap<Key<'_>, (&Life, &Period<'_>)> = BTreeMap::new();
    for (life, view) in lives.iter().zip(views) {
        for period in view {
            let (c, Some(next)) = (period.configuration, period.next) else { continue };
            let key = (c.ring, kind(c), nodes(c), next.ring, kind(next), nodes(next));
            let (other, same) = *first.entry(key).or_insert((life, period));
            if same.messages != period.messages {
                let differ = same.messages.iter().zip(&period.messages).position(|(a, b)| a != b);
                return Err(format!(
                    "4: {:?} delivered {} and {:?} {} messages of {:?} {} before {}; first difference {differ:?}",
                    life.member,
                    period.messages.len(),
                    other.member,
                    same.messages.len(),
                    c.kind,
                    c.ring,
                    next.ring
                ));
            }
        }
    }
    Ok(())
}

/// 5 and 6: one order for all: the union of all local orders has no circle. Causality is part of it, since a sender
/// delivers before it sends and its messages are delivered in the order in which it sent.
fn order(views: &[Vec<Period<'_>>]) -> Result<(), String> {
    let mut after: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
    let mut before: BTreeMap<&[u8], usize> = BTreeMap::new();
    for view in views {
        let all: Vec<_> = view.iter().flat_map(|p| &p.messages).map(|(_, _, p)| *p).collect();
        for pair in all.windows(2) {
            if after.entry(pair[0]).or_default().insert(pair[1]) {
                *before.entry(pair[1]).or_default() += 1;
            }
            before.entry(pair[0]).or_default();
        }
    }
    let mut free: Vec<_> = before.iter().filter(|(_, n)| **n == 0).map(|(p, _)| *p).collect();
    let mut done = 0;
    while let Some(payload) = free.pop() {
        done += 1;
        for next in after.get(payload).into_iter().flatten() {
            let count = before.get_mut(next).expect("counted");
            *count -= 1;
            if *count == 0 {
                free.push(next);
            }
        }
    }
    if done == before.len() {
        Ok(())
    } else {
        let circle = before.iter().find(|(_, n)| **n > 0).map(|(p, _)| name(p));
        Err(format!("6: two members deliver in different orders, around {circle:?}"))
    }
}

/// 7: a safe message that one delivers in a configuration is delivered by every member of it that lives on, in that
/// configuration or the transitional one after it.
fn safety(lives: &[Life], views: &[Vec<Period<'_>>]) -> Result<(), String> {
    let delivered: Vec<BTreeSet<&[u8]>> = views
        .iter()
        .map(|view| view.iter().flat_map(|p| &p.messages).map(|(_, _, p)| *p).collect())
        .collect();
    for (life, view) in lives.iter().zip(views) {
        for period in view {
            for (_, guarantee, payload) in &period.messages {
                if *guarantee != Guarantee::Safe {
                    continue;
                }
                for member in &period.configuration.members {
                    let at = lives.iter().position(|l| l.member == *member).expect("a life");
                    if !lives[at].ended && !delivered[at].contains(payload) {
                        return Err(format!(
                            "7: {:?} delivered safe {} in {:?} {}, {member:?} never",
                            life.member,
                            name(payload),
                            period.configuration.kind,
                            period.configuration.ring,
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

fn name(payload: &[u8]) -> String {
    String::from_utf8_lossy(&payload[..payload.len().min(24)]).to_string()
}
