//! What a person does to a running box, with the gap that clients saw.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{
    control::{self, Ask},
    gap::{self, Watcher},
    plan::Folder,
};

/// A stalled machine is given a second, a restarting one five (CLUSTER.md section 5), then it is fenced.
const PATIENCE: Duration = Duration::from_secs(40);
/// Good answers before anything is done: else there is nothing to compare with.
const WARM: Duration = Duration::from_millis(200);
const ENDED_MAX: Duration = Duration::from_secs(20);

/// Without more than the box's word.
pub(super) fn plain(folder: &Folder, ask: &Ask) -> Result<()> {
    println!("{}", runtime()?.block_on(control::ask(folder, ask))?);
    Ok(())
}

/// Something that takes a machine out: says how long its address was not served if it was the one that served.
pub(super) fn measured(folder: &Folder, node: &str, what: &Ask) -> Result<()> {
    runtime()?.block_on(async {
        let plan = folder.plan()?;
        plan.node(node)?;
        let address = plan.vip_socket();
        let holder = gap::ask(address).await;
        if holder.as_deref() != Some(node) {
            println!("{}", control::ask(folder, what).await?);
            match holder {
                Some(by) => println!("http://{address} is served by {by}: no client notices"),
                None => println!("nobody serves http://{address} now: `palisade status` says why"),
            }
            return Ok(());
        }
        let mut watcher = Watcher::start(address);
        let warm = Instant::now() + WARM;
        while watcher.next(warm).await.is_some() {}
        println!("{}", control::ask(folder, what).await?);
        let found = gap::until_another(&mut watcher, node, PATIENCE).await;
        let (gap, by) = found.with_context(|| {
            format!("nobody else serves http://{address} after {PATIENCE:?}: `palisade status` says why")
        })?;
        println!(
            "{by} serves http://{address} now; a client that asked every 10 ms had no answer for {} ms",
            gap.as_millis()
        );
        Ok(())
    })
}

/// Ends the box and waits until it is gone.
pub(super) fn stop(folder: &Folder) -> Result<()> {
    runtime()?.block_on(async {
        control::ask(folder, &Ask::Stop {}).await?;
        let until = Instant::now() + ENDED_MAX;
        while folder.control().exists() {
            if Instant::now() > until {
                bail!("the box in {} is still ending", folder.path().display());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("ended; its state stays in {}", folder.path().display());
        Ok(())
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot make a runtime")
}
