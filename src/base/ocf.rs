//! An OCF agent as data: which one, and what it is told.
//!
//! Invariants: no path and no command; a name cannot leave the standard's folder, and which names a machine runs says its own
//! configuration. No secret: a value that nobody may read is named by the file that root put on the machines (SAFETY.md 4.2,
//! 4.4). An [`OcfAgent`] that [`OcfAgent::fault`] finds nothing in is of a size that travels in every order and report.

use alloc::{format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{InvalidId, Label};

/// Parameters of one agent.
pub const PARAMETERS_MAX: usize = 48;
/// Bytes of one value.
pub const VALUE_BYTES_MAX: usize = 1024;
/// Bytes of all names and values of one agent.
pub const ALL_BYTES_MAX: usize = 4096;
/// Characters of a name, of an agent's provider and of its type.
const NAME_BYTES_MAX: usize = 64;

/// An agent and what it is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OcfAgent {
    /// Which.
    pub name: AgentName,
    /// Ordered by name, each name once.
    pub parameters: Vec<OcfParameter>,
    /// Of a clone.
    pub copies: Option<OcfCopies>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OcfParameter {
    /// As the agent's metadata says it. Example: `cidr_netmask`.
    pub name: ParameterName,
    /// What it is set to.
    pub value: OcfValue,
}

/// What a parameter is set to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OcfValue {
    /// This text.
    Text(String),
    /// What stands in this file of the machine's folder for secrets.
    Secret(Label),
}

/// How many there are, for agents that ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OcfCopies {
    /// In the whole cluster.
    pub max: u16,
    /// On one machine.
    pub node_max: u16,
    /// Promoted; 0 where there is no such role.
    pub promoted_max: u16,
    /// Copies are not interchangeable.
    pub unique: bool,
}

impl OcfAgent {
    /// What is wrong with it, if anything: path below the parameters, and rule.
    pub fn fault(&self) -> Option<String> {
        if self.parameters.len() > PARAMETERS_MAX {
            return Some(format!("parameters: at most {PARAMETERS_MAX} are possible"));
        }
        for pair in self.parameters.windows(2) {
            if let [first, second] = pair
                && first.name >= second.name
            {
                return Some(format!("parameters: {} is used twice", second.name));
            }
        }
        for parameter in &self.parameters {
            if let OcfValue::Text(text) = &parameter.value
                && (text.len() > VALUE_BYTES_MAX || text.chars().any(char::is_control))
            {
                return Some(format!(
                    "parameters.{}: at most {VALUE_BYTES_MAX} bytes without control characters",
                    parameter.name
                ));
            }
        }
        (self.text_bytes() > ALL_BYTES_MAX)
            .then(|| format!("parameters: {ALL_BYTES_MAX} bytes of names and values at most"))
    }

    /// Bytes of its message at most, roughly.
    pub fn bytes_max(&self) -> usize {
        let names = self.name.provider().len() + self.name.kind().len();
        names + self.text_bytes() + 4 * self.parameters.len() + 16
    }

    fn text_bytes(&self) -> usize {
        let value = |value: &OcfValue| match value {
            OcfValue::Secret(file) => file.as_str().len(),
            OcfValue::Text(text) => text.len(),
        };
        self.parameters.iter().map(|p| p.name.as_str().len() + value(&p.value)).sum()
    }
}

/// `[A-Za-z0-9_-]{1,64}`.
fn is_plain(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)
}

/// PROVIDER/TYPE, each of `[A-Za-z0-9_-]{1,64}`: no dot and no second slash, so that nothing but a file of the standard's
/// folder can be named. Example: `heartbeat/IPaddr2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName {
    provider: String,
    kind: String,
}

impl AgentName {
    /// Folder below `resource.d`.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// File in it.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.kind)
    }
}

impl FromStr for AgentName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.split_once('/') {
            Some((provider, kind)) if is_plain(provider) && is_plain(kind) => {
                Ok(Self { provider: provider.into(), kind: kind.into() })
            }
            _ => Err(InvalidId {
                kind: "OCF agent",
                value: text.chars().take(80).collect(),
                rule: "must be PROVIDER/TYPE, each of letters, digits, _ and - (at most 64), as in heartbeat/IPaddr2",
            }),
        }
    }
}

