//! What a machine has kept, and what it has lost.

use super::agent::parent;
use super::holder::{BACK, nobody_shot};
use super::report::Checks;
use super::stack::Stack;
use crate::clock::{monotonic_ns, wait_until};
use crate::machine::Machine;
use crate::network::Network;
use crate::observation::vip;
use crate::power;
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

/// No resource has it.
const LEFTOVER: Ipv4Addr = Network::Public.address(77);
const STATE_DIR: &str = "var/lib/palisade";

/// Ring numbers go on above those that were used, though the disk that knew them is gone (S12).
pub(super) fn lost(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let victim = stack.others(&holder).into_iter().next().context("another machine")?;
    victim.cut(&[Network::Mgmt])?;
    let shot = wait_until(BACK, || !victim.is_on());
    checks.check("it is shot", shot, String::new());
    if !wait_until(BACK, || victim.is_on()) {
        power::on(&victim, "person")?;
    }
    let before = alone(stack, &victim);
    power::off(&victim, "scenario")?;
    let dir = victim.disk(STATE_DIR);
    fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    power::on(&victim, "scenario")?;
    let after = alone(stack, &victim);
    let above = matches!((before, after), (Some(before), Some(after)) if after > before);
    let seen = format!("{before:?}, then {after:?}");
    checks.check("its ring numbers go on above the old ones (S12)", above, seen);
    victim.heal(&[Network::Mgmt])?;
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members again", &whole);
    Ok(())
}

/// The number of the ring that the machine forms alone.
fn alone(stack: &Stack, machine: &Machine) -> Option<u64> {
    let mut number = None;
    wait_until(BACK, || {
        let status = stack.status(machine).unwrap_or_default();
        let members = status["ring"]["members"].as_array().map_or(0, Vec::len);
        if members == 1 && status["ring"]["state"] == "operational" {
            number = status["era"]["sequence"].as_u64();
        }
        number.is_some()
    });
    number
}

/// An address that an earlier life of the agent left is gone before the machine joins (S31).
pub(super) fn leftover(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let machine = stack.others(&holder).into_iter().next().context("another machine")?;
    let former = parent(&machine)?;
    let begun = monotonic_ns();
    // As it stands where an agent has died between its record and the next start.
    let record = holder.exec(&["cat", &format!("/run/palisade/addresses/{}.json", vip())])?;
    let record = record.replace(&vip().to_string(), &LEFTOVER.to_string());
    let mut record: serde_json::Value = serde_json::from_str(&record)?;
    record["resource"] = "leftover".into();
    let folder = machine.root()?.join("run/palisade/addresses");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{LEFTOVER}.json")), record.to_string())?;
    let prefix = format!("{LEFTOVER}/24");
    machine.exec(&["ip", "address", "add", &prefix, "dev", "public"])?;
    former.signal(Signal::KILL)?;
    let held = || {
        let shown = machine.exec(&["ip", "-o", "address", "show", "dev", "public"]);
        shown.map_or(true, |t| t.contains(&LEFTOVER.to_string()))
    };
    checks.check("the leftover is there", held(), String::new());
    let gone = wait_until(Duration::from_secs(15), || !former.is_alive());
    checks.check("the former agent has ended", gone, String::new());
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members again", &whole);
    checks.check("the leftover is gone when it is a member (S31)", !held(), String::new());
    nobody_shot(stack, checks, begun)
}
