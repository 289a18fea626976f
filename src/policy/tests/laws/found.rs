//! Cases that broke a law once: the smallest one of each fault that was repaired, kept for good.

use crate::{from_hex, laws};

type Case = (&'static str, crate::Law, &'static str);

const CASES: &[Case] = &[
    (
        "a wish in a ring gives way to what is mandatory",
        laws::checker_is_content,
        "1500290000001009090000000000000023350011090900120800293d331f1a00001515913a14133d3d3d47fe4e0000\
         59000000000000001b3d",
    ),
    (
        "a copy that cannot start restarts nobody, and nobody is told of it",
        laws::calm_comes_to_rest,
        "00e000000000000000000000012d0b03003d331f38003d331fbc00000000001f1f3d000100f5350000000100010000\
         1f3d331f260b0000000000000000000000000001006b824d0800000000000000000000000001ed9900481f",
    ),
    (
        "nor does a promotion that is not to be had",
        laws::calm_comes_to_rest,
        "005700000000000001df7600000000001f1f003d331f26000100003d1f1f003d331fad0702000033002c001f330000\
         001f33141b00000000009109da2c0114882f001f000001c900012c00c900010000019a0000",
    ),
    (
        "what dependents would rather not see is no reason to change numbers",
        laws::calm_comes_to_rest,
        "0098000000000000019f3b96003d331fcc000000000000000000005d87000000003d0001010100331f140000000000\
         001f3d331f082a2f841f006400000033295c231f33222f9abb0000690c20",
    ),
    (
        "an order that is not symmetrical binds the copies of interleaved clones",
        laws::checker_is_content,
        "0c00b600010089009b01a49400000000001f1f3d331f94000100003d001f3d331ff504000000000000000001000100\
         1f6a3400631f01238d00000000003a90b500240100000000000000000001",
    ),
    (
        "of orders in a circle a wish gives way, not the steps of one copy",
        laws::checker_is_content,
        "15000000000000090000000000000b001c000000090000350011090900350011090900350000000000646b2b000100\
         00293d331f1a000015158800293d331f1a0000151564002900000000001f3d331f1a00001515a000293d331f1a0000\
         1515160d01000000003d001f003d331f1a100b151503000000003300000000333eba021f332c82715e50061f8253d9\
         141f1f000000001b00000000000000000000000000000000000000001b00330011c933012301260009010000090000",
    ),
    (
        "a clone of a group hands on that it cannot start",
        laws::a_new_resource_disturbs_nothing,
        "00050000010368003d331f3db700000000011f1f3d331f3e0000000000001f003d331f28003d331fc5000000003305\
         000b1f33f3000000000000000000000000000000227333009000830c0454",
    ),
    (
        "the same, with a group before it",
        laws::calm_comes_to_rest,
        "380f000001209b57003d331f3d3600000000001f1f3d000100956c0000000000001f3d331f9c0500721f333d000000\
         0000e2801d00041fb2d900181f",
    ),
];

#[test]
fn what_was_repaired_stays_repaired() {
    let mut broken = Vec::new();
    for (what, law, hex) in CASES {
        if let Err(why) = law(&from_hex(hex)) {
            broken.push(format!("{what}: {why}\n{hex}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
