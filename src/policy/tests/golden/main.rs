//! Cases of our own (POLICY.md section 4): `src/policy/golden/*.txt`, each a cluster in a compact notation and, under
//! `----`, what the engine makes of it. `PALISADE_BLESS=1 cargo test -p policy --test golden` writes the results anew.
//!
//! ```text
//!   # a sentence that says what is shown                 (the name; more lines of # are comments)
//!   nodes a b c                                          online members
//!   node d lost zone=east ~master-db=10                  lost, offline, joining; attributes; ~ until it restarts
//!   property K=V ...      default K=V ...      inquorate
//!   device fence                                         something that can fence
//!   primitive db K=V ...                                 with a monitor every 10 s; K=V are options
//!   group g: a b K=V      clone c: p K=V      clone c: g: a b      promotable c: p K=V
//!   operation db stop 0 K=V ...                          name, interval in seconds
//!   location ID db a SCORE [Promoted]
//!   colocation ID db[.Role] with ip[.Role] SCORE [by=ATTRIBUTE]
//!   order ID db[.action] then api[.action] [Optional|Serialize] [one-way]
//!   ran db a b      promoted db a      stopped db a      what history says
//!   failed db a monitor 10      failed db a stop 0       ... and what went wrong, counted
//!   pending db a start                                   under way
//! ```

mod parse;
mod render;

use std::{fs, path::PathBuf};

const CASES_MIN: usize = 40;

struct Case {
    /// Everything above `----`, as written.
    head: String,
    expected: String,
}

fn split(text: &str) -> Vec<Case> {
    text.split("\n====\n")
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let (head, expected) = part.split_once("\n----\n").unwrap_or((part, ""));
            Case { head: head.trim().to_owned(), expected: expected.trim().to_owned() }
        })
        .collect()
}

fn result(head: &str) -> String {
    let model = parse::model(head);
    match policy::explain(&model) {
        Ok(plan) => {
            let violations = policy::check::check(&model, &plan);
            assert!(violations.is_empty(), "{head}\n{violations:#?}");
            render::plan(&plan).trim().to_owned()
        }
        Err(error) => format!("no plan: {error}"),
    }
}

/// Lines of the one that the other has not at the same place, with both sides.
fn difference(expected: &str, got: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let mut out = String::new();
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[same..].iter().rev().zip(new[same..].iter().rev());
    let end = tail.take_while(|(a, b)| a == b).count();
    old[same..old.len() - end].iter().for_each(|line| out.push_str(&format!("- {line}\n")));
    new[same..new.len() - end].iter().for_each(|line| out.push_str(&format!("+ {line}\n")));
    out
}

#[test]
fn every_case_is_planned_as_it_is_written_down() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let bless = std::env::var_os("PALISADE_BLESS").is_some();
    let (mut count, mut wrong) = (0, String::new());
    for file in files {
        let cases = split(&fs::read_to_string(&file).expect("cases are UTF-8"));
        count += cases.len();
        let mut written = Vec::new();
        for case in cases {
            let got = result(&case.head);
            let name = case.head.lines().next().unwrap_or_default();
            assert!(name.starts_with("# "), "{}: a case without a name", file.display());
            if got != case.expected {
                wrong.push_str(&format!("{}: {name}\n", file.display()));
                wrong.push_str(&difference(&case.expected, &got));
            }
            written.push(format!("{}\n----\n{got}\n", case.head));
        }
        if bless {
            fs::write(&file, written.join("\n====\n\n")).expect("the tree can be written");
        }
    }
    assert!(count >= CASES_MIN, "only {count} cases were found");
    assert!(
        bless || wrong.is_empty(),
        "{wrong}If this is what it should be: PALISADE_BLESS=1 cargo test -p policy --test golden"
    );
}
