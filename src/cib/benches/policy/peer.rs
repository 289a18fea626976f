//! Pacemaker's scheduler, as its own command line runs it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::measure::{Timed, children};

/// Schedules once and prints little; `-S` would also play the transition and schedule again.
pub(crate) const WORDS: &[&str] = &["-R", "-Q", "-x"];

pub(crate) struct Peer(String);

impl Peer {
    pub(crate) fn find() -> Option<Self> {
        let output = Command::new("crm_simulate").arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(Self(text.lines().next()?.replace("Pacemaker ", "")))
    }

    pub(crate) fn version(&self) -> &str {
        &self.0
    }

    /// All cases of a folder once, without reading them: what ten rounds more cost, divided by ten.
    pub(crate) fn in_process(&self, folder: &Path) -> Timed {
        const MORE: u32 = 10;
        let rounds = |count: u32| {
            children(3, || {
                let mut command = Command::new("crm_simulate");
                command.arg("-P").arg(folder).args(["-N", &count.to_string()]);
                let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            })
        };
        let (one, many) = (rounds(1), rounds(1 + MORE));
        Timed { seconds: (many.seconds - one.seconds) / f64::from(MORE), runs: many.runs }
    }
}
