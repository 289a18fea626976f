//! What a unit is called, what it is made of, what its state means.

use base::{Label, ResourceId};
use zbus::Variant;

use crate::process::Template;

/// Units of resources, and no others, begin so.
const PREFIX: &str = "palisade-resource-";
const SUFFIX: &str = ".service";
/// Systemd's limit.
const NAME_BYTES_MAX: usize = 255;
/// Their slice: beside the machine's services, not below the kubelet's.
const SLICE: &str = "palisade.slice";
/// All of them.
pub(super) const PATTERN: &str = "palisade-resource-*.service";

/// The unit of a resource. A resource id has no character that means anything in a unit's name or in a pattern.
pub(super) fn name(resource: &ResourceId) -> Result<String, String> {
    let name = format!("{PREFIX}{resource}{SUFFIX}");
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("{name} is too long for a unit: at most {NAME_BYTES_MAX} characters"));
    }
    Ok(name)
}

/// Whose unit it is.
pub(super) fn resource(name: &str) -> Option<ResourceId> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Shown by `systemctl`, and read back by the next agent.
pub(super) fn description(resource: &ResourceId, template: &Label) -> String {
    format!("Palisade: {resource} from template {template}")
}

/// From which template a unit was started.
pub(super) fn template(description: &str) -> Option<Label> {
    description.strip_prefix("Palisade: ")?.split_once(" from template ")?.1.parse().ok()
}

/// The properties of the transient unit.
pub(super) fn properties(
    description: String,
    template: &Template,
) -> Vec<(&'static str, Variant<'static>)> {
    let micros = u64::try_from(template.stop_timeout.as_micros()).unwrap_or(u64::MAX);
    let program = template.argv.first().cloned().unwrap_or_default();
    let environment: Vec<String> =
        template.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut all = vec![
        ("Description", Variant::from(description)),
        // Started is what was executed; a shell is nowhere between.
        ("Type", Variant::from("exec")),
        ("ExecStart", Variant::from(vec![(program, template.argv.clone(), false)])),
        ("WorkingDirectory", Variant::from(template.working_dir.display().to_string())),
        ("Environment", Variant::from(environment)),
        ("Slice", Variant::from(SLICE)),
        // Whether and where it is started again is decided elsewhere.
        ("Restart", Variant::from("no")),
        ("KillMode", Variant::from("control-group")),
        ("KillSignal", Variant::from(template.stop_signal.signal().as_raw())),
        ("TimeoutStopUSec", Variant::from(micros)),
        ("SendSIGKILL", Variant::from(true)),
    ];
    if let Some(user) = &template.user {
        all.push(("User", Variant::from(user.clone())));
    }
    if template.oom_score_adj != 0 {
        all.push(("OOMScoreAdjust", Variant::from(i32::from(template.oom_score_adj))));
    }
    all
}

/// A unit as systemd lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(super) name: String,
    pub(super) description: String,
    /// Object path.
    pub(super) path: String,
    pub(super) state: State,
}

/// What is true of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A job waits, or it is just being executed.
    Coming,
    /// It runs.
    Up,
    /// Signals were sent; something is left.
    Going,
    /// It ended other than by a stop. Whether anything is left must be asked.
    Ended,
    /// Not there.
    Down,
}

/// `ActiveState`, and whether a job of it waits.
pub(super) fn state(active: &str, job: bool) -> State {
    match active {
        "active" | "reloading" | "refreshing" | "maintenance" => State::Up,
        "activating" => State::Coming,
        "deactivating" => State::Going,
        "failed" if !job => State::Ended,
        "inactive" if !job => State::Down,
        // A word that is not known is no "down".
        _ => State::Coming,
    }
}

/// Tells one run of a unit from another.
pub(super) fn run(invocation: &[u8]) -> Option<u64> {
    let (first, second) = invocation.split_at_checked(8)?;
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    Some(number(first)? ^ number(second)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_says_whose_it_is_and_from_which_template() {
        let web: ResourceId = "web:0".parse().expect("valid");
        let unit = name(&web).expect("short");
        assert_eq!(unit, "palisade-resource-web:0.service");
        assert_eq!(resource(&unit), Some(web.clone()));
        for strange in
            ["palisade-agent.service", "palisade-resource-.service", "palisade-resource-web"]
        {
            assert_eq!(resource(strange), None, "{strange}");
        }
        let said = description(&web, &"nginx".parse().expect("valid"));
        assert_eq!(template(&said).map(|t| t.to_string()).as_deref(), Some("nginx"));
        assert_eq!(template("nginx - a web server"), None);
        let long: ResourceId = "x".repeat(253).parse().expect("valid");
        assert!(name(&long).is_err());
    }

    #[test]
    fn only_what_systemd_calls_down_is_down() {
        assert_eq!(state("inactive", false), State::Down);
        assert_eq!(state("inactive", true), State::Coming);
        assert_eq!(state("failed", false), State::Ended);
        assert_eq!(state("active", false), State::Up);
        assert_eq!(state("deactivating", true), State::Going);
        assert_eq!(state("a word of a later version", false), State::Coming);
    }

    #[test]
    fn a_template_becomes_properties_and_nothing_goes_through_a_shell() {
        let text = "argv = [\"/usr/bin/web\", \"$(id)\"]\nuser = \"www\"\nstop_signal = \"INT\"\n\
                    stop_timeout_ms = 1500\nenvironment = { A = \"b c\" }\n";
        let template = crate::process::parse_template(text).expect("valid");
        let all = properties("d".into(), &template);
        let of = |name: &str| all.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
        let argv = vec!["/usr/bin/web".to_owned(), "$(id)".to_owned()];
        let exec = vec![("/usr/bin/web".to_owned(), argv, false)];
        assert_eq!(of("ExecStart"), Some(Variant::from(exec)));
        assert_eq!(of("KillSignal"), Some(Variant::from(2_i32)));
        assert_eq!(of("TimeoutStopUSec"), Some(Variant::from(1_500_000_u64)));
        assert_eq!(of("Environment"), Some(Variant::from(vec!["A=b c".to_owned()])));
        assert_eq!(of("User"), Some(Variant::from("www".to_owned())));
        assert_eq!(of("OOMScoreAdjust"), None);
        assert_eq!(of("Restart"), Some(Variant::from("no")));
    }

    #[test]
    fn runs_differ_by_their_invocation() {
        let one = run(&[1; 16]).expect("sixteen bytes");
        let mut other = [1; 16];
        other[15] = 2;
        assert_ne!(run(&other), Some(one));
        assert_eq!(run(&[0; 7]), None);
    }
}
