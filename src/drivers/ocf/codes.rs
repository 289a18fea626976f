//! What an agent's exit code says about an operation.

use lifecycle::{Operation, Outcome};

use crate::resource::failed;

const OK: u8 = 0;
const GENERIC: u8 = 1;
const NOT_RUNNING: u8 = 7;
const RUNNING_PROMOTED: u8 = 8;
const DEGRADED: u8 = 190;
const DEGRADED_PROMOTED: u8 = 191;

/// The standard's word; `None` where the standard has none.
const fn word(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "ok",
        1 => "failed",
        2 => "its arguments are wrong",
        3 => "the agent has no such action",
        4 => "it has not the rights",
        5 => "what it needs is not installed on this machine",
        6 => "it is not configured",
        7 => "not running",
        8 => "running and promoted",
        9 => "failed while promoted",
        189 => "the connection to it was lost",
        190 => "degraded",
        191 => "degraded and promoted",
        192 => "it could not be run",
        193 => "its state is not known",
        _ => return None,
    })
}

/// The table: operation, exit code, what was seen. `said` is what the agent printed as its reason.
///
/// | operation | 0 | 7 | 8 | 190 | 191 | others |
/// |---|---|---|---|---|---|---|
/// | probe, monitor | runs | does not | promoted | degraded | degraded, promoted | failed |
/// | start | runs | failed | failed | degraded | failed | failed |
/// | promote | promoted | failed | promoted | degraded, promoted | degraded, promoted | failed |
/// | demote | demoted | does not run | failed | degraded | failed | failed |
/// | stop | stopped | stopped | failed | failed | failed | failed |
///
/// A stop that says anything else than "nothing runs" has failed, "degraded" too (SAFETY.md#S31). A start that ends promoted, and
/// a demote after which it is promoted still, did not do what was asked. A code that the standard does not know is 1.
pub fn outcome(operation: Operation, code: u8, said: &str) -> Outcome {
    use Operation::{Demote, Monitor, Probe, Promote, Start, Stop};
    let reason = || if said.is_empty() { word(code).unwrap_or_default() } else { said };
    let degraded =
        |promoted| Outcome::Degraded { promoted, reason: reason().chars().take(200).collect() };
    match (operation, code) {
        (_, OK) => Outcome::Ok,
        (Probe | Monitor | Stop | Demote, NOT_RUNNING) => Outcome::NotRunning,
        (Probe | Monitor | Promote, RUNNING_PROMOTED) => Outcome::RunningPromoted,
        (Probe | Monitor | Start | Demote, DEGRADED) => degraded(false),
        (Promote, DEGRADED | DEGRADED_PROMOTED) | (Probe | Monitor, DEGRADED_PROMOTED) => {
            degraded(true)
        }
        (_, code) => match word(code) {
            Some(word) if said.is_empty() => failed(code, word),
            Some(word) => failed(code, format_args!("{word}: {said}")),
            None if said.is_empty() => {
                failed(GENERIC, format_args!("exit status {code}, which OCF does not know"))
            }
            None => {
                failed(GENERIC, format_args!("exit status {code}, which OCF does not know: {said}"))
            }
        },
    }
}
