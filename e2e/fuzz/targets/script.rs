//! Choices out of bytes, and how much memory a choice may cost.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Runs `parser` and checks that it never held more than `limit` bytes beyond what was held before.
pub(crate) fn within<T>(limit: usize, parser: impl FnOnce() -> T) -> T {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let value = parser();
    let held = HEAP.peak_usage().saturating_sub(before);
    assert!(held <= limit, "{held} bytes were held, {limit} are allowed");
    value
}

/// Reads choices off bytes; after their end every choice is the first one.
pub(crate) struct Script<'a> {
    left: &'a [u8],
}

impl<'a> Script<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Whether nothing is left to choose from.
    pub(crate) const fn is_empty(&self) -> bool {
        self.left.is_empty()
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

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn u64(&mut self) -> u64 {
        let mut word = [0; 8];
        word.fill_with(|| self.byte());
        u64::from_le_bytes(word)
    }

    /// Up to 255 bytes, preceded by their number.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.left.len());
        let (taken, rest) = self.left.split_at(length);
        self.left = rest;
        taken
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.left)
    }

    /// Changes `bytes` in one to four places: a byte set, the end cut off, bytes put in.
    pub(crate) fn edit(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
            let at = if bytes.is_empty() { 0 } else { at % bytes.len() };
            match self.below(4) {
                0 => bytes.truncate(at),
                1 => {
                    let put = self.bytes();
                    bytes.splice(at..at, put.iter().copied());
                }
                _ => {
                    let value = self.byte();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
            }
        }
    }
}
