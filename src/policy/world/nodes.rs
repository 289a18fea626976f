//! A set of nodes; most clusters fit into its first word.

use alloc::vec::Vec;

use super::NodeIx;

const BITS: usize = 64;

/// Nodes, without order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSet {
    first: u64,
    rest: Vec<u64>,
}

impl NodeSet {
    #[inline]
    pub(crate) fn insert(&mut self, node: NodeIx) {
        let (word, bit) = (node.ix() / BITS, 1 << (node.ix() % BITS));
        if word == 0 {
            self.first |= bit;
        } else {
            self.insert_rest(word, bit);
        }
    }

    fn insert_rest(&mut self, word: usize, bit: u64) {
        if self.rest.len() < word {
            self.rest.resize(word, 0);
        }
        self.rest[word - 1] |= bit;
    }

    pub(crate) fn remove(&mut self, node: NodeIx) {
        let (word, bit) = (node.ix() / BITS, 1 << (node.ix() % BITS));
        match word.checked_sub(1) {
            None => self.first &= !bit,
            Some(at) => {
                if let Some(word) = self.rest.get_mut(at) {
                    *word &= !bit;
                }
            }
        }
    }

    pub(crate) fn contains(&self, node: NodeIx) -> bool {
        let (word, bit) = (node.ix() / BITS, 1 << (node.ix() % BITS));
        let held = match word.checked_sub(1) {
            None => self.first,
            Some(at) => self.rest.get(at).copied().unwrap_or(0),
        };
        held & bit != 0
    }

    /// Whether all nodes of another set are in this one.
    pub(crate) fn contains_all(&self, other: &Self) -> bool {
        let rest = |set: &Self, at: usize| set.rest.get(at).copied().unwrap_or(0);
        other.first & !self.first == 0
            && (0..other.rest.len()).all(|at| rest(other, at) & !rest(self, at) == 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeIx, NodeSet};

    #[test]
    fn what_was_put_in_is_in_until_it_is_taken_out() {
        let mut set = NodeSet::default();
        assert!(set.is_empty());
        for node in [0, 63, 64, 127, 128, 1023] {
            assert!(!set.contains(NodeIx(node)));
            assert!(set.contains_all(&NodeSet::default()));
            let mut other = NodeSet::default();
            other.insert(NodeIx(node));
            assert!(!set.contains_all(&other));
            set.insert(NodeIx(node));
            assert!(set.contains_all(&other));
            assert!(set.contains(NodeIx(node)));
            assert!(!set.contains(NodeIx(node + 1)));
            set.remove(NodeIx(node));
            assert!(set.is_empty());
        }
    }
}
