//! The ring of the world: who has received what, delivery, changes with their transitional part, admission.

use std::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};

use base::{
    Configuration, ConfigurationKind, Guarantee, Incarnation, RingEvent, RingId, RingMessage,
};

use super::world::{Cfg, World, id};
use crate::{Input, admission};

impl World {
    // ---- the ring

    fn all_have(&self, cfg: usize, upto: usize) -> bool {
        let have = |set: &BTreeSet<usize>| (0..=upto).all(|k| set.contains(&k));
        self.cfgs[cfg].members.iter().all(|&j| {
            let node = &self.nodes[j];
            (node.cfg == Some(cfg) && have(&node.received))
                || self.cfgs[cfg].last.get(&j).is_some_and(have)
        })
    }

    pub(crate) fn receivable(&self, i: usize) -> Vec<usize> {
        let node = &self.nodes[i];
        let Some(cfg) = node.cfg else { return Vec::new() };
        (0..self.cfgs[cfg].log.len())
            .filter(|k| !node.received.contains(k))
            .filter(|k| {
                (0..self.n()).any(|j| {
                    j != i && self.nodes[j].cfg == Some(cfg) && self.nodes[j].received.contains(k)
                })
            })
            .collect()
    }

    pub(crate) fn receive(&mut self, i: usize, k: usize) {
        self.nodes[i].received.insert(k);
    }

    pub(crate) fn deliverable(&self, i: usize) -> bool {
        let node = &self.nodes[i];
        let Some(cfg) = node.cfg else { return false };
        let at = node.delivered;
        let Some((_, guarantee, _)) = self.cfgs[cfg].log.get(at) else { return false };
        node.received.contains(&at) && (*guarantee == Guarantee::Agreed || self.all_have(cfg, at))
    }

    pub(crate) fn deliver(&mut self, i: usize) {
        let cfg = self.nodes[i].cfg.expect("deliverable");
        let at = self.nodes[i].delivered;
        self.nodes[i].delivered += 1;
        self.hand(i, cfg, at);
    }

    fn hand(&mut self, i: usize, cfg: usize, at: usize) {
        let (sender, guarantee, payload) = self.cfgs[cfg].log[at].clone();
        self.note(|| format!("{}: delivers {at} of {}", i + 1, sender + 1));
        let message = RingMessage { sender: id(sender), guarantee, payload };
        self.give(i, Input::Ring(RingEvent::Message(message)));
    }

    /// New configurations for everybody that acts; `component[i]` says who goes together. `late` lets what is safe
    /// already be delivered in the old regular configuration.
    pub(crate) fn change(&mut self, component: &[usize], late: bool) {
        let live: Vec<usize> = (0..self.n()).filter(|&i| self.acts(i)).collect();
        let mut component: BTreeMap<usize, usize> =
            live.iter().map(|&i| (i, component[i])).collect();
        self.admit(&mut component);
        self.note(|| format!("change {component:?}"));
        self.transitional(&live, &component, late);
        let groups: BTreeSet<usize> = component.values().copied().collect();
        for group in groups {
            let members: Vec<usize> =
                live.iter().copied().filter(|i| component[i] == group && self.acts(*i)).collect();
            self.install(&members);
        }
        for i in 0..self.n() {
            let Some(cfg) = self.nodes[i].cfg else { continue };
            if self.nodes[i].frozen.is_none() {
                continue;
            }
            let moved = self.cfgs[cfg].members.iter().any(|&j| {
                j != i && !(self.nodes[j].cfg == Some(cfg) && self.nodes[j].frozen.is_some())
            });
            self.nodes[i].old |= moved;
        }
    }

    fn admit(&self, component: &mut BTreeMap<usize, usize>) {
        let groups: BTreeSet<usize> = component.values().copied().collect();
        for group in groups {
            let heard = component
                .iter()
                .filter(|(_, g)| **g == group)
                .map(|(i, _)| (id(*i), self.nodes[*i].standing.clone()))
                .collect();
            for refused in admission::refused(&heard) {
                let i = usize::from(refused.as_u16()) - 1;
                component.insert(i, 100 + i);
            }
        }
    }

