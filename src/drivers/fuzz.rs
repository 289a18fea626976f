//! One loop for every parser that reads the network: replay the committed corpus, then mutate it.
//!
//! `PALISADE_FUZZ_SECONDS=600 cargo test -p drivers --release fuzz_ -- --nocapture` runs each target ten minutes.
//! A finding prints the bytes in hex; commit them to the corpus beside the target.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use base::SplitMix64;

/// Mutations of a normal test run.
const ROUNDS: u64 = 20_000;

/// Runs `target` over the files of `corpus` (under `src/drivers`), then over mutations of them.
pub(crate) fn run(corpus: &str, target: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(corpus);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("readable folder").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("readable")).collect();
    let guarded = |bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
            panic!("finding: {bytes:02x?}");
        }
    };
    seeds.iter().for_each(|seed| guarded(seed));
    let seconds = std::env::var("PALISADE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut rng = SplitMix64::new(seconds.unwrap_or(1));
    let mut rounds = 0_u64;
    while until.map_or(rounds < ROUNDS, |until| Instant::now() < until) {
        guarded(&mutate(&mut rng, &seeds));
        rounds += 1;
    }
    println!("{corpus}: {} files, {rounds} mutations, no finding", seeds.len());
}

/// A seed with one to eight changes: bytes flipped, set to edges, cut, doubled, spliced.
pub(crate) fn mutate(rng: &mut SplitMix64, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = |rng: &mut SplitMix64, len: usize| rng.below(len as u64) as usize;
    let mut bytes = seeds[pick(rng, seeds.len())].clone();
    for _ in 0..=rng.below(8) {
        if bytes.is_empty() {
            bytes.push(rng.next_u64() as u8);
        }
        let at = pick(rng, bytes.len());
        match rng.below(7) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][pick(rng, 5)],
            2 => bytes[at] = rng.next_u64() as u8,
            3 => bytes.truncate(at),
            4 => bytes.insert(at, rng.next_u64() as u8),
            5 => bytes.extend_from_within(at..),
            _ => {
                let other = &seeds[pick(rng, seeds.len())];
                bytes.truncate(at);
                bytes.extend(other.iter().skip(at));
            }
        }
        bytes.truncate(2048);
    }
    bytes
}
