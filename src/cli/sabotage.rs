//! Only in builds with the feature of this name: which rules are broken in this process (SAFETY.md 2.5).

use anyhow::{Context as _, Result};
use base::faulty::{self, Rule};

/// The parts of an agent inherit it.
const VARIABLE: &str = "PALISADE_SABOTAGE";

/// Breaks the rules that the environment names, with commas between them.
pub fn choose() -> Result<()> {
    let Ok(names) = std::env::var(VARIABLE) else { return Ok(()) };
    for name in names.split(',') {
        let rule = Rule::named(name).with_context(|| {
            format!("{VARIABLE}: there are {}", Rule::ALL.map(Rule::name).join(", "))
        })?;
        eprintln!("palisade: SABOTAGED: {}", rule.name());
        faulty::choose_everywhere(rule);
    }
    Ok(())
}
