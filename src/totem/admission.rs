//! Who may come into a ring, asked of the application while the ring is still only agreed upon
//! (CLUSTER.md section 6, Admission).
//!
//! Invariant: the answer is a pure function of its argument. The ring asks only when all members that it would form
//! a ring with are known to have heard the same standings (their joins carry the same digest), so all of them get
//! the same answer and drop the same members.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use base::NodeId;

/// Decides which of those that want to form a ring are to be kept out of it.
pub trait Admission: Send {
    /// The nodes to keep out, out of those in `heard` (self included, with the own standing). Must depend on `heard`
    /// and on nothing else. Nodes that are not in `heard` are ignored. Those kept out may form a ring of their own.
    fn refused(&self, heard: &BTreeMap<NodeId, Vec<u8>>) -> BTreeSet<NodeId>;
}

/// Lets everybody in.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn refused(&self, _heard: &BTreeMap<NodeId, Vec<u8>>) -> BTreeSet<NodeId> {
        BTreeSet::new()
    }
}
