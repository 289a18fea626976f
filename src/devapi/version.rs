//! What `/version` says.

use serde_json::{Value, json};

/// The Kubernetes whose behaviour is followed, with a mark that says who answers.
pub(crate) const GIT: &str = "v1.36.3+devapi";

pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": GIT, "gitCommit": "", "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}
