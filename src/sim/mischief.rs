//! How planned faults begin and end.

use std::time::Duration;

use cluster::RequestKind;

use crate::{
    copies,
    fact::{Fact, Part, PowerLoss},
    faults::{self, Aim, Fault, Phase, Planned},
    net::{Datagram, Weather},
    params::{index_of, node_id},
    queue::Time,
    world::{Event, World},
};

/// A fault whose moment does not come begins after so long.
const ARMED_MAX_US: Time = 6_000_000;

/// Every run has so many at least.
pub const FAULTS_MIN: u32 = 5;

impl World {
    /// The time of a planned fault has come: it begins, or waits for its moment, but not for ever.
    pub fn fault_due(&mut self, number: usize) {
        let planned = &mut self.faults[number];
        match (planned.phase, planned.trap) {
            (Phase::Begun, _) => {}
            _ if self.now > self.faults_until => {}
            (Phase::Planned, Some(trap)) => {
                planned.phase = Phase::Armed;
                self.log.traps.push((number, trap));
                let latest = self.faults_until - self.faults_until / 20;
                let at = (self.now + ARMED_MAX_US).min(latest);
                self.queue.push(at, Event::FaultBegins(number));
            }
            _ => self.begin_fault(number),
        }
    }

    /// The moments of some faults have come.
    pub fn spring_traps(&mut self) {
        for (number, trap, subject, other) in std::mem::take(&mut self.log.sprung) {
            let hit = match trap.aim {
                Aim::AsDrawn => None,
                Aim::Subject => Some(subject),
                Aim::Other => Some(other),
            };
            if let Some(node) = hit {
                let fault = self.faults[number].fault.clone();
                self.faults[number].fault = fault.at(self.params.nodes, index_of(node));
            }
            self.queue.push(self.now + trap.delay_us, Event::FaultBegins(number));
        }
    }

    /// Runs in which planned faults found nothing to do get others.
    pub fn top_up(&mut self) {
        for _ in self.faults_begun..FAULTS_MIN {
            let fault = faults::certain(&mut self.dice, self.params.nodes);
            let length = self.dice.range(200_000, 3_000_000);
            self.faults.push(Planned::new(fault, self.now, length, None));
            self.begin_fault(self.faults.len() - 1);
        }
    }

    /// Whether it has anything to do now. What only prepares another fault does not count.
    fn is_felt(&self, fault: &Fault) -> bool {
        let there = |machine: usize| {
            Part::ALL.into_iter().any(|part| self.machines[machine].is_there(part))
        };
        match fault {
            Fault::BackUp(_) => false,
            Fault::PowerCut(machine) => self.machines[*machine].powered,
            Fault::PowerCutAll => self.machines.iter().any(|machine| machine.powered),
            Fault::Kill(machine, _)
            | Fault::Restart(machine)
            | Fault::Suspend(machine)
            | Fault::Freeze(machine, _)
            | Fault::Wipe(machine)
            | Fault::Forget(machine) => there(*machine),
            Fault::WipeTwo(one, other) => there(*one) && there(*other),
            Fault::Restore(machine) => copies::would_be_noticed(&self.machines, *machine),
            Fault::Leave(machine) => self.machines[*machine].is_lively(Part::Ring),
            Fault::Crash(machine, resource) => self.machines[*machine].kernel.is_there(resource),
            Fault::Standby(_) | Fault::FenceRequest(_) | Fault::Move(..) => {
                self.machines.iter().any(|machine| machine.is_lively(Part::Ring))
            }
            Fault::Partition(groups) => groups.windows(2).any(|pair| pair[0] != pair[1]),
            Fault::Swizzle(links) => !links.is_empty(),
            _ => true,
        }
    }

