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
    OWN_PROGRAM,
    config::Options,
    fencer::{Credential, Credentials, FetchCredentials},
    process::Exit,
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
        let mut arguments: Vec<OsString> = Vec::new();
        let mut given = std::env::args_os().skip(1);
        while let Some(word) = given.next() {
            if word == "--part" || word == "--parent" {
                given.next();
            } else {
                arguments.push(word);
            }
        }
        let own = [("--part", "secrets".to_owned()), ("--parent", std::process::id().to_string())];
        for (name, value) in own {
            arguments.extend([name.into(), value.into()]);
        }
        Self { arguments }
    }
}

impl FetchCredentials for SecretsByChild {
    fn fetch(&self, secrets: BTreeSet<String>) -> BoxFuture<'static, BTreeMap<String, Credential>> {
        let arguments = self.arguments.clone();
        Box::pin(async move {
            if secrets.is_empty() {
                return BTreeMap::new();
            }
            match tokio::time::timeout(PATIENCE, ask(arguments, &secrets)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "Secrets of fence devices cannot be read; the cached ones are used");
                    BTreeMap::new()
                }
                Err(_) => {
                    tracing::warn!(
                        "Secrets of fence devices were not read in 20 s; the cached ones are used"
                    );
                    BTreeMap::new()
                }
            }
        })
    }
}

async fn ask(
    arguments: Vec<OsString>,
    secrets: &BTreeSet<String>,
) -> io::Result<BTreeMap<String, Credential>> {
    let mut child = tokio::process::Command::new(OWN_PROGRAM)
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
    let found = Credentials::decode(&answer).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the reader's answer cannot be read")
    })?;
    Ok(found.into_map())
}

/// The child's whole life.
pub(crate) fn child(options: &Options) -> io::Result<Exit> {
    let mut names = String::new();
    io::stdin().lock().take(NAMES_BYTES_MAX).read_to_string(&mut names)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(read(options, names.lines()))?;
    let mut credentials = Credentials::default();
    credentials.take(found);
    let mut output = io::stdout().lock();
    output.write_all(&credentials.encode())?;
    output.flush()?;
    Ok(Exit::Done)
}

async fn read(
    options: &Options,
    names: impl Iterator<Item = &str>,
) -> io::Result<BTreeMap<String, Credential>> {
    let client =
        api::client::connect(options.kubeconfig.as_deref()).await.map_err(io::Error::other)?;
    let secrets: Api<Secret> = Api::namespaced(client, &options.namespace);
    let mut found = BTreeMap::new();
    for name in names {
        match secrets.get(name).await {
            Ok(secret) => match credential(secret) {
                Ok(credential) => {
                    found.insert(name.to_owned(), credential);
                }
                Err(what) => tracing::error!(secret = name, "{what}"),
            },
            // Its text may not repeat content: an error of `get` names the object and the reason only.
            Err(error) if matches!(error, kube::Error::Api(_)) => {
                tracing::error!(secret = name, %error, "a Secret of a fence device cannot be read")
            }
            // Nobody answers: the ring part's feed says so once, and the next name would say the same.
            Err(error) => {
                tracing::debug!(%error, "the API is away: Secrets of fence devices are kept as they are");
                break;
            }
        }
    }
    Ok(found)
}

fn credential(secret: Secret) -> Result<Credential, &'static str> {
    let mut data = secret.data.unwrap_or_default();
    let user = data.remove("username").ok_or("the Secret has no entry `username`")?;
    let password = data.remove("password").ok_or("the Secret has no entry `password`")?;
    let user = String::from_utf8(user.0).map_err(|_| "the entry `username` is not UTF-8")?;
    let authority = data.remove("ca.crt").map(|pem| pem.0);
    Ok(Credential { user, password: Password::new(password.0), authority })
}
