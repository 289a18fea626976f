//! The committed corpus, replayed: `corpus/wire` goes through `decode`, `corpus/unpack` through `unpack`,
//! `corpus/frame` through the frame's header. Whatever once failed is added as a file. `TOTEM_UPDATE=1` writes the
//! seeds (one message of each kind, whole, cut and stretched).

use std::{fs, path::PathBuf, string::String, vec, vec::Vec};

use super::tests::{decode_encode_agree, samples};
use crate::{frame::read_header, unpack, wire::encode};

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "corpus", name].iter().collect()
}

fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (at, message) in samples().iter().enumerate() {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        seeds.push(("wire", std::format!("{at}-whole"), bytes.clone()));
        seeds.push(("wire", std::format!("{at}-cut"), bytes[..bytes.len() / 2].to_vec()));
        bytes.extend_from_slice(&[0xff; 3]);
        seeds.push(("wire", std::format!("{at}-stretched"), bytes));
    }
    let packed = [
        ("one", vec![0, 0, 0, 0, 1, 2, 0, b'h', b'i']),
        ("two-and-a-part", vec![0, 1, 0, 0, 3, 1, 0, 1, 0, 1, 0, b'a', b'b', b'c']),
        ("last-part", vec![0, 0, 7, 0, 1, 1, 0, b'z']),
        ("no-piece", vec![0, 0, 0, 0, 0]),
        ("count-beyond-the-end", vec![0, 0, 0, 0, 255, 1, 0]),
        ("length-beyond-the-end", vec![0, 0, 0, 0, 1, 0xff, 0xff, b'x']),
        ("unknown-group", vec![1, 0, 0, 0, 1, 0, 0]),
    ];
    seeds.extend(packed.map(|(name, bytes)| ("unpack", name.into(), bytes)));
    let mut header = vec![1, 1, 1, 0, 0, 0, 1, 0];
    header.extend_from_slice(&[9; 24]);
    seeds.push(("frame", "header".into(), header.clone()));
    seeds.push(("frame", "short".into(), header[..31].to_vec()));
    header[2] = 0;
    seeds.push(("frame", "sender-zero".into(), header));
    seeds
}

#[test]
fn the_corpus_replays() {
    if std::env::var_os("TOTEM_UPDATE").is_some() {
        for (kind, name, bytes) in seeds() {
            fs::create_dir_all(folder(kind)).expect("writable");
            fs::write(folder(kind).join(name), bytes).expect("writable");
        }
    }
    let mut replayed = 0;
    for kind in ["frame", "unpack", "wire"] {
        for entry in fs::read_dir(folder(kind)).expect("committed") {
            let input = fs::read(entry.expect("an entry").path()).expect("a file");
            match kind {
                "frame" => drop(read_header(&input)),
                "unpack" => drop(unpack(&input)),
                _ => decode_encode_agree(&input),
            }
            replayed += 1;
        }
    }
    assert!(replayed >= seeds().len(), "{replayed} files");
}
