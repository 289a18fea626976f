//! Templates: TOML files in a folder that only root writes.
//!
//! ```toml
//! argv = ["/usr/bin/python3", "-m", "http.server", "8080"]
//! user = "www-data"             # default: the user that the agent runs as
//! working_dir = "/srv/www"      # default: /
//! environment = { LANG = "C" }  # nothing is inherited
//! stop_signal = "TERM"          # TERM, INT, QUIT, HUP, USR1, USR2
//! stop_timeout_ms = 10000       # then SIGKILL
//! oom_score_adj = 0
//! monitor = { http = 8080, path = "/healthz" }   # or { tcp = 8080 }, with address = "127.0.0.1"; default: none
//! ```
//!
//! With `image` it is a container (`container`), and `argv`, `user` (numbers) and `working_dir` default to the image's:
//!
//! ```toml
//! image = "docker.io/library/keystone:1"   # as `ctr -n palisade images ls` shows it
//! image_digest = "sha256:.."               # optional: this and no other
//! user = "42435:42435"
//! mounts = [{ source = "/etc/keystone", target = "/etc/keystone", read_only = true }]
//! read_only = true                         # its own files; default: false
//! ```

use core::{fmt, net::IpAddr, time::Duration};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use base::Label;
use rustix::fs::{Mode, OFlags, fstat, openat, stat};
use serde::Deserialize;

/// Where templates live unless the agent's configuration says otherwise.
pub const TEMPLATES: &str = "/etc/palisade/processes";
const FILE_BYTES_MAX: u64 = 64 * 1024;
const ARGUMENTS_MAX: usize = 64;
const ENVIRONMENT_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 4096;
const MOUNTS_MAX: usize = 64;
const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Others than the owner may write.
pub(crate) const OTHERS_WRITE: u32 = 0o022;
pub(crate) const STICKY: u32 = 0o1000;

/// Why a template cannot be used. Nothing was started; root on that machine must act.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// There is none of this name.
    #[error("there is no template {0}: root must put it there on this machine")]
    Absent(PathBuf),
    /// It can be changed by somebody else than root.
    #[error("{0} must belong to root and be writable by its owner only (chown root, chmod go-w)")]
    Unsafe(PathBuf),
    /// It does not say what it should.
    #[error("template {path}: {why}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It cannot be read.
    #[error("template {path}: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// How health is seen beyond "the process is there".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Monitor {
    /// The process is there.
    None,
    /// It takes a connection.
    Tcp {
        /// Usually this machine.
        address: IpAddr,
        /// Where it listens.
        port: u16,
    },
    /// It answers 200 to 399.
    Http {
        /// Usually this machine.
        address: IpAddr,
        /// Where it listens.
        port: u16,
        /// Begins with a slash, printable ASCII without spaces.
        path: String,
    },
}

/// The signals that may ask a process to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGHUP.
    Hup,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGTERM.
    #[default]
    Term,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

/// What a container is made of. Root wrote it: nothing of it comes from an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// In containerd's store on this machine; nothing is pulled.
    pub name: String,
    /// What the name must stand for, `sha256:..`; `None` for whatever root has imported under it.
    pub digest: Option<String>,
    /// Uid and gid; `None` for the image's.
    pub user: Option<(u32, u32)>,
    /// `None` for the image's.
    pub working_dir: Option<PathBuf>,
    /// Whether it may not write to its own files.
    pub read_only: bool,
    /// Of the machine.
    pub mounts: Vec<MountPoint>,
}

/// A path of the machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountPoint {
    /// On the machine, absolute.
    pub source: PathBuf,
    /// In the container, absolute.
    pub target: PathBuf,
    /// Whether it may not write there.
    #[serde(default)]
    pub read_only: bool,
}