    /// Begins a planned fault.
    pub fn begin_fault(&mut self, number: usize) {
        self.faults[number].phase = Phase::Begun;
        let fault = self.faults[number].fault.clone();
        if self.is_felt(&fault) {
            self.faults_begun += 1;
            *self.kinds.entry(fault.kind()).or_default() += 1;
        }
        self.log.fact(Fact::Note(format!("fault {number} begins: {fault:?}")));
        let end = (self.now + self.faults[number].length).min(self.faults_until);
        self.queue.push(end, Event::FaultEnds(number));
        match fault {
            Fault::PowerCut(machine) => self.mains(machine, false),
            Fault::PowerCutAll => {
                for machine in 0..self.params.nodes {
                    self.mains(machine, false);
                }
            }
            Fault::Kill(machine, parts) => self.hold_down(machine, &parts),
            Fault::Restart(machine) => {
                self.request(machine, RequestKind::Detach(Duration::from_secs(20)));
                self.queue.push(self.now + 200_000, Event::KillAll(machine));
                for part in Part::ALL {
                    self.machines[machine].slot(part).held_down += 1;
                }
            }
            Fault::Suspend(machine) => {
                self.request(machine, RequestKind::Suspend);
                for machine in 0..self.params.nodes {
                    let at = self.now + self.dice.range(1_000_000, 3_000_000);
                    self.queue.push(at, Event::Sleep { machine, fault: number });
                }
            }
            Fault::Freeze(machine, parts) => {
                for part in parts {
                    self.freeze(machine, part, true);
                }
            }
            Fault::Partition(groups) => self.partition(&groups, true),
            Fault::OneWay(from, to) => self.net.cut(from, to, true),
            Fault::Mute { machine, hears } => self.mute(machine, hears, true),
            Fault::Swizzle(links) => {
                for (from, to) in links {
                    self.net.clog(from, to, true);
                }
            }
            Fault::BadWeather { loss, jitter_us } => {
                self.net.weather = Weather { loss, jitter_us, ..self.net.fair };
            }
            Fault::Wipe(machine) => {
                self.hold_down(machine, &Part::ALL);
                self.machines[machine].disk.wipe();
            }
            Fault::Restore(machine) => {
                self.hold_down(machine, &Part::ALL);
                if copies::would_be_noticed(&self.machines, machine) {
                    self.machines[machine].disk.restore();
                }
            }
            Fault::WipeTwo(one, other) => {
                for machine in [one, other] {
                    self.hold_down(machine, &Part::ALL);
                    self.machines[machine].disk.wipe();
                }
            }
            Fault::BackUp(machine) => self.machines[machine].disk.back_up(),
            Fault::Forget(machine) => {
                self.hold_down(machine, &Part::ALL);
                self.machines[machine].kernel.record.clear();
            }
            Fault::SlowDisk(machine) => self.machines[machine].slow_disk += 1,
            Fault::BmcAway(machine) => self.machines[machine].bmc.away += 1,
            Fault::BmcSlow(machine) => self.machines[machine].bmc.slow += 1,
            Fault::BmcStuck(machine) => self.machines[machine].bmc.stuck += 1,
            Fault::BmcLosesAnswers(machine) => self.machines[machine].bmc.loses_answers += 1,
            Fault::BmcCrossed(one, other) => {
                self.machines[one].bmc.crossed.push(other);
                self.machines[other].bmc.crossed.push(one);
            }
            Fault::StopFails(machine, resource) => {
                self.machines[machine].moods.stop_fails.insert(resource);
            }
            Fault::StopHangs(machine, resource) => {
                self.machines[machine].moods.stop_hangs.insert(resource);
            }
            Fault::StartFails(machine, resource) => {
                self.machines[machine].moods.start_fails.insert(resource);
            }
            Fault::StartHangs(machine, resource) => {
                self.machines[machine].moods.start_hangs.insert(resource);
            }
            Fault::Crash(machine, resource) => {
                self.machines[machine].kernel.stop(&mut self.log, &resource, "crashed");
            }
            Fault::ClockJump(machine, seconds) => {
                self.machines[machine].clock.wall_offset += seconds * 1_000_000;
            }
            Fault::ClocksJump(seconds) => {
                for machine in &mut self.machines {
                    machine.clock.wall_offset += seconds * 1_000_000;
                }
            }
            Fault::Standby(machine) => {
                self.request(machine, RequestKind::Standby(node_id(machine)));
            }
            Fault::FenceRequest(machine) => {
                let request = RequestKind::Fence { node: node_id(machine), who: "tester".into() };
                self.request(machine, request);
            }
            Fault::Move(machine, resource) => {
                let to = node_id(machine);
                self.request(machine, RequestKind::Move { resource, to });
            }
            Fault::Leave(machine) => {
                // no supervisor starts it again before the end
                for part in Part::ALL {
                    self.machines[machine].slot(part).held_down += 1;
                }
                if self.machines[machine].is_lively(Part::Ring) {
                    self.request(machine, RequestKind::Leave);
                }
            }
            Fault::ApiAway => self.api.away += 1,
            Fault::ApiStale(back) => {
                self.api.stale.push(back);
                self.publish();
            }
        }
    }

