//! The independent checker on every plan.

use std::collections::BTreeMap;

use super::cases::planned;

/// Cases whose expected result breaks a rule that holds everywhere else, each with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

#[test]
fn every_plan_passes_the_independent_checker() {
    let Some(cases) = planned() else { return };
    let mut by_rule: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for case in &cases {
        for violation in policy::check::check(&case.model, &case.plan) {
            let excepted = EXCEPTIONS
                .iter()
                .any(|(name, rule, _)| *name == case.name && *rule == violation.rule);
            if !excepted {
                let line = format!("{}: {}", case.name, violation.what);
                by_rule.entry(violation.rule).or_default().push(line);
            }
        }
    }
    let all: usize = by_rule.values().map(Vec::len).sum();
    assert_eq!(all, 0, "{by_rule:#?}");
}
