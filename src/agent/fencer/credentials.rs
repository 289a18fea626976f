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

/// Longest bundle of authorities in bytes: some four certificates.
const AUTHORITY_BYTES_MAX: usize = 8192;
/// The entry of a Secret that holds it; in the cache it follows the Secret's name. No name of a Secret has a slash.
const AUTHORITY: &str = "/ca.crt";

/// One login.
#[derive(Clone)]
pub struct Credential {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Password,
    /// Who vouches for the device's certificate, as PEM. No secret.
    pub authority: Option<Vec<u8>>,
}

impl Credential {
    pub(crate) fn fits(&self) -> bool {
        self.user.len() <= ENTRY_BYTES_MAX
            && self.password.expose().len() <= ENTRY_BYTES_MAX
            && self.authority.as_ref().is_none_or(|pem| pem.len() <= AUTHORITY_BYTES_MAX)
    }
}

/// Reads Secrets.
pub trait FetchCredentials: Send + Sync {
    /// What the named Secrets hold now as `username`, `password` and `ca.crt`.
    fn fetch(&self, secrets: BTreeSet<String>) -> BoxFuture<'static, Fetched>;
}

/// What a look for Secrets has found. One that could not be asked for is in neither.
#[derive(Default)]
pub struct Fetched {
    /// By name of the Secret.
    pub found: BTreeMap<String, Credential>,
    /// Those that the API does not have, or that hold no credential: what to do.
    pub wrong: BTreeMap<String, String>,
    /// The API has answered.
    pub asked: bool,
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
            let fits = credential.fits();
            let known = self.0.get(&secret);
            let same = known.is_some_and(|known| {
                known.user == credential.user
                    && known.password.expose() == credential.password.expose()
                    && known.authority == credential.authority
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

    /// `(secret user password)*`, each field with its length in front. An authority is a triple of its own, named after
    /// its Secret and without a user: caches from before there were any still read.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::new());
        let mut put = |fields: [&[u8]; 3]| {
            for field in fields {
                // Fields were bounded when they were taken.
                let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(field);
            }
        };
        for (secret, Credential { user, password, authority }) in &self.0 {
            put([secret.as_bytes(), user.as_bytes(), password.expose()]);
            if let Some(authority) = authority {
                put([format!("{secret}{AUTHORITY}").as_bytes(), b"", authority]);
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
        let mut all: BTreeMap<String, Credential> = BTreeMap::new();
        loop {
            let Some((secret, _)) = field() else { return Some(Self(all)) };
            let (user, _) = field()?;
            let (password, last) = field()?;
            let secret = String::from_utf8(secret.to_vec()).ok()?;
            let user = String::from_utf8(user.to_vec()).ok()?;
            if let Some(of) = secret.strip_suffix(AUTHORITY) {
                // It follows its login.
                let credential = all.get_mut(of).filter(|c| c.authority.is_none())?;
                credential.authority = Some(password.to_vec()).filter(|_| user.is_empty());
                credential.authority.as_ref()?;
                if !credential.fits() {
                    return None;
                }
            } else {
                let password = Password::new(password.to_vec());
                let credential = Credential { user, password, authority: None };
                if all.len() >= SECRETS_MAX || !credential.fits() {
                    return None;
                }
                all.insert(secret, credential);
            }
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
        Credential {
            user: user.into(),
            password: Password::new(password.to_vec()),
            authority: None,
        }
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
    fn an_authority_is_kept_with_its_login_and_only_there() {
        let pem = b"-----BEGIN CERTIFICATE-----".to_vec();
        let with = Credential { authority: Some(pem.clone()), ..credential("a", b"x") };
        let mut credentials = Credentials::default();
        let fetched = |one: &Credential| BTreeMap::from([("bmc-1".to_owned(), one.clone())]);
        assert!(credentials.take(fetched(&credential("a", b"x"))));
        assert!(credentials.take(fetched(&with)), "an authority alone is news");
        assert!(!credentials.take(fetched(&with)));
        credentials.take(BTreeMap::from([("bmc-1-b".to_owned(), credential("b", b"y"))]));
        let again = Credentials::decode(&credentials.encode()).expect("own words");
        assert_eq!(again.get("bmc-1").and_then(|c| c.authority.clone()), Some(pem));
        assert!(again.get("bmc-1-b").is_some_and(|c| c.authority.is_none()));
        let mut orphan = Vec::new();
        for field in [&b"bmc-1/ca.crt"[..], b"", b"PEM"] {
            orphan.extend(u32::try_from(field.len()).expect("short").to_le_bytes());
            orphan.extend(field);
        }
        assert!(Credentials::decode(&orphan).is_none(), "an authority without its login");
        let long = Credential { authority: Some(vec![b'x'; 8193]), ..credential("a", b"x") };
        assert!(!credentials.take(fetched(&long)), "longer than what is taken");
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
