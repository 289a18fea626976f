//! The folder of one balancer, and its process in the process driver's terms.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base::{Label, NodeName, Proxy, ResourceId, ResourceKind};

use super::driver::{BalancerConfig, Engine};
use crate::process::{ProcessConfig, ProcessDriver};

/// A Unix socket's path has at most 107 bytes.
const SOCKET_BYTES_MAX: usize = 107;
/// Parameters of the largest balancer, as JSON.
const PROXY_BYTES_MAX: u64 = 256 * 1024;
/// Connections have so long to end by themselves when it is stopped.
const STOP_MS: u32 = 5_000;
const TEMPLATE: &str = "balancer";

/// Where one balancer lives.
pub(super) struct Place {
    folder: PathBuf,
    pub(super) process: ProcessDriver,
    /// As the process driver knows it.
    pub(super) kind: ResourceKind,
}

impl Place {
    pub(super) fn of(config: &BalancerConfig, resource: &ResourceId) -> io::Result<Self> {
        let folder = config.root.join(resource.as_str());
        let template: Label = TEMPLATE.parse().map_err(io::Error::other)?;
        let process = ProcessDriver::new(ProcessConfig {
            templates: folder.join("templates"),
            resources: folder.join("process"),
            shim: config.shim.clone(),
            cgroups: config.cgroups.clone(),
        });
        Ok(Self { folder, process, kind: ResourceKind::Process { template } })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn admin(&self) -> PathBuf {
        self.path("admin.sock")
    }

    /// The folder, and the template that the shim reads.
    pub(super) fn prepare(&self, engine: &Engine) -> io::Result<()> {
        let longest = self.path("master.sock");
        if longest.as_os_str().len() > SOCKET_BYTES_MAX {
            let path = longest.display();
            return Err(io::Error::other(format!(
                "{path} is longer than a socket's path may be: give the LoadBalancer a shorter name"
            )));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.path("templates"))?;
        let argv: Vec<String> = engine.argv(self)?;
        let signal = engine.stop_signal();
        // Strings of TOML as JSON writes them: both escape in the same way what paths can have.
        let argv = serde_json::to_string(&argv)?;
        let text =
            format!("argv = {argv}\nstop_signal = \"{signal}\"\nstop_timeout_ms = {STOP_MS}\n");
        self.write(&format!("templates/{TEMPLATE}.toml"), text.as_bytes())
    }

    /// Aside and renamed: a reader sees all or nothing.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        use io::Write as _;
        let aside = self.path(&format!("{name}.new"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(bytes)?;
        fs::rename(aside, self.path(name))
    }

    /// The parameters that were put in force last.
    pub(super) fn proxy(&self) -> Option<Proxy> {
        let path = self.path("proxy.json");
        if fs::metadata(&path).ok()?.len() > PROXY_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// `BACKEND/NODE` of every server on one of the machines.
pub(super) fn servers_on<'a>(
    proxy: &'a Proxy,
    of: impl Fn(&NodeName) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    proxy.backends.iter().flat_map(move |backend| {
        let hit: Vec<String> = backend
            .servers
            .iter()
            .filter(|server| of(&server.node))
            .map(|server| format!("{}/{}", backend.name, server.node))
            .collect();
        hit
    })
}

/// A path as the word of a configuration: it has no spaces, quotes or anything else that would need them.
pub(super) fn plain(path: &Path) -> io::Result<&str> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"/._-:@+".contains(&b);
    path.to_str().filter(|text| text.bytes().all(ok)).ok_or_else(|| {
        io::Error::other(format!(
            "{}: write run_dir with letters, digits, / . _ - only",
            path.display()
        ))
    })
}
