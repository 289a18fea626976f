//! `palisade crds`: the definitions of our kinds, as they stand in `crds/`.

use std::io::Write;

use anyhow::{Context, Result};

/// Prints every definition as one YAML stream.
pub(crate) fn run() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for crd in api::crds() {
        let text = serde_yaml::to_string(&crd).context("a definition is plain data")?;
        write!(out, "---\n{text}").context("cannot write to stdout")?;
    }
    Ok(())
}
