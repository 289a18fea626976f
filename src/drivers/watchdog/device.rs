//! `/dev/watchdog` by its ioctls. Opening arms it; closing without the magic letter leaves it armed.

use core::time::Duration;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{Armed, Watchdog, WatchdogError};
use crate::sys;

/// `WDIOF_MAGICCLOSE`: stops when "V" was written before it is closed.
const MAGIC_CLOSE: u32 = 0x0100;
/// `WDIOS_DISABLECARD`.
const DISABLE: i32 = 1;

/// The kernel's watchdog.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    /// `None` while it is disarmed.
    open: Option<File>,
    timeout: Duration,
}

impl Device {
    /// Opens nothing yet, as opening arms.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().into(), open: None, timeout: Duration::ZERO }
    }

    fn file(&mut self) -> io::Result<&File> {
        if self.open.is_none() {
            // Only one process can have it open: a second agent is refused here.
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
            self.open = Some(options.open(&self.path)?);
        }
        self.open.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Watchdog for Device {
    fn arm(&mut self, timeout: Duration) -> Result<(), WatchdogError> {
        let wanted = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX).max(1);
        let file = self.file()?;
        sys::set_watchdog_timeout(file.as_fd(), wanted)?;
        // Drivers round, and some do not say so in the answer.
        let got = sys::watchdog_timeout(file.as_fd())?;
        sys::feed_watchdog(file.as_fd())?;
        self.timeout = seconds(got);
        if got == wanted {
            Ok(())
        } else {
            Err(WatchdogError::OtherTimeout { wanted: seconds(wanted), got: seconds(got) })
        }
    }

    fn feed(&mut self) -> Result<(), WatchdogError> {
        match &self.open {
            Some(file) => Ok(sys::feed_watchdog(file.as_fd())?),
            // Feeding must not arm.
            None => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        }
    }

    fn armed(&mut self) -> Result<Armed, WatchdogError> {
        match &self.open {
            Some(file) => Ok(Armed::For(seconds(sys::watchdog_timeout(file.as_fd())?))),
            None => Ok(Armed::Not),
        }
    }

    fn disarm(&mut self) -> Result<(), WatchdogError> {
        let Some(mut file) = self.open.take() else { return Ok(()) };
        let magic =
            sys::watchdog_info(file.as_fd()).is_ok_and(|info| info.options & MAGIC_CLOSE != 0);
        let disabled = sys::set_watchdog_options(file.as_fd(), DISABLE);
        if magic {
            file.write_all(b"V")?;
        } else if disabled.is_err() {
            // Closing would leave it armed with nobody to feed it.
            self.open = Some(file);
            return Err(WatchdogError::NoWayOut);
        }
        if nowayout(&self.path) {
            self.open = Some(file);
            return Err(WatchdogError::NoWayOut);
        }
        Ok(())
    }
}

/// What sysfs says about a device that is built to go on; absent on old kernels, which then say it in the log only.
fn nowayout(path: &Path) -> bool {
    let name = match path.file_name().and_then(|name| name.to_str()) {
        Some("watchdog") | None => "watchdog0",
        Some(name) => name,
    };
    std::fs::read_to_string(format!("/sys/class/watchdog/{name}/nowayout"))
        .is_ok_and(|text| text.trim() == "1")
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