    /// An agent of a suspended cluster ends.
    pub fn sleep_on(&mut self, machine: usize, fault: usize) {
        let suspended = self.log.truth.node(node_id(machine)).suspended;
        if suspended && self.now < self.faults_until && self.asleep.insert((fault, machine)) {
            self.hold_down(machine, &Part::ALL);
        }
    }

    /// It comes back.
    pub fn wake_up(&mut self, machine: usize, fault: usize) {
        if self.asleep.remove(&(fault, machine)) {
            self.let_up(machine, &Part::ALL);
        }
    }

    /// Ends it.
    pub fn end_fault(&mut self, number: usize) {
        let fault = self.faults[number].fault.clone();
        self.log.fact(Fact::Note(format!("fault {number} ends")));
        match fault {
            Fault::PowerCut(machine) => self.mains(machine, true),
            Fault::PowerCutAll => {
                for machine in 0..self.params.nodes {
                    self.mains(machine, true);
                }
            }
            Fault::Kill(machine, parts) => self.let_up(machine, &parts),
            Fault::Suspend(_) => {
                for machine in 0..self.params.nodes {
                    let at = self.now + self.dice.range(0, 5_000_000);
                    self.queue.push(at, Event::Awake { machine, fault: number });
                }
            }
            Fault::Restart(machine)
            | Fault::Wipe(machine)
            | Fault::Restore(machine)
            | Fault::Forget(machine) => self.let_up(machine, &Part::ALL),
            Fault::Freeze(machine, parts) => {
                for part in parts {
                    self.freeze(machine, part, false);
                }
            }
            Fault::Partition(groups) => self.partition(&groups, false),
            Fault::OneWay(from, to) => self.net.cut(from, to, false),
            Fault::Mute { machine, hears } => self.mute(machine, hears, false),
            Fault::Swizzle(mut links) => {
                while !links.is_empty() {
                    let at = self.dice.below(links.len() as u64) as usize;
                    let (from, to) = links.swap_remove(at);
                    let waiting = self.net.clog(from, to, false);
                    self.release(from, to, waiting);
                }
            }
            Fault::BadWeather { .. } => self.net.weather = self.net.fair,
            Fault::WipeTwo(one, other) => {
                self.let_up(one, &Part::ALL);
                self.let_up(other, &Part::ALL);
            }
            Fault::Leave(machine) => {
                for part in Part::ALL {
                    self.kill(machine, part);
                }
                self.let_up(machine, &Part::ALL);
            }
            Fault::ApiAway => {
                self.api.away = self.api.away.saturating_sub(1);
                self.publish();
            }
            Fault::ApiStale(back) => {
                let at = self.api.stale.iter().position(|other| *other == back);
                at.map(|at| self.api.stale.swap_remove(at));
                self.publish();
            }
            Fault::BmcStuck(machine) => {
                let stuck = &mut self.machines[machine].bmc.stuck;
                *stuck = stuck.saturating_sub(1);
            }
            Fault::BmcLosesAnswers(machine) => {
                let loses = &mut self.machines[machine].bmc.loses_answers;
                *loses = loses.saturating_sub(1);
            }
            Fault::BmcCrossed(one, other) => {
                for (from, to) in [(one, other), (other, one)] {
                    let crossed = &mut self.machines[from].bmc.crossed;
                    let at = crossed.iter().position(|machine| *machine == to);
                    at.map(|at| crossed.remove(at));
                }
            }
            Fault::SlowDisk(machine) => {
                let slow = &mut self.machines[machine].slow_disk;
                *slow = slow.saturating_sub(1);
            }
            Fault::BmcAway(machine) => {
                let away = &mut self.machines[machine].bmc.away;
                *away = away.saturating_sub(1);
            }
            Fault::BmcSlow(machine) => {
                let slow = &mut self.machines[machine].bmc.slow;
                *slow = slow.saturating_sub(1);
            }
            Fault::StopFails(machine, resource) => {
                self.machines[machine].moods.stop_fails.remove(&resource);
            }
            Fault::StopHangs(machine, resource) => {
                self.machines[machine].moods.stop_hangs.remove(&resource);
            }
            Fault::StartFails(machine, resource) => {
                self.machines[machine].moods.start_fails.remove(&resource);
            }
            Fault::StartHangs(machine, resource) => {
                self.machines[machine].moods.start_hangs.remove(&resource);
            }
            Fault::Standby(machine) => {
                self.request(machine, RequestKind::Online(node_id(machine)));
            }
            Fault::Move(machine, resource) => self.request(machine, RequestKind::Clear(resource)),
            Fault::BackUp(_)
            | Fault::Crash(..)
            | Fault::ClockJump(..)
            | Fault::ClocksJump(_)
            | Fault::FenceRequest(_) => {}
        }
    }

