//! The state directory of one machine: whole files, replaced atomically, durable some time after they were written.
//!
//! What was not durable is lost when the machine loses its power; a torn file fails its checksum and reads as absent.

use std::collections::BTreeMap;

use base::RingId;
use cluster::Stored;

/// Names of the files of a state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// Counter of the lives of the agent.
    Incarnation,
    /// Highest ring sequence number that is reserved.
    RingSequence,
    /// `cluster::File::Promise`.
    Promise,
    /// `cluster::File::State`.
    State,
}

/// Files as they would be read after a crash now.
pub type Files = BTreeMap<FileName, Vec<u8>>;

/// What the engine reads of them. Without the counters the whole directory counts as lost.
pub fn stored(files: &Files) -> Stored {
    let known =
        files.contains_key(&FileName::Incarnation) && files.contains_key(&FileName::RingSequence);
    Stored {
        promise: files.get(&FileName::Promise).filter(|_| known).cloned(),
        state: files.get(&FileName::State).filter(|_| known).cloned(),
    }
}

/// One disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// What is durable.
    pub files: Files,
    /// An old copy, for a person who puts it back.
    pub backup: Option<Files>,
    /// Newest promise that a copy which was put back did not have.
    pub forgot: Option<RingId>,
    /// Writes on their way, oldest first.
    pending: Vec<(u64, FileName, Vec<u8>)>,
    next: u64,
    /// Number of the newest durable write of each file: an older one that comes later changes nothing.
    newest: BTreeMap<FileName, u64>,
}

impl Disk {
    /// Begins a write; the number comes back when it is durable.
    pub fn write(&mut self, name: FileName, bytes: Vec<u8>) -> u64 {
        self.next += 1;
        self.pending.push((self.next, name, bytes));
        self.next
    }

    /// A write becomes durable. False if it was lost meanwhile.
    pub fn complete(&mut self, number: u64) -> bool {
        let Some(at) = self.pending.iter().position(|(n, ..)| *n == number) else { return false };
        let (number, name, bytes) = self.pending.remove(at);
        let newest = self.newest.entry(name).or_default();
        if number > *newest {
            *newest = number;
            self.files.insert(name, bytes);
        }
        true
    }

    /// The process dies: what it wrote is in the kernel's hands and becomes durable in time.
    pub fn flush(&mut self) {
        while let Some((number, ..)) = self.pending.first() {
            let number = *number;
            self.complete(number);
        }
    }

    /// The power goes: writes on their way are lost; `torn` also spoils the file of the newest one.
    pub fn lose_power(&mut self, torn: bool) {
        if let (true, Some((_, name, _))) = (torn, self.pending.last()) {
            self.files.remove(name);
        }
        self.pending.clear();
    }

    /// A new disk.
    pub fn wipe(&mut self) {
        self.files.clear();
        self.pending.clear();
    }

    /// Somebody copies the directory for later.
    pub fn back_up(&mut self) {
        self.backup = Some(self.files.clone());
    }

    /// Somebody puts the copy back.
    pub fn restore(&mut self) {
        if let Some(files) = self.backup.clone() {
            self.forgot = self.forgot.max(stored(&self.files).promises().own);
            self.files = files;
            self.pending.clear();
        }
    }
}
