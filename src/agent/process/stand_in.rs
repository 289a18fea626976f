//! How a machine that is played by another process asks whether others are there.

use std::net::IpAddr;

use cluster::Verdict;
use drivers::{
    power::BoxFuture,
    stand_in::{Heard, Kernel},
};

use crate::{config::StandInConfig, ring::Prober};

/// Asks whoever plays this machine's kernel. Loopback itself answers for everybody, dead or not.
#[derive(Clone, Debug)]
pub struct StandInProber(Kernel);

impl StandInProber {
    /// Asks when it is asked.
    pub fn new(config: &StandInConfig) -> Self {
        Self(Kernel::new(&config.kernel))
    }
}

impl Prober for StandInProber {
    fn probe(&self, addresses: Vec<IpAddr>, port: u16) -> BoxFuture<'static, Verdict> {
        let kernel = self.0.clone();
        Box::pin(async move {
            let mut verdict = Verdict::Silent;
            for address in addresses {
                match kernel.knock(address, port).await {
                    Ok(Heard::Closed) => return Verdict::PortClosed,
                    Ok(Heard::Open) => verdict = Verdict::PortOpen,
                    Ok(Heard::Silent) => {}
                    // What could not be asked is not taken for silence: the longer grace applies.
                    Err(error) => {
                        tracing::warn!(%error, "a silent machine cannot be probed");
                        return Verdict::PortClosed;
                    }
                }
            }
            verdict
        })
    }
}
