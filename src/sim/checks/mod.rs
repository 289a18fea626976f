//! Invariants of SAFETY.md section 2.2, one file each. A check sees facts only, never what an agent believes; what
//! counts as evidence it works out again by itself.

mod history;
mod l09;
mod promotion;
mod s01;
mod s02;
mod s03;
mod s04;
mod s05;
mod s06;
mod s07;
mod s08;
mod s09;
mod s10;
mod s11;
mod s12;
mod s13;
mod s14;
mod s16;
mod s19;
mod s31;
mod suspend;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::{fact::Fact, queue::Time, truth::Truth};

/// Id of the check that members hold one history.
pub const ONE_HISTORY: &str = "one history";

/// A check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub id: &'static str,
    /// When, on the world's clock.
    pub at: Time,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.6} s: {}", self.id, self.at as f64 / 1e6, self.what)
    }
}

/// One invariant.
trait Check {
    /// Its id in SAFETY.md.
    const ID: &'static str;

    /// Looks at a fact; `truth` is what held before it.
    fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), String>;
}

macro_rules! checks {
    ($($name:ident: $type:ty),+ $(,)?) => {
        /// All of them.
        #[derive(Debug, Default)]
        pub struct Checks { $($name: $type),+ }

        impl Checks {
            /// Shows a fact to all; the first that objects is heard.
            pub fn observe(&mut self, at: Time, fact: &Fact, truth: &Truth) -> Result<(), Violation> {
                $(self.$name.observe(at, fact, truth).map_err(|what| {
                    Violation { id: <$type as Check>::ID, at, what }
                })?;)+
                if let Fact::Assertion { node, invariant, detail } = fact {
                    let what = format!("{node} says itself that it is broken: {detail}");
                    return Err(Violation { id: invariant, at, what });
                }
                Ok(())
            }
        }
    };
}

checks! {
    history: history::History,
    s01: s01::S01,
    s02: s02::S02,
    s03: s03::S03,
    s04: s04::S04,
    s05: s05::S05,
    s06: s06::S06,
    s07: s07::S07,
    s08: s08::S08,
    s09: s09::S09,
    s10: s10::S10,
    s11: s11::S11,
    s12: s12::S12,
    s13: s13::S13,
    s14: s14::S14,
    s16: s16::S16,
    s19: s19::S19,
    s31: s31::S31,
    l09: l09::L09,
    promotion: promotion::Promotion,
    suspend: suspend::Suspend,
}
