//! Which agent: PROVIDER/TYPE.

use core::{fmt, str::FromStr};

/// Of each half.
const BYTES_MAX: usize = 64;

/// PROVIDER/TYPE, each of `[A-Za-z0-9_-]+`: no dot and no second slash, so that nothing but a file of the standard folder can
/// be named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName {
    provider: String,
    kind: String,
}

/// Not PROVIDER/TYPE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of an OCF agent: write PROVIDER/TYPE, each of letters, digits, _ and - (at most 64), as in heartbeat/IPaddr2"
)]
pub struct InvalidName(String);

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

/// `[A-Za-z0-9_-]+`.
pub(super) fn plain(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= BYTES_MAX && text.bytes().all(allowed)
}

impl FromStr for AgentName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('/') {
            Some((provider, kind)) if plain(provider) && plain(kind) => {
                Ok(Self { provider: provider.into(), kind: kind.into() })
            }
            _ => Err(InvalidName(text.chars().take(2 * BYTES_MAX).collect())),
        }
    }
}