    fn transitional(&mut self, live: &[usize], component: &BTreeMap<usize, usize>, late: bool) {
        let mut done = BTreeSet::new();
        // Who had what, before anybody moves.
        let safe: BTreeMap<usize, usize> = (0..self.cfgs.len())
            .map(|cfg| {
                let upto = (0..self.cfgs[cfg].log.len()).take_while(|k| self.all_have(cfg, *k));
                (cfg, upto.count())
            })
            .collect();
        for &i in live {
            let Some(cfg) = self.nodes[i].cfg else { continue };
            if !done.insert(i) {
                continue;
            }
            let group: Vec<usize> = live
                .iter()
                .copied()
                .filter(|j| component[j] == component[&i] && self.nodes[*j].cfg == Some(cfg))
                .collect();
            done.extend(group.iter().copied());
            let available: BTreeSet<usize> =
                group.iter().flat_map(|j| self.nodes[*j].received.iter().copied()).collect();
            let mut common = group.iter().map(|j| self.nodes[*j].delivered).max().unwrap_or(0);
            while late
                && available.contains(&common)
                && (self.cfgs[cfg].log[common].1 == Guarantee::Agreed || common < safe[&cfg])
            {
                common += 1;
            }
            // What a member says while the others catch up goes into no log: the ring is broken.
            let end = self.cfgs[cfg].log.len();
            for &j in &group {
                while self.nodes[j].delivered < common && self.nodes[j].cfg == Some(cfg) {
                    self.deliver(j);
                }
            }
            let mut gap = false;
            let mut rest = Vec::new();
            for k in common..end {
                if !available.contains(&k) {
                    gap = true;
                } else if !gap || group.contains(&self.cfgs[cfg].log[k].0) {
                    rest.push(k);
                }
            }
            let next = RingId { seq: self.seq + 1, rep: id(group[0]) };
            for &j in &group {
                let members = self.configuration_of(&group);
                let kind = ConfigurationKind::Transitional;
                let c = Configuration { kind, ring: next, members };
                self.give(j, Input::Ring(RingEvent::Configuration(c)));
                for &k in &rest {
                    self.hand(j, cfg, k);
                }
            }
        }
    }

    fn configuration_of(&self, members: &[usize]) -> Vec<base::Member> {
        members
            .iter()
            .map(|&j| base::Member {
                node: id(j),
                incarnation: Incarnation {
                    counter: self.nodes[j].lives,
                    random: (j as u128 + 1) << 64 | u128::from(self.nodes[j].lives),
                },
            })
            .collect()
    }

    fn install(&mut self, members: &[usize]) {
        let members: Vec<usize> = members.iter().copied().filter(|j| self.acts(*j)).collect();
        let Some(first) = members.first() else { return };
        self.seq += 4;
        let ring = RingId { seq: self.seq, rep: id(*first) };
        self.cfgs.push(Cfg {
            ring,
            members: members.clone(),
            log: Vec::new(),
            last: BTreeMap::new(),
        });
        let at = self.cfgs.len() - 1;
        for &j in &members {
            let node = &mut self.nodes[j];
            let received = core::mem::take(&mut node.received);
            if let Some(old) = node.cfg.replace(at) {
                self.cfgs[old].last.insert(j, received);
            }
            self.nodes[j].delivered = 0;
            self.nodes[j].old = false;
            self.nodes[j].wants_reform = false;
        }
        for &j in &members {
            let members = self.configuration_of(&self.cfgs[at].members.clone());
            let c = Configuration { kind: ConfigurationKind::Regular, ring, members };
            self.give(j, Input::Ring(RingEvent::Configuration(c)));
        }
    }
}
