//! Every input that fuzzing kept, through the function that fuzzing calls: what was found once stays found.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::{fs, path::Path};

#[test]
fn every_kept_input_still_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, _) in targets::TARGETS {
        let folder = fs::read_dir(corpus.join(name)).expect("every target has its folder");
        let mut files: Vec<_> = folder.map(|entry| entry.expect("readable").path()).collect();
        files.sort();
        assert!(!files.is_empty(), "the corpus of {name} is empty");
        for file in files {
            let data = fs::read(&file).expect("readable");
            // the name stands in the output of a test that panics
            println!("{name}: {}", file.display());
            targets::run(name, &data);
        }
    }
}
