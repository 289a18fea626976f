//! What the bodies mean. Everything in here is a stranger's: sizes, paths and names are checked before use.

use std::{
    string::{String, ToString as _},
    vec::Vec,
};

use base::SystemUuid;
use serde::{Deserialize, de::DeserializeOwned};

use super::types::{Failure, Root, Sayings, System};
use crate::power::{DeviceIdentity, PowerState};

/// Longest body. A `ComputerSystem` of a big server has some 40 KiB.
pub const BODY_MAX: usize = 256 * 1024;
/// Longest path or id.
const PATH_MAX: usize = 512;
/// Systems behind one service; blade enclosures have some dozens.
const MEMBERS_MAX: usize = 256;
/// Kinds of reset; the schema has 14.
const KINDS_MAX: usize = 32;
/// Longest text that is repeated to people.
const SAYING_MAX: usize = 200;
/// Where every service begins, and what all its resources are below.
const ROOT: &str = "/redfish/v1";

#[derive(Deserialize)]
struct Link {
    #[serde(rename = "@odata.id")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootBody {
    systems: Option<Link>,
    session_service: Option<Link>,
    links: Option<RootLinks>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootLinks {
    sessions: Option<Link>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBody {
    members: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SystemBody {
    #[serde(rename = "UUID")]
    uuid: Option<String>,
    power_state: Option<String>,
    actions: Option<ActionsBody>,
}

#[derive(Deserialize)]
struct ActionsBody {
    #[serde(rename = "#ComputerSystem.Reset")]
    reset: Option<ResetBody>,
}

#[derive(Deserialize)]
struct ResetBody {
    target: Option<String>,
    #[serde(rename = "ResetType@Redfish.AllowableValues")]
    kinds: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorInner,
}

#[derive(Deserialize)]
struct ErrorInner {
    message: Option<String>,
    #[serde(rename = "@Message.ExtendedInfo", default)]
    extended: Vec<ExtendedInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExtendedInfo {
    message: Option<String>,
    message_id: Option<String>,
}

fn read<T: DeserializeOwned>(body: &[u8], otherwise: &'static str) -> Result<T, Failure> {
    if body.len() > BODY_MAX {
        return Err(Failure::Violation("an answer is longer than 256 KiB"));
    }
    serde_json::from_slice(body).map_err(|_| Failure::Violation(otherwise))
}

/// A path that stays on this service: below `/redfish/v1`, nothing in it that a parser could read in two ways.
pub(crate) fn path(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&b);
    let below = text.strip_prefix(ROOT)?;
    let lower = text.to_ascii_lowercase();
    let ok = text.len() <= PATH_MAX
        && (below.is_empty() || below.starts_with('/'))
        && text.bytes().all(plain)
        && !["//", "%2e", "%2f", "%5c"].iter().any(|trap| lower.contains(trap))
        && !text.split('/').any(|part| part == "." || part == "..");
    ok.then(|| text.to_string())
}

/// Of a `Location` header: a path, or an address whose host is not looked at, since nothing is ever sent to another.
pub(crate) fn location(text: &str) -> Option<String> {
    let below = text.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    path(below.unwrap_or(text))
}

/// The path of a session in the body of the answer that opened it.
pub(crate) fn session_path(body: &[u8]) -> Option<String> {
    read::<Link>(body, "").ok().and_then(|link| path(&link.id))
}

/// The service root.
pub fn parse_root(body: &[u8]) -> Result<Root, Failure> {
    let bad = "its service root is not Redfish";
    let root: RootBody = read(body, bad)?;
    let systems = root.systems.and_then(|link| path(&link.id)).ok_or(Failure::Violation(bad))?;
    let direct = root.links.and_then(|links| links.sessions);
    let sessions = match (direct, root.session_service) {
        (Some(link), _) => path(&link.id),
        (None, Some(service)) => {
            path(&service.id).and_then(|id| path(&format!("{}/Sessions", id.trim_end_matches('/'))))
        }
        (None, None) => return Ok(Root { systems, sessions: None }),
    };
    // A place that is no path is not the same as no sessions: the password would go out with each request instead.
    let sessions = sessions.ok_or(Failure::Violation("its sessions are at no path of Redfish"))?;
    Ok(Root { systems, sessions: Some(sessions) })
}

/// The paths of all systems.
pub fn parse_members(body: &[u8]) -> Result<Vec<String>, Failure> {
    let list: ListBody = read(body, "its list of systems cannot be read")?;
    if list.members.len() > MEMBERS_MAX {
        return Err(Failure::Violation("it lists more than 256 systems"));
    }
    let paths = list.members.iter().map(|member| path(&member.id)).collect::<Option<Vec<_>>>();
    paths.ok_or(Failure::Violation("it lists a system at no path of Redfish"))
}

/// The path of the system that is meant, by its `Id` or its path.
pub fn find_system(systems: &str, wanted: &str) -> Result<String, Failure> {
    let text = if wanted.starts_with('/') {
        wanted.to_string()
    } else {
        format!("{}/{wanted}", systems.trim_end_matches('/'))
    };
    let plain = wanted.starts_with('/') || !wanted.contains('/');
    path(&text).filter(|_| plain && !wanted.is_empty()).ok_or_else(|| {
        Failure::Unusable(format!(
            "systemId {:?} is neither an Id nor a path below {ROOT}: write it as the BMC lists it under {systems}",
            printable(wanted, 64)
        ))
    })
}

/// A system; `at` is its path. A reset that is not its own is refused: it would switch another machine.
pub fn parse_system(body: &[u8], at: &str) -> Result<System, Failure> {
    let system: SystemBody = read(body, "what it says about the system cannot be read")?;
    let identity = match system.uuid.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let uuid: SystemUuid =
                text.parse().map_err(|_| Failure::Violation("the UUID of its system is none"))?;
            Some(DeviceIdentity(uuid.0.to_be_bytes()))
        }
    };
    let reset = system.actions.and_then(|actions| actions.reset);
    let (target, kinds) = reset.map_or((None, None), |reset| (reset.target, reset.kinds));
    let own = format!("{}/Actions/", at.trim_end_matches('/'));
    let reset = match target {
        None => None,
        Some(target) => {
            let target = path(&target).filter(|target| target.starts_with(&own));
            Some(target.ok_or(Failure::Violation("its reset is not an action of its system"))?)
        }
    };
    if kinds.as_ref().is_some_and(|kinds| kinds.len() > KINDS_MAX) {
        return Err(Failure::Violation("it lists more than 32 kinds of reset"));
    }
    Ok(System { identity, power: system.power_state.as_deref().and_then(power), reset, kinds })
}

/// Only `Off` is off. On the way down or up, or paused, the machine may still write (SAFETY.md#S4).
fn power(text: &str) -> Option<PowerState> {
    match text {
        "Off" => Some(PowerState::Off),
        "On" | "Paused" | "PoweringOff" | "PoweringOn" => Some(PowerState::On),
        _ => None,
    }
}

/// What an error says for people, without anything in it that is one of `secrets`.
pub(crate) fn sayings(body: &[u8], secrets: &[&[u8]]) -> Sayings {
    let Ok(ErrorBody { error }) = read(body, "") else { return Sayings::default() };
    let first = error.extended.into_iter().next();
    let said = first.and_then(|info| info.message.or(info.message_id)).or(error.message);
    let said = said.unwrap_or_default();
    let repeats = |secret: &&[u8]| {
        !secret.is_empty() && said.as_bytes().windows(secret.len()).any(|part| part == *secret)
    };
    if secrets.iter().any(repeats) {
        return Sayings::default();
    }
    Sayings(printable(&said, SAYING_MAX))
}

/// Without control characters and whatever else a terminal obeys.
pub fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).take(max).collect()
}
