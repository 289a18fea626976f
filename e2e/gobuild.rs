//! Programs of others that are built from their Go modules: once for each state of the module, kept beside each other.

use crate::kubebox::cache_dir;
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Between two words about a build that goes on.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// Lines that are repeated when it fails.
const LAST_WORDS: usize = 40;

/// A module of this crate, and what is built from it.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    /// Its folder below this crate's.
    pub folder: &'static str,
    /// Its files: a change of one makes the programs anew.
    pub files: &'static [&'static str],
    /// Packages; the last part of each is the program's name.
    pub packages: &'static [&'static str],
    /// For people: what it is and how long it takes.
    pub what: &'static str,
    /// `-ldflags`.
    pub link: &'static str,
    /// `-tags`.
    pub tags: &'static str,
}

impl Module {
    fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder)
    }

    /// The folder with the programs, built now if they never were.
    pub fn programs(&self) -> Result<PathBuf> {
        let cache = cache_dir()?;
        let done =
            cache.join(format!("{}-{:016x}", self.folder, state(&self.source(), self.files)?));
        if done.is_dir() {
            return Ok(done);
        }
        fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
        let lock = File::create(cache.join(format!("{}.lock", self.folder)))?;
        lock.lock()?; // whoever comes second finds it built
        if done.is_dir() {
            return Ok(done);
        }
        eprintln!("lab: building {}", self.what);
        let next = done.with_extension("next");
        let _ = fs::remove_dir_all(&next); // of a build that was broken off
        fs::create_dir_all(&next)?;
        let mut command = go();
        command
            .args([
                "build",
                "-v",
                "-trimpath",
                "-mod=readonly",
                "-ldflags",
                self.link,
                "-tags",
                self.tags,
                "-o",
            ])
            .arg(&next)
            .args(self.packages)
            .current_dir(self.source());
        watched(command, self.folder)?;
        fs::rename(&next, &done)?;
        eprintln!("lab: built {}", done.display());
        Ok(done)
    }
}

/// A number for the state of these files: FNV-1a, the same on every build of this crate, which the standard library's
/// hasher is not.
pub(crate) fn state(folder: &Path, files: &[&str]) -> Result<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        let path = folder.join(file);
        for byte in fs::read(&path).with_context(|| format!("reading {}", path.display()))? {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    Ok(hash)
}

/// `go`, for static programs.
pub(crate) fn go() -> Command {
    // sudo may have taken Go's usual folder out of PATH.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/go/bin";
    let mut command = Command::new("go");
    command
        .env("PATH", path)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .stdin(Stdio::null());
    command
}

/// Runs a build of Go's and says every few seconds how far it is; on failure all of its last words.
pub(crate) fn watched(mut command: Command, what: &str) -> Result<()> {
    let mut child = command.stderr(Stdio::piped()).spawn().context(
        "cannot run `go`: install Go 1.26 (https://go.dev/dl), or set KUBECONFIG to a cluster of your own",
    )?;
    let stderr = child.stderr.take().context("the build's words")?;
    let begun = Instant::now();
    let mut said_at = begun;
    let mut packages = 0_usize;
    let mut last: VecDeque<String> = VecDeque::new();
    // A module or a package a line; seconds pass between two at most, until the linker's turn at the end.
    for line in BufReader::new(stderr).lines() {
        let line = line.context("the build's words")?;
        packages += usize::from(!line.starts_with("go: "));
        if said_at.elapsed() >= SAY_EVERY {
            said_at = Instant::now();
            eprintln!("lab:   {:>3} s, {packages} packages: {line}", begun.elapsed().as_secs());
        }
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(line);
    }
    if !child.wait().context("waiting for the build")?.success() {
        for line in last {
            eprintln!("{line}");
        }
        bail!(
            "building {what} failed: its last words stand above; without a way to the Go module proxy, set \
             GOPROXY, or (kubebox) KUBECONFIG to a cluster of your own"
        );
    }
    Ok(())
}