    /// Everything that a fault may have left behind is put right; machines in `core` are on, the others off for ever.
    pub fn make_peace(&mut self, core: &[usize]) {
        self.net.mend_all();
        self.api.mend();
        self.log.traps.clear();
        self.asleep.clear();
        for index in 0..self.params.nodes {
            let machine = &mut self.machines[index];
            machine.moods = crate::machine::Moods::default();
            machine.slow_disk = 0;
            machine.bmc.mend();
            if !core.contains(&index) {
                machine.wants_on = false;
                self.power_off(index, PowerLoss::LeftDead);
                self.machines[index].mains = false;
                continue;
            }
            machine.cuts = 0;
            machine.mains = true;
            for part in Part::ALL {
                self.machines[index].slot(part).held_down = 0;
                while self.machines[index].slot(part).frozen > 0 {
                    self.freeze(index, part, false);
                }
            }
            self.power_on(index);
            for part in Part::ALL {
                let generation = self.machines[index].generation;
                // a machine that has just got its power starts its agent by itself
                let delay = if part == Part::Ring { 10_000 } else { 0 };
                let at = self.now + self.params.boot_us + delay;
                self.queue.push(at, Event::Start { machine: index, part, generation });
            }
        }
        self.publish();
        self.publish_at_last();
    }

    fn mains(&mut self, index: usize, on: bool) {
        let machine = &mut self.machines[index];
        if on {
            machine.cuts = machine.cuts.saturating_sub(1);
            if machine.cuts > 0 {
                return;
            }
            machine.mains = true;
            if machine.wants_on {
                self.power_on(index);
            }
        } else {
            machine.cuts += 1;
            machine.mains = false;
            self.power_off(index, PowerLoss::Cut);
        }
    }

    fn hold_down(&mut self, index: usize, parts: &[Part]) {
        for part in parts {
            self.machines[index].slot(*part).held_down += 1;
        }
        for part in parts {
            self.kill(index, *part);
        }
    }

    fn let_up(&mut self, index: usize, parts: &[Part]) {
        let mut parts = parts.to_vec();
        // the ring part last, as its supervisor does
        parts.sort_by_key(|part| *part == Part::Ring);
        for part in parts {
            let slot = self.machines[index].slot(part);
            slot.held_down = slot.held_down.saturating_sub(1);
            if slot.held_down == 0 && self.booted(index) {
                self.start_part(index, part);
            }
        }
    }

    /// Whether the supervisor of a machine runs already.
    fn booted(&self, index: usize) -> bool {
        let machine = &self.machines[index];
        machine.powered && self.now >= machine.fed_at
    }

    fn partition(&mut self, groups: &[u8], cut: bool) {
        for from in 0..groups.len() {
            for to in 0..groups.len() {
                if groups[from] != groups[to] {
                    self.net.cut(from, to, cut);
                }
            }
        }
    }

    fn mute(&mut self, machine: usize, hears: bool, cut: bool) {
        for other in (0..self.params.nodes).filter(|other| *other != machine) {
            let (from, to) = if hears { (machine, other) } else { (other, machine) };
            self.net.cut(from, to, cut);
        }
    }

    fn release(&mut self, from: usize, to: usize, waiting: Vec<Datagram>) {
        for bytes in waiting {
            let at = self.now + self.dice.range(50, 5_000);
            self.queue.push(at, Event::Datagram { from, to, bytes });
        }
    }
}
