//! Sequence numbers that wrap: 2^32 messages at 60,000 a second last 20 hours (TOTEM.md section 15).
//!
//! Invariant: numbers that are compared lie less than 2^31 apart, which the window guarantees.

/// Whether `a` comes after `b`.
pub(crate) const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// The later of two.
pub(crate) const fn later(a: u32, b: u32) -> u32 {
    if after(a, b) { a } else { b }
}

/// The earlier of two.
pub(crate) const fn earlier(a: u32, b: u32) -> u32 {
    if after(a, b) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        assert!(after(1, u32::MAX));
        assert!(!after(u32::MAX, 1));
        assert!(!after(5, 5));
        assert_eq!(later(3, u32::MAX - 3), 3);
        assert_eq!(earlier(3, u32::MAX - 3), u32::MAX - 3);
    }
}