impl TryFrom<String> for AgentName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        format!("{name}")
    }
}

/// Name of a parameter, which becomes part of a variable's name: `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParameterName(String);

impl ParameterName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ParameterName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if is_plain(text) && !text.starts_with("CRM_meta_") {
            return Ok(Self(text.into()));
        }
        let rule = "must be of letters, digits, _ and - (at most 64), and not begin with CRM_meta_";
        Err(InvalidId { kind: "parameter", value: text.chars().take(80).collect(), rule })
    }
}

impl TryFrom<String> for ParameterName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ParameterName> for String {
    fn from(name: ParameterName) -> Self {
        name.0
    }
}

impl fmt::Display for ParameterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether a parameter's name says that its value is a secret: `passwd`, `db_password`, `auth_token`; not `keyfile` or
/// `password_file`, which say where one is.
pub fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let place = ["file", "path", "dir"].iter().any(|end| name.ends_with(end));
    !place && ["passw", "secret", "token", "credential"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    fn agent(parameters: &[(&str, &str)]) -> OcfAgent {
        let parameter = |(name, value): &(&str, &str)| OcfParameter {
            name: name.parse().expect("valid"),
            value: OcfValue::Text((*value).to_string()),
        };
        OcfAgent {
            name: "heartbeat/Dummy".parse().expect("valid"),
            parameters: parameters.iter().map(parameter).collect(),
            copies: None,
        }
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        let good: AgentName = "heartbeat/IPaddr2".parse().expect("valid");
        assert_eq!((good.provider(), good.kind()), ("heartbeat", "IPaddr2"));
        let long = "x".repeat(65);
        for bad in ["", "/", "heartbeat", "a/b/c", "../x", "a/..", "a/.b", "a b/c", "a/\n", &long] {
            assert!(bad.parse::<AgentName>().is_err(), "{bad:?}");
        }
        for bad in ["", "a=b", "a b", "CRM_meta_timeout", "ä", &long] {
            assert!(bad.parse::<ParameterName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_too_large_or_said_twice_is_a_fault() {
        assert_eq!(agent(&[("fake", "x"), ("state", "/run/x")]).fault(), None);
        let says = |agent: OcfAgent| agent.fault().expect("a fault");
        assert!(says(agent(&[("a", "1"), ("a", "2")])).contains("twice"));
        assert!(says(agent(&[("a", "x\ny")])).contains("control"));
        assert!(says(agent(&[("a", &"x".repeat(VALUE_BYTES_MAX + 1))])).contains("1024"));
        let most = "x".repeat(VALUE_BYTES_MAX);
        let many = ["a", "b", "c", "d"].map(|name| (name, most.as_str()));
        assert!(says(agent(&many)).contains("4096"));
        let names: Vec<String> = (10..=10 + PARAMETERS_MAX).map(|n| n.to_string()).collect();
        let names: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "")).collect();
        assert!(says(agent(&names)).contains("48"));
    }

    #[test]
    fn the_largest_fits_into_what_it_says_of_itself() {
        let value = "x".repeat(VALUE_BYTES_MAX - 8);
        let largest =
            agent(&["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"].map(|n| (n, &*value)));
        assert_eq!(largest.fault(), None);
        for agent in [largest, agent(&[]), agent(&[("a", "")])] {
            let bytes = postcard::to_allocvec(&agent).expect("encodes");
            assert!(bytes.len() <= agent.bytes_max(), "{} > {}", bytes.len(), agent.bytes_max());
        }
    }

    #[test]
    fn names_of_secrets_are_told_from_names_of_files() {
        for secret in ["passwd", "db_password", "auth_token", "SECRET", "wsrep_sst_passwd"] {
            assert!(names_secret(secret), "{secret}");
        }
        for plain in ["keyfile", "password_file", "ssh_key", "ip", "token_path", "passive"] {
            assert!(!names_secret(plain), "{plain}");
        }
    }
}
