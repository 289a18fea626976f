//! The trace of a run: a hash over everything, text when asked for, and the checks, which look at each fact.

use std::hash::{Hash, Hasher};

use base::NodeId;

use crate::{
    checks::{Checks, Violation},
    fact::Fact,
    faults::Trap,
    print,
    queue::Time,
    truth::{Setup, Truth},
};

/// FNV-1a, 64 bits: the same on every machine and in every version, unlike the standard library's hasher.
#[derive(Clone, Copy, Debug)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Hash of some bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = Fnv::default();
    hasher.write(bytes);
    hasher.finish()
}

/// The log of one run.
#[derive(Debug)]
pub struct Log {
    /// The world's time; set by the world before each event.
    pub now: Time,
    /// What is true.
    pub truth: Truth,
    checks: Checks,
    hash: Fnv,
    /// Facts so far.
    pub facts: u64,
    /// Printed as it comes.
    print: bool,
    /// The first violation; nothing after it counts.
    pub violation: Option<Violation>,
    /// Faults that wait for their moment.
    pub traps: Vec<(usize, Trap)>,
    /// Those whose moment has come, with the machine that it is about and the other one.
    pub sprung: Vec<(usize, Trap, NodeId, NodeId)>,
}

impl Log {
    /// An empty log.
    pub fn new(setup: Setup, print: bool) -> Self {
        Self {
            now: 0,
            truth: Truth::new(setup),
            checks: Checks::default(),
            hash: Fnv::default(),
            facts: 0,
            print,
            violation: None,
            traps: Vec::new(),
            sprung: Vec::new(),
        }
    }

    /// Something happened.
    pub fn fact(&mut self, fact: Fact) {
        self.facts += 1;
        self.now.hash(&mut self.hash);
        fact.hash(&mut self.hash);
        if self.print && !matches!(fact, Fact::Claims { .. }) {
            print::line(format_args!("{:>12.6} {fact}", self.now as f64 / 1e6));
        }
        if self.violation.is_none() {
            self.violation = self.checks.observe(self.now, &fact, &self.truth).err();
            if let (true, Some(violation)) = (self.print, &self.violation) {
                let at = self.now as f64 / 1e6;
                print::line(format_args!("{at:>12.6} VIOLATION {violation}"));
            }
        }
        self.traps.retain(|(number, trap)| match trap.moment.meets(&fact) {
            Some((subject, other)) => {
                self.sprung.push((*number, *trap, subject, other));
                false
            }
            None => true,
        });
        self.truth.apply(self.now, &fact);
    }

    /// For people only: costs nothing unless printed.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.print {
            print::line(format_args!("{:>12.6} - {}", self.now as f64 / 1e6, text()));
        }
    }

    /// Mixes an event of the queue into the hash.
    pub fn event(&mut self, kind: u64) {
        self.now.hash(&mut self.hash);
        kind.hash(&mut self.hash);
    }

    /// Equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }
}
