//! CPU seconds, of this thread and of children; medians.

use std::{fmt, fs};

use rustix::time::{ClockId, clock_gettime};

/// A median of CPU seconds and of how many runs.
#[derive(Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) seconds: f64,
    pub(crate) runs: usize,
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, runs } = self;
        if *seconds < 1.0 {
            write!(f, "{:.1} ms ({runs})", seconds * 1000.0)
        } else {
            write!(f, "{seconds:.2} s ({runs})")
        }
    }
}

fn median(mut all: Vec<f64>) -> Timed {
    all.sort_by(f64::total_cmp);
    Timed { seconds: all[all.len() / 2], runs: all.len() }
}

/// The median of so many runs in this thread, after one that is not counted.
pub(crate) fn timed(runs: usize, mut work: impl FnMut()) -> Timed {
    work();
    median(
        (0..runs)
            .map(|_| {
                let before = own_cpu();
                work();
                own_cpu() - before
            })
            .collect(),
    )
}

/// The median of so many runs of children, or of one where that takes long.
pub(crate) fn children(runs: usize, mut work: impl FnMut()) -> Timed {
    const LONG: f64 = 5.0;
    let mut all = Vec::new();
    for _ in 0..runs {
        let before = children_cpu();
        work();
        all.push(children_cpu() - before);
        if all[0] > LONG {
            break;
        }
    }
    median(all)
}

/// CPU seconds of this thread. Not from `/proc/thread-self/schedstat`: that is brought up to date at the kernel's ticks
/// only (every 4 ms here), so what is shorter was counted as nothing or as a whole tick.
fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU seconds of the children that have ended; the kernel counts in hundredths.
pub(crate) fn children_cpu() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    // cutime and cstime, fields 16 and 17 of proc(5)
    fields[13..15].iter().map(|f| f.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

pub(crate) fn forget_peak() {
    // 5 resets the peak (proc(5)); where that is not allowed the peak is that of the whole run
    let _ = fs::write("/proc/self/clear_refs", "5");
}

pub(crate) fn kib(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with(key)).expect("a known key");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}
