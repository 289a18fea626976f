//! Resources by name: a plan asks for thousands of names, so they are compared as numbers first.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{ResIx, World};

/// What each name means. The order of numbers is seen by nobody: it only serves to find one.
#[derive(Default)]
pub(crate) struct Names {
    /// Number of the name and resource, sorted; names with the same number stand beside each other.
    configured: Vec<(u64, ResIx)>,
    /// Those that history has added since.
    added: BTreeMap<String, ResIx>,
}

/// FNV-1a.
fn number(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl World<'_> {
    /// Makes the names of all resources known that there are so far.
    pub(crate) fn index_names(&mut self) {
        let all = (0..self.res.len()).map(ResIx::at);
        let mut configured: Vec<_> = all.map(|r| (number(&self[r].id), r)).collect();
        configured.sort_unstable();
        self.names = Names { configured, added: BTreeMap::new() };
    }

    /// Makes one more name known.
    pub(crate) fn add_name(&mut self, name: String, r: ResIx) {
        self.names.added.insert(name, r);
    }

    /// Whether history has added names to those of the configuration.
    pub(crate) fn has_added_names(&self) -> bool {
        !self.names.added.is_empty()
    }

    /// The resource of that name; of several the one that was made known last.
    pub(crate) fn named(&self, name: &str) -> Option<ResIx> {
        if let Some(r) = self.names.added.get(name) {
            return Some(*r);
        }
        let wanted = number(name);
        let configured = &self.names.configured;
        let end = configured.partition_point(|(number, _)| *number <= wanted);
        let same = configured[..end].iter().rev().take_while(|(number, _)| *number == wanted);
        same.map(|(_, r)| *r).find(|r| self[*r].id == name)
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_those_that_the_function_is_defined_by() {
        assert_eq!(number(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(number("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(number("foobar"), 0x8594_4171_f739_67e8);
    }
}
