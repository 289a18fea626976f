//! Cases that broke a law once: the smallest one of each fault that was repaired, kept for good.

use crate::{from_hex, laws};

type Case = (&'static str, crate::Law, &'static str);

const CASES: &[Case] = &[(
    "a wish in a ring gives way to what is mandatory",
    laws::checker_is_content,
    "1500290000001009090000000000000023350011090900120800293d331f1a00001515913a14133d3d3d47fe4e0000\
         59000000000000001b3d",
)];

#[test]
fn what_was_repaired_stays_repaired() {
    for (what, law, hex) in CASES {
        if let Err(why) = law(&from_hex(hex)) {
            panic!("{what}: {why}\n{hex}");
        }
    }
}
