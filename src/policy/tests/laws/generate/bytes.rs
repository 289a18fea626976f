//! Choices out of bytes: whoever makes the bytes (a property, a fuzzer, a file) makes the model.

/// Reads choices off bytes; after their end every choice is the first one.
pub(crate) struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.left.split_first() else { return 0 };
        self.left = rest;
        *first
    }

    /// A number below `count`, which is at most 256.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// One of them; the first is what a case without further bytes gets.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// True in `of_256` of 256 cases.
    pub(crate) fn chance(&mut self, of_256: u8) -> bool {
        let byte = self.byte();
        byte > 0 && byte <= of_256
    }
}
