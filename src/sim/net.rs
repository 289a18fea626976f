//! The ring's network: a full mesh of directed links, each of which may be cut, lossy, slow or clogged.

use std::rc::Rc;

use crate::{dice::Dice, queue::Time};

/// A datagram, shared by its copies.
pub type Datagram = Rc<[u8]>;

/// One direction between two machines.
#[derive(Clone, Debug, Default)]
struct Link {
    /// How many faults cut it now.
    cuts: u32,
    /// How many faults clog it: what is sent waits.
    clogs: u32,
    waiting: Vec<Datagram>,
}

/// Datagrams that a clogged link holds back; more are dropped.
const WAITING_MAX: usize = 64;

/// What all links have in common, drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Least delay.
    pub delay_us: u64,
    /// Further delay, up to; this is what reorders.
    pub jitter_us: u64,
    /// Lost, in 1000.
    pub loss: u32,
    /// Sent twice, in 1000.
    pub duplicates: u32,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    machines: usize,
    links: Vec<Link>,
    /// What holds without faults.
    pub fair: Weather,
    /// What holds now.
    pub weather: Weather,
}

impl Net {
    /// All links open.
    pub fn new(machines: usize, fair: Weather) -> Self {
        Self { machines, links: vec![Link::default(); machines * machines], fair, weather: fair }
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.machines + to]
    }

    /// Whether a datagram would arrive, loss aside.
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        from == to || {
            let link = &self.links[from * self.machines + to];
            link.cuts == 0 && link.clogs == 0
        }
    }

    /// Cuts or mends one direction; cuts of several faults add up.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        let link = self.link(from, to);
        link.cuts = if cut { link.cuts + 1 } else { link.cuts.saturating_sub(1) };
    }

    /// Clogs or frees one direction; what waited comes out when the last clog is gone.
    pub fn clog(&mut self, from: usize, to: usize, clog: bool) -> Vec<Datagram> {
        let link = self.link(from, to);
        link.clogs = if clog { link.clogs + 1 } else { link.clogs.saturating_sub(1) };
        if link.clogs == 0 { std::mem::take(&mut link.waiting) } else { Vec::new() }
    }

    /// The faults are over, and the weather is as good as it gets.
    pub fn mend_all(&mut self) {
        self.fair.loss = 0;
        self.weather = self.fair;
        for link in &mut self.links {
            *link = Link::default();
        }
    }

    /// When copies of a datagram arrive; none if it is lost, cut or held back.
    pub fn send(
        &mut self,
        dice: &mut Dice,
        now: Time,
        from: usize,
        to: usize,
        datagram: &Datagram,
    ) -> [Option<Time>; 2] {
        let weather = self.weather;
        let link = self.link(from, to);
        if link.clogs > 0 {
            if link.waiting.len() < WAITING_MAX {
                link.waiting.push(Rc::clone(datagram));
            }
            return [None, None];
        }
        if link.cuts > 0 || dice.chance(weather.loss) {
            return [None, None];
        }
        let mut arrival = || Some(now + weather.delay_us + dice.below(weather.jitter_us + 1));
        let first = arrival();
        let second = arrival();
        [first, if dice.chance(weather.duplicates) { second } else { None }]
    }
}
