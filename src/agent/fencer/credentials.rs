//! Names and passwords of BMCs: fetched from Secrets, kept for the time without the API (SAFETY.md 4.4).
//!
//! Invariants: no `Debug`, no `Serialize` on what holds a password; the cache is 0600 in the fencer's own folder; what
//! the API no longer has is forgotten only when the API said so, never because it could not be reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use drivers::{power::BoxFuture, secret::Password};
use zeroize::Zeroizing;

use crate::state::{Content, FileKind, read, write};

/// Secrets that are kept.
const SECRETS_MAX: usize = 1024;
/// Longest user name or password in bytes; IPMI takes 16 and 20.
const ENTRY_BYTES_MAX: usize = 1024;

/// One login.
#[derive(Clone)]
pub struct Credential {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Password,
}

/// Reads Secrets.
pub trait FetchCredentials: Send + Sync {
    /// What the named Secrets hold now as `username` and `password`. A Secret that could not be read is missing from the
    /// answer.
    fn fetch(&self, secrets: BTreeSet<String>) -> BoxFuture<'static, BTreeMap<String, Credential>>;
}

/// What is known.
#[derive(Default)]
pub struct Credentials(BTreeMap<String, Credential>);

impl Credentials {
    /// From the cache; empty where there is none or where it cannot be believed.
    pub fn load(dir: &Path) -> Self {
        match read(dir, FileKind::Credentials) {
            Ok(Content::Intact(bytes)) => Self::decode(&Zeroizing::new(bytes)).unwrap_or_default(),
            Ok(Content::Missing) => Self::default(),
            Ok(Content::SetAside { kept, why }) => {
                tracing::error!(kept = %kept.display(), why, "the cache of BMC credentials was set aside");
                Self::default()
            }
            Err(error) => {
                tracing::error!(%error, "the cache of BMC credentials cannot be read");
                Self::default()
            }
        }
    }

    /// Writes the cache. Blocks for an fsync: this part has no token to wait for.
    pub fn store(&self, dir: &Path) {
        if let Err(error) = write(dir, FileKind::Credentials, &self.encode()) {
            tracing::error!(%error, "BMC credentials cannot be cached: after a power loss this member fences only with the API");
        }
    }

    /// Takes what was fetched. Whether anything is new.
    pub fn take(&mut self, found: BTreeMap<String, Credential>) -> bool {
        let mut new = false;
        for (secret, credential) in found {
            let fits = credential.user.len() <= ENTRY_BYTES_MAX
                && credential.password.expose().len() <= ENTRY_BYTES_MAX;
            let known = self.0.get(&secret);
            let same = known.is_some_and(|known| {
                known.user == credential.user
                    && known.password.expose() == credential.password.expose()
            });
            if fits && !same && (known.is_some() || self.0.len() < SECRETS_MAX) {
                self.0.insert(secret, credential);
                new = true;
            }
        }
        new
    }

    /// All of it.
    pub fn into_map(self) -> BTreeMap<String, Credential> {
        self.0
    }

    /// Of the Secret with this name.
    pub fn get(&self, secret: &str) -> Option<&Credential> {
        self.0.get(secret)
    }

    /// `count (secret user password)*`, each field with its length in front.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::new());
        for (secret, Credential { user, password }) in &self.0 {
            for field in [secret.as_bytes(), user.as_bytes(), password.expose()] {
                // Fields were bounded when they were taken.
                let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(field);
            }
        }
        bytes
    }

    /// `None` if it is cut short or holds more than is ever taken: then it is not what [`Self::encode`] wrote.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut field = || {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (field, rest) = rest.split_at_checked(length)?;
            bytes = rest;
            Some((field, rest.is_empty()))
        };
        let mut all = BTreeMap::new();
        loop {
            let Some((secret, _)) = field() else { return Some(Self(all)) };
            let (user, _) = field()?;
            let (password, last) = field()?;
            let full = all.len() >= SECRETS_MAX;
            if full || user.len() > ENTRY_BYTES_MAX || password.len() > ENTRY_BYTES_MAX {
                return None;
            }
            let secret = String::from_utf8(secret.to_vec()).ok()?;
            let user = String::from_utf8(user.to_vec()).ok()?;
            all.insert(secret, Credential { user, password: Password::new(password.to_vec()) });
            if last {
                return Some(Self(all));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(user: &str, password: &[u8]) -> Credential {
        Credential { user: user.into(), password: Password::new(password.to_vec()) }
    }

    #[test]
    fn what_was_fetched_is_there_after_a_restart_without_the_api() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut credentials = Credentials::load(dir.path());
        assert!(credentials.get("bmc-1").is_none());
        let fetched = || {
            BTreeMap::from([
                ("bmc-1".to_owned(), credential("admin", b"Se\xc4\x8d'r\"$(x)\n")),
                ("bmc-2".to_owned(), credential("", b"")),
            ])
        };
        assert!(credentials.take(fetched()));
        assert!(!credentials.take(fetched()), "silence: nothing new");
        assert!(!credentials.take(BTreeMap::new()), "an API that is away takes nothing away");
        credentials.store(dir.path());
        let again = Credentials::load(dir.path());
        let one = again.get("bmc-1").expect("kept");
        assert_eq!(one.user, "admin");
        assert_eq!(one.password.expose(), b"Se\xc4\x8d'r\"$(x)\n");
        assert!(again.get("bmc-2").is_some());
    }

    #[test]
    fn a_cache_cut_short_or_beyond_the_limits_is_no_cache() {
        let mut long = vec![0; 8];
        long.extend(1025_u32.to_le_bytes());
        long.extend([b'x'; 1025]);
        assert!(Credentials::decode(&long).is_none(), "longer than what is taken");
        assert!(Credentials::decode(&[3, 0, 0, 0, b'a', b'b', b'c', 1, 0]).is_none());
        assert!(Credentials::decode(&[]).is_some());
    }
}