/// A template that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Program, absolute, and its arguments. Empty only with an image: its own.
    pub argv: Vec<String>,
    /// A name of the machine's passwd; `None` for the user that the agent runs as.
    pub user: Option<String>,
    /// Absolute.
    pub working_dir: PathBuf,
    /// All of it; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Asks to end.
    pub stop_signal: StopSignal,
    /// After it: SIGKILL.
    pub stop_timeout: Duration,
    /// -1000 to 1000.
    pub oom_score_adj: i16,
    /// How health is seen.
    pub monitor: Monitor,
    /// What it is, if not a program of the machine.
    pub image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    argv: Vec<String>,
    user: Option<String>,
    working_dir: Option<PathBuf>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    stop_signal: StopSignal,
    stop_timeout_ms: Option<u64>,
    #[serde(default)]
    oom_score_adj: i16,
    monitor: Option<RawMonitor>,
    image: Option<String>,
    image_digest: Option<String>,
    #[serde(default)]
    mounts: Vec<MountPoint>,
    read_only: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMonitor {
    tcp: Option<u16>,
    http: Option<u16>,
    path: Option<String>,
    address: Option<IpAddr>,
}

/// Reads `NAME.toml` in `folder`, if only root (or the user that runs this program) can have written it.
pub fn load(folder: &Path, name: &Label) -> Result<Template, TemplateError> {
    let path = folder.join(format!("{name}.toml"));
    let failed = |error: rustix::io::Errno| match error {
        rustix::io::Errno::NOENT => TemplateError::Absent(path.clone()),
        error => TemplateError::Unreadable { path: path.clone(), error: error.into() },
    };
    for above in folder.ancestors().filter(|above| !above.as_os_str().is_empty()) {
        let stat = stat(above).map_err(failed)?;
        let shared = stat.st_mode & OTHERS_WRITE != 0 && stat.st_mode & STICKY == 0;
        if !owned(stat.st_uid) || shared {
            return Err(TemplateError::Unsafe(above.to_owned()));
        }
    }
    let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder =
        rustix::fs::open(folder, OFlags::RDONLY | directory, Mode::empty()).map_err(failed)?;
    // Looked at by descriptor, so that what was checked is what is read.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(&folder, format!("{name}.toml"), flags, Mode::empty()).map_err(failed)?;
    for fd in [&folder, &file] {
        let stat = fstat(fd).map_err(failed)?;
        if !owned(stat.st_uid) || stat.st_mode & OTHERS_WRITE != 0 {
            return Err(TemplateError::Unsafe(path));
        }
    }
    let mut text = String::new();
    let file = File::from(file);
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err(TemplateError::Invalid { path, why: "not a regular file".into() });
    }
    match file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 > FILE_BYTES_MAX => {
            Err(TemplateError::Invalid { path, why: "more than 64 KiB".into() })
        }
        Ok(_) => parse(&text).map_err(|why| TemplateError::Invalid { path, why }),
        Err(error) => Err(TemplateError::Unreadable { path, error }),
    }
}

