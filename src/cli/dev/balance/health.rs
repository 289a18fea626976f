//! Whether a server is up, by looks, as HAProxy counts them.

/// Counts looks: at `rise` and above the server is up. A fresh one is up, and down after the first bad look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    rise: u8,
    fall: u8,
    count: u16,
}

/// What a look changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Down,
    None,
    Up,
}

impl Health {
    pub(super) fn new(rise: u8, fall: u8) -> Self {
        let (rise, fall) = (rise.max(1), fall.max(1));
        Self { rise, fall, count: rise.into() }
    }

    /// Of the same server with other limits.
    pub(super) fn with(self, rise: u8, fall: u8) -> Self {
        let fresh = Self::new(rise, fall);
        match self.up() {
            true => fresh,
            false => Self { count: 0, ..fresh },
        }
    }

    /// As at the beginning.
    pub(super) fn afresh(self) -> Self {
        Self::new(self.rise, self.fall)
    }

    pub(super) fn up(self) -> bool {
        self.count >= self.rise.into()
    }

    /// It is not known yet which of the two it is.
    pub(super) fn in_doubt(self) -> bool {
        self.count != 0 && self.count != self.most()
    }

    fn most(self) -> u16 {
        u16::from(self.rise) + u16::from(self.fall) - 1
    }

    pub(super) fn saw(&mut self, good: bool) -> Turn {
        let before = self.up();
        self.count = match (good, before) {
            (true, _) => self.most().min(self.count + 1),
            (false, true) if self.count > self.rise.into() => self.count - 1,
            (false, _) => 0,
        };
        if good && !before && self.up() {
            self.count = self.most();
        }
        match (before, self.up()) {
            (true, false) => Turn::Down,
            (false, true) => Turn::Up,
            _ => Turn::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_counted_as_haproxy_counts_them() {
        let mut health = Health::new(2, 3);
        assert!(health.up());
        assert_eq!(health.saw(false), Turn::Down, "a fresh one, at the first bad look");
        assert_eq!(health.saw(true), Turn::None);
        assert!(!health.up() && health.in_doubt());
        assert_eq!(health.saw(false), Turn::None, "one good look is forgotten by a bad one");
        assert_eq!(health.saw(true), Turn::None);
        assert_eq!(health.saw(true), Turn::Up, "rise 2");
        assert!(!health.in_doubt());
        assert_eq!([health.saw(false), health.saw(false)], [Turn::None, Turn::None]);
        assert!(health.up() && health.in_doubt());
        assert_eq!(health.saw(false), Turn::Down, "fall 3");
        assert!(!health.with(1, 1).up(), "a reload does not raise it");
        assert!(Health::new(2, 3).with(1, 1).up());
    }
}
