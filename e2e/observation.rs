//! Running the observer beside a scenario, and asking for its verdict.

use crate::clock::{monotonic_ns, wait_until};
use crate::lab::Lab;
use crate::network::{Network, VIP_HOST};
use crate::observer::{events, verdict};
use crate::power;
use anyhow::{Result, bail};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SERVICE: &str = "observer";

/// The address that the scenarios watch.
#[must_use]
pub const fn vip() -> Ipv4Addr {
    Network::Public.address(VIP_HOST)
}

/// An observer that runs.
#[derive(Debug)]
pub struct Observation {
    lab: Lab,
    out: PathBuf,
    begun_ns: u64,
}

impl Observation {
    /// Starts `program` (this crate's `observer`) on a lab; all probes run when this returns.
    /// It watches the address, HTTP through it, and the process `serve-node-id` as `web`.
    pub fn start(lab: &Lab, program: &Path, out: &Path) -> Result<Self> {
        lab.end_service(SERVICE)?;
        lab.adopt_program(program, "observer")?;
        let own = lab.program("observer").display().to_string();
        let (dir, file) = (lab.dir().display().to_string(), out.display().to_string());
        let (address, http) = (vip().to_string(), format!("{}:80", vip()));
        let argv = [
            own.as_str(),
            "--lab",
            &dir,
            "--out",
            &file,
            "--address",
            &address,
            "--http",
            &http,
            "--process",
            "web=serve-node-id",
        ];
        let begun_ns = monotonic_ns();
        lab.start_service(SERVICE, None, &argv)?;
        let this = Self { lab: lab.clone(), out: out.to_owned(), begun_ns };
        let on = lab.machines().iter().filter(|m| m.is_on()).count();
        let watching = wait_until(Duration::from_secs(10), || {
            let events = events::read(&this.out).unwrap_or_default();
            let seen = events.iter().filter(|e| matches!(e.what, events::What::MachineSeen { .. }));
            let ready = events.iter().any(|e| e.what == events::What::Watching);
            ready && seen.count() >= on
        });
        if !watching {
            bail!("the observer does not watch: see {}", lab.service_log(SERVICE).display());
        }
        Ok(this)
    }

    /// All that it has seen so far.
    pub fn events(&self) -> Result<Vec<events::Event>> {
        events::read(&self.out)
    }

    /// What it has seen in the last few seconds; cheap enough to be asked again and again.
    pub fn recent_events(&self) -> Result<Vec<events::Event>> {
        events::read_tail(&self.out, 64 * 1024)
    }

    /// What its events and the power log say about the time since then.
    pub fn verdict_since(&self, from_ns: u64) -> Result<verdict::Verdict> {
        let bmcs =
            self.lab.machines().iter().map(|m| (m.name().to_owned(), m.bmc_address())).collect();
        let mut verdict = verdict::judge(
            &self.events()?,
            &power::read_log(self.lab.dir())?,
            &[IpAddr::from(vip())],
            &bmcs,
            from_ns,
        );
        if !self.lab.service(SERVICE)?.is_some_and(|s| s.process.is_alive()) {
            verdict.blind.push("the observer itself has ended".into());
        }
        Ok(verdict)
    }

    /// About all of its time.
    pub fn verdict(&self) -> Result<verdict::Verdict> {
        self.verdict_since(self.begun_ns)
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        self.lab.end_service(SERVICE)
    }
}
