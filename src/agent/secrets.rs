//! BMC credentials from Secrets, read by a child of the fencer that ends at once: the fencer itself never carries a TLS
//! client of the API in memory, and the ring part never sees a password (SAFETY.md 4.4).
//!
//! Names go in on standard input, credentials come out on standard output: pipes between two processes of one user,
//! never arguments, environment or files. `get` by name only, never `list` or `watch`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{self, Read as _, Write as _},
    process::Stdio,
    time::Duration,
};

use drivers::{power::BoxFuture, secret::Password};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::{
    config::Options,
    fencer::{Credential, Credentials, FetchCredentials, Fetched},
    own_program,
    process::{Exit, arguments_of_child},
};

/// For the whole look, a slow API included.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest answer of the child.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest list of names.
const NAMES_BYTES_MAX: u64 = 256 * 1024;

/// Starts a child for each look.
pub struct SecretsByChild {
    arguments: Vec<OsString>,
}

impl SecretsByChild {
    /// The child gets the options of this process, which is a part itself.
    pub fn of_this_part() -> Self {
        Self { arguments: arguments_of_child("secrets") }
    }
}

impl FetchCredentials for SecretsByChild {
    fn fetch(&self, secrets: BTreeSet<String>) -> BoxFuture<'static, Fetched> {
        let arguments = self.arguments.clone();
        Box::pin(async move {
            if secrets.is_empty() {
                return Fetched { asked: true, ..Fetched::default() };
            }
            match tokio::time::timeout(PATIENCE, ask(arguments, &secrets)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "Secrets of fence devices cannot be read; the cached ones are used");
                    Fetched::default()
                }
                Err(_) => {
                    tracing::warn!(
                        "Secrets of fence devices were not read in 20 s; the cached ones are used"
                    );
                    Fetched::default()
                }
            }
        })
    }
}

async fn ask(arguments: Vec<OsString>, secrets: &BTreeSet<String>) -> io::Result<Fetched> {
    let mut child = tokio::process::Command::from(own_program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        for secret in secrets {
            input.write_all(format!("{secret}\n").as_bytes()).await?;
        }
    }
    let mut answer = Zeroizing::new(Vec::new());
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    }
    let status = child.wait().await?;
    if !status.success() {
        return Err(io::Error::other(format!("the reader ended with {status}; its log says why")));
    }
    decode(&answer).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the reader's answer cannot be read")
    })
}

/// Whether the API has answered, what is wrong with which Secret, and then the credentials. Parent and child are one program.
fn encode(fetched: Fetched) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut credentials = Credentials::default();
    credentials.take(fetched.found);
    let head = postcard::to_allocvec(&(fetched.asked, fetched.wrong)).map_err(io::Error::other)?;
    let mut bytes = Zeroizing::new(head);
    bytes.extend_from_slice(&credentials.encode());
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<Fetched> {
    let (head, rest) = postcard::take_from_bytes::<(bool, BTreeMap<String, String>)>(bytes).ok()?;
    let found = Credentials::decode(rest)?.into_map();
    Some(Fetched { found, wrong: head.1, asked: head.0 })
}

/// The child's whole life.
pub(crate) fn child(options: &Options) -> io::Result<Exit> {
    let mut names = String::new();
    io::stdin().lock().take(NAMES_BYTES_MAX).read_to_string(&mut names)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(read(options, names.lines()))?;
    let mut output = io::stdout().lock();
    output.write_all(&encode(found)?)?;
    output.flush()?;
    Ok(Exit::Done)
}

async fn read(options: &Options, names: impl Iterator<Item = &str>) -> io::Result<Fetched> {
    let client =
        api::client::connect(options.kubeconfig.as_deref()).await.map_err(io::Error::other)?;
    let secrets: Api<Secret> = Api::namespaced(client, &options.namespace);
    let mut fetched = Fetched { asked: true, ..Fetched::default() };
    for name in names {
        let wrong = match secrets.get(name).await {
            Ok(secret) => match credential(secret) {
                Ok(credential) => {
                    fetched.found.insert(name.to_owned(), credential);
                    continue;
                }
                Err(what) => format!("secret {name:?} {what}"),
            },
            Err(kube::Error::Api(said)) if said.code == 404 => format!(
                "secret {name:?} does not exist in this namespace: make it with the entries \"username\" and \"password\""
            ),
            Err(kube::Error::Api(said)) if said.code == 403 => format!(
                "secret {name:?} may not be read by the fencer: allow it (values of the chart: secrets.bmc), or correct spec.credentialsRef"
            ),
            // Nobody answers, or not about this: the ring part's feed says so once, and the next name would say the same.
            Err(error) => {
                tracing::debug!(%error, "the API is away: Secrets of fence devices are kept as they are");
                fetched.asked = false;
                break;
            }
        };
        fetched.wrong.insert(name.to_owned(), wrong);
    }
    Ok(fetched)
}

/// Nothing of its content is repeated (SAFETY.md#S27).
fn credential(secret: Secret) -> Result<Credential, &'static str> {
    let mut data = secret.data.unwrap_or_default();
    let user = data.remove("username").ok_or("lacks key \"username\": add it")?;
    let password = data.remove("password").ok_or("lacks key \"password\": add it")?;
    let user = String::from_utf8(user.0)
        .map_err(|_| "has a key \"username\" that is not UTF-8: write it as text")?;
    let authority = data.remove("ca.crt").map(|pem| pem.0);
    let found = Credential { user, password: Password::new(password.0), authority };
    found.fits().then_some(found).ok_or(
        "holds more than a BMC takes: at most 1024 bytes each in \"username\" and \"password\", 8192 in \"ca.crt\"",
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(entries: &[(&str, &[u8])]) -> Secret {
        let data = entries.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_secret_that_holds_no_credential_says_what_to_add_and_repeats_nothing() {
        let canary = "Se\u{10d}'r\"$(x)\n".as_bytes();
        let why = |entries: &[(&str, &[u8])]| credential(secret(entries)).err().expect("refused");
        assert_eq!(why(&[("password", canary)]), "lacks key \"username\": add it");
        assert_eq!(why(&[("username", b"admin")]), "lacks key \"password\": add it");
        assert!(why(&[("username", b"\xff"), ("password", canary)]).contains("UTF-8"));
        let long = [b'x'; 1025];
        assert!(why(&[("username", b"a"), ("password", &long)]).contains("1024 bytes"));
        assert!(credential(secret(&[("username", b"admin"), ("password", canary)])).is_ok());
    }

    #[test]
    fn what_the_child_found_and_what_is_wrong_reach_the_fencer() {
        let login = credential(secret(&[("username", b"admin"), ("password", b"x")])).ok();
        let sent = Fetched {
            found: BTreeMap::from([("bmc-1".into(), login.expect("a login"))]),
            wrong: BTreeMap::from([("bmc-2".into(), "lacks".into())]),
            asked: true,
        };
        let bytes = encode(sent).expect("encoded");
        let came = decode(&bytes).expect("decoded");
        assert_eq!((came.found["bmc-1"].user.as_str(), came.asked), ("admin", true));
        assert_eq!(came.wrong["bmc-2"], "lacks");
        assert!(decode(&bytes[..bytes.len() - 1]).is_none());
    }
}
