//! A broken or compromised member: authentic messages with any content. Nothing panics, nothing grows without bound,
//! and once it is gone the others work.

use base::{Guarantee, SplitMix64};

use super::net::{Faults, Net};

fn mutate(dice: &mut SplitMix64, bytes: &mut [u8]) {
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len() as u64) as usize;
        match dice.below(4) {
            0 => bytes[at] = dice.next_u64() as u8,
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5) as usize],
            _ => {
                let end = (at + 4).min(bytes.len());
                bytes[at..end].fill(0xff);
            }
        }
    }
}

fn run(seed: u64) {
    let mut dice = SplitMix64::new(seed);
    let mut net = Net::started(seed, 4);
    net.run_ms(dice.below(200));
    net.mutate = Some(mutate);
    net.faults = Faults { loss: 20, duplicate: 100, delay: 500 };
    for _ in 0..10 {
        for id in net.ids() {
            net.send(id, Guarantee::Safe, 100);
            net.send(id, Guarantee::Agreed, 4000);
        }
        net.run_ms(dice.below(150));
    }
    assert!(net.datagrams < 3_000_000, "{} datagrams", net.datagrams);
    net.mutate = None;
    net.faults = Faults::NONE;
    for id in net.ids() {
        net.crash(id);
        net.start(id);
    }
    net.until_together(&[1, 2, 3, 4], 20_000);
}

#[test]
fn authentic_nonsense_neither_panics_nor_grows_nor_poisons_the_next_life() {
    let rounds = std::env::var("TOTEM_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok());
    for seed in 0..rounds.unwrap_or(5_000_u64) / 100 {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!("seed {seed} of hostile::run");
        }
    }
}
