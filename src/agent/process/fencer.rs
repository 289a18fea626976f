//! The fencer's process.

use std::{io, sync::Arc};

use drivers::watchdog::{Device, Socket, Watchdog};
use tokio::sync::{Notify, mpsc};

use super::{Exit, PART_LOCK_PATIENCE, accept, asked_to_end, runtime};
use crate::{
    config::{Options, WatchdogConfig},
    fencer::{RealDevices, Setup, Watched, run},
    ipc::Admitted,
    messages::{Ping, Pong},
    privileges,
    ring::Dial,
    run_dir::Entry,
    secrets::SecretsByChild,
    state::{DirLock, make_private},
};

pub(super) fn main(options: Options) -> io::Result<Exit> {
    let dir = options.state_dir.join("fencer");
    make_private(&dir).map_err(io::Error::other)?;
    let _lock = DirLock::take(&dir, "lock", PART_LOCK_PATIENCE).map_err(io::Error::other)?;
    for refusal in [privileges::oom_protection(), privileges::lock_memory()] {
        if let Err(refusal) = refusal {
            tracing::info!(what = refusal.what, error = refusal.error, "a privilege was refused");
        }
    }
    runtime()?.block_on(async move {
        let run_dir = options.run_dir();
        let for_ring = Admitted::ring(options.ring_user()).or_root();
        let socket =
            run_dir.make_entry(Entry::Fencer, for_ring.group()).map_err(io::Error::other)?;
        let (ring, rings) = mpsc::channel(1);
        let (executor, executors) = mpsc::channel(1);
        // Kept for ever: the connection to the executor is looked after by the watch itself.
        let lost = Arc::new(Notify::new());
        tokio::spawn(
            Dial::<Ping, Pong>::Socket(run_dir.socket(Entry::Watch))
                .keep(executor, Arc::clone(&lost)),
        );
        let setup = Setup {
            dir,
            devices: Arc::new(RealDevices::default()),
            fetch: Arc::new(SecretsByChild::of_this_part()),
            dog: options.config.watchdog.as_ref().map(watched),
            rings,
            executors,
            executor_lost: lost,
            health: super::health_of_part(options.health_listen),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let part = tokio::spawn(run(setup, stopped));
        tokio::select! {
            ended = accept(socket, for_ring, ring) => ended?,
            ended = asked_to_end() => ended?,
        }
        // The watchdog is disarmed before this process ends on purpose.
        let _ = stop.send(());
        let _ = part.await;
        Ok(Exit::Done)
    })
}

fn watched(config: &WatchdogConfig) -> Watched {
    let dog: Box<dyn Watchdog> = match (&config.device, &config.socket) {
        (_, Some(socket)) => Box::new(Socket::new(socket)),
        (device, None) => {
            Box::new(Device::new(device.clone().unwrap_or_else(|| "/dev/watchdog".into())))
        }
    };
    Watched { dog, timeout: config.timeout() }
}
