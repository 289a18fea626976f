//! One event queue for the whole world: time first, then the order in which events were put in.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Microseconds of the world's own clock, which no machine can read.
pub type Time = u64;

struct Entry<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Events in the order in which they happen.
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    number: u64,
    now: Time,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), number: 0, now: 0 }
    }
}

impl<E> Queue<E> {
    /// Puts an event in; never before now.
    pub fn push(&mut self, at: Time, event: E) {
        self.number += 1;
        let at = at.max(self.now);
        self.heap.push(Reverse(Entry { at, number: self.number, event }));
    }

    /// The next event. Time never runs backwards.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        let Reverse(entry) = self.heap.pop()?;
        assert!(entry.at >= self.now, "time runs backwards");
        self.now = entry.at;
        Some((entry.at, entry.event))
    }
}
