#![allow(warnings, clippy::all, clippy::pedantic, clippy::restriction, missing_docs)]
use std::time::Instant;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let t = std::fs::read_to_string(&a[1]).unwrap();
    let n: usize = a[2].parse().unwrap();
    let t0 = Instant::now();
    let m = cib::read(&t).unwrap().model;
    eprintln!("read {:?}", t0.elapsed());
    for _ in 0..n {
        let t0 = Instant::now();
        let p = policy::schedule(&m).unwrap();
        eprintln!("{:?} {}", t0.elapsed(), p.actions.len());
    }
    std::mem::forget(m);
}
