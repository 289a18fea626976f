//! `cargo lab quickstart`: from nothing to a power cut that somebody else survives, said as it goes.

use crate::clock::monotonic_ns;
use crate::power;
use crate::scenario::stack::{NAMESPACE, Options, SOCKET, Stack};
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// Longest wait for the machine that was shot to be back.
const BACK: Duration = Duration::from_secs(90);

/// Leaves the lab up: the person may want to look around.
pub fn run(options: &Options) -> Result<()> {
    let stack = Stack::up(options)?;
    let show = || -> Result<()> {
        let serving = stack.holder()?;
        kubectl(&stack, &["get", "hacluster,hanode,virtualip,resourceplacement"])?;
        println!("$ palisade status      (on {})", serving.name());
        println!("{}", stack.palisade(&serving, &["status", "--agent", SOCKET])?.trim_end());
        Ok(())
    };
    show()?;
    let holder = stack.holder()?;
    say(&format!("pulling the plug of {}, which serves {}", holder.name(), vip_url()));
    let begun = monotonic_ns();
    power::off(&holder, "person")?;
    let who = stack.wait_served_by_other(begun, &holder, BACK)?;
    let Some(who) = who else {
        bail!("nobody serves {BACK:?} after the cut: the logs are in the lab")
    };
    let verdict = stack.observation().verdict_since(begun.saturating_sub(1_000_000_000))?;
    let gap = verdict.longest_gap_ms.context("no gap was measured")?;
    say(&format!("{who} serves; a client that asked every 10 ms had no answer for {gap:.0} ms"));
    std::thread::sleep(Duration::from_secs(2)); // what goes to the API goes after the work
    show()?;
    kubectl(&stack, &["get", "fencingoperation"])?;
    say(&format!(
        "plugging {} in again; waiting until it has booted and is a member",
        holder.name()
    ));
    power::on(&holder, "person")?;
    stack.wait_whole(BACK)?;
    show()?;
    let overlap = stack.observation().verdict()?.overlap_ms();
    say(&format!("two machines held the address or ran the process at once for {overlap:.0} ms"));
    if overlap > 0.0 {
        bail!("that must be 0: the observer's events are in {}", stack.lab().dir().display());
    }
    println!(
        "\nThe lab stays up. Look around:\n  export KUBECONFIG={}\n  kubectl -n {NAMESPACE} get palisade\n  \
         cargo lab power n1 off      cargo lab cut n2      cargo lab freeze n3\n  cargo lab down",
        stack.api().kubeconfig("host").display()
    );
    Ok(())
}

fn vip_url() -> String {
    format!("http://{}", crate::observation::vip())
}

fn say(text: &str) {
    println!("\n# {text}");
}

fn kubectl(stack: &Stack, args: &[&str]) -> Result<()> {
    println!("$ kubectl {}", args.join(" "));
    let all = [&["-n", NAMESPACE], args].concat();
    println!("{}", stack.api().kubectl(&all)?.trim_end());
    Ok(())
}