/// Root, or whoever runs this program (`palisade dev` runs as a person).
pub(crate) fn owned(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Reads the text of a template.
pub fn parse(text: &str) -> Result<Template, String> {
    let raw: Raw = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let plain = |text: &str| text.len() <= TEXT_BYTES_MAX && !text.contains('\0');
    let image = image(&raw)?;
    match raw.argv.first() {
        None if image.is_none() => return Err("argv is empty: name the program".into()),
        Some(program) if !program.starts_with('/') => {
            return Err(format!("argv[0] {program:?} must be an absolute path: there is no PATH"));
        }
        _ => {}
    }
    if raw.argv.len() > ARGUMENTS_MAX || !raw.argv.iter().all(|text| plain(text)) {
        return Err(
            "argv has more than 64 arguments, or one of more than 4096 bytes or with a NUL".into(),
        );
    }
    let variable = |(name, value): (&String, &String)| {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        !name.is_empty() && name.bytes().all(ok) && plain(name) && plain(value)
    };
    if raw.environment.len() > ENVIRONMENT_MAX || !raw.environment.iter().all(variable) {
        return Err(
            "environment: at most 64 names of [A-Za-z0-9_] with values of at most 4096 bytes"
                .into(),
        );
    }
    let working_dir = raw.working_dir.unwrap_or_else(|| "/".into());
    if !working_dir.is_absolute() {
        return Err("working_dir must be absolute".into());
    }
    let stop_timeout = Duration::from_millis(raw.stop_timeout_ms.unwrap_or(10_000));
    if stop_timeout > STOP_TIMEOUT_MAX {
        return Err("stop_timeout_ms is more than an hour".into());
    }
    if !(-1000..=1000).contains(&raw.oom_score_adj) {
        return Err("oom_score_adj must be from -1000 to 1000".into());
    }
    Ok(Template {
        argv: raw.argv,
        user: raw.user,
        working_dir,
        environment: raw.environment,
        stop_signal: raw.stop_signal,
        stop_timeout,
        oom_score_adj: raw.oom_score_adj,
        monitor: raw.monitor.map_or(Ok(Monitor::None), monitor)?,
        image,
    })
}

/// The part about an image, which stands whole or not at all.
fn image(raw: &Raw) -> Result<Option<Image>, String> {
    let Some(name) = &raw.image else {
        return if raw.image_digest.is_some() || !raw.mounts.is_empty() || raw.read_only.is_some() {
            Err("image_digest, mounts and read_only need an image".into())
        } else {
            Ok(None)
        };
    };
    if name.is_empty() || name.len() > 512 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("image must be a name as `ctr -n palisade images ls` shows it".into());
    }
    if let Some(digest) = &raw.image_digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != 64 || !hex.bytes().all(digit) {
            return Err("image_digest must be sha256: and 64 digits of 0-9a-f".into());
        }
    }
    let user = match &raw.user {
        None => None,
        Some(said) => Some(uid_gid(said).ok_or(
            "user of an image must be \"UID\" or \"UID:GID\" in numbers: names are the image's own",
        )?),
    };
    let whole = |path: &Path| {
        let up = |part| part == std::path::Component::ParentDir;
        path.is_absolute() && !path.components().any(up) && path.to_str().is_some()
    };
    let paths = |mount: &MountPoint| {
        whole(&mount.source) && whole(&mount.target) && mount.target != Path::new("/")
    };
    if raw.mounts.len() > MOUNTS_MAX || !raw.mounts.iter().all(paths) {
        return Err(
            "mounts: at most 64, each source and target absolute and without .., no target /"
                .into(),
        );
    }
    Ok(Some(Image {
        name: name.clone(),
        digest: raw.image_digest.clone(),
        user,
        working_dir: raw.working_dir.clone(),
        read_only: raw.read_only.unwrap_or(false),
        mounts: raw.mounts.clone(),
    }))
}

/// `UID` or `UID:GID`; the gid is the uid where none is said.
pub(crate) fn uid_gid(said: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    match said.split_once(':') {
        None => number(said).map(|uid| (uid, uid)),
        Some((uid, gid)) => Some((number(uid)?, number(gid)?)),
    }
}

fn monitor(raw: RawMonitor) -> Result<Monitor, String> {
    let address = raw.address.unwrap_or_else(|| IpAddr::from([127, 0, 0, 1]));
    match (raw.tcp, raw.http, raw.path) {
        (Some(port), None, None) => Ok(Monitor::Tcp { address, port }),
        (None, Some(port), path) => {
            let path = path.unwrap_or_else(|| "/".into());
            if !path.starts_with('/')
                || path.len() > 1024
                || !path.bytes().all(|b| b.is_ascii_graphic())
            {
                return Err("monitor.path must begin with / and have no spaces".into());
            }
            Ok(Monitor::Http { address, port, path })
        }
        _ => Err("monitor must be { tcp = PORT } or { http = PORT, path = \"/..\" }".into()),
    }
}

impl StopSignal {
    pub(crate) const fn signal(self) -> rustix::process::Signal {
        use rustix::process::Signal;
        match self {
            Self::Hup => Signal::HUP,
            Self::Int => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Term => Signal::TERM,
            Self::Usr1 => Signal::USR1,
            Self::Usr2 => Signal::USR2,
        }
    }
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nothing beyond the process"),
            Self::Tcp { address, port } => write!(f, "tcp {address} port {port}"),
            Self::Http { address, port, path } => write!(f, "http {address} port {port}{path}"),
        }
    }
}
