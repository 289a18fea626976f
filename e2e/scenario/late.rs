//! What comes late: a part that stood still while the cluster went on without it.

use super::agent::part;
use super::holder::{BACK, back_and_quiet, nobody_shot};
use super::report::Checks;
use super::stack::Stack;
use crate::clock::{monotonic_ns, wait_until};
use crate::network::Network;
use crate::observation::vip;
use crate::power;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::time::Duration;

/// Until an order has reached the part that stands still, however loaded the host is.
const ARRIVES: Duration = Duration::from_millis(800);
/// The first fencer's time to answer, and then the second's work.
const SECOND_FENCER: Duration = Duration::from_secs(90);

/// An order of an era that is over must not be carried out in the next one (S9). The executor is
/// stopped while its order comes, and goes on when another era is open and the order was given to
/// another machine.
pub(super) fn old_order(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let others = stack.others(&holder);
    let [late, other] = others.as_slice() else { bail!("this scenario wants three machines") };
    // What is asked in the moment of a change is refused with "try again".
    let ask = |verb: &str, name: &str| {
        let mut said = Ok(String::new());
        wait_until(Duration::from_secs(5), || {
            said = stack.palisade(&holder, &["node", verb, name]);
            said.is_ok()
        });
        said
    };
    let era = || stack.status(&holder).map(|s| s["era"]["sequence"].as_u64());
    ask("standby", other.name())?;
    let executor = part(late, "executor")?;
    let first = era()?;
    let begun = monotonic_ns();
    executor.signal(Signal::STOP)?;
    ask("standby", holder.name())?; // only the one that stands still is left to start anything
    std::thread::sleep(ARRIVES);
    part(other, "ring")?.signal(Signal::KILL)?; // back at once, and with it the next era
    let next = wait_until(Duration::from_secs(3), || {
        let status = stack.status(&holder).unwrap_or_default();
        status["era"]["open"] == true && status["era"]["sequence"].as_u64() > first
    });
    checks.check("the next era opens", next, format!("{first:?}, then {:?}", era()?));
    ask("online", other.name())?;
    ask("standby", late.name())?;
    let woken = monotonic_ns();
    executor.signal(Signal::CONT)?;
    let who = stack.wait_served(woken, BACK)?;
    std::thread::sleep(Duration::from_secs(5));
    let verdict = stack.observation().verdict_since(begun)?;
    for thing in [vip().to_string(), "web".to_owned()] {
        let there = verdict.holders.get(&thing).into_iter().flatten();
        let begins: Vec<f64> = there
            .filter(|i| i.machine == late.name() && i.start_ns >= begun)
            .map(|i| crate::observer::verdict::ms(i.start_ns - begun))
            .collect();
        let seen = format!("started there after {begins:.0?} ms");
        checks.check(
            &format!("the old order to start {thing} is void (S9)"),
            begins.is_empty(),
            seen,
        );
    }
    let right = who.as_deref() == Some(other.name());
    checks.check("the machine of the new order serves", right, format!("{who:?}"));
    for machine in stack.lab().machines() {
        ask("online", machine.name())?;
    }
    let whole = stack.wait_whole(BACK);
    checks.done("all machines are members", &whole);
    nobody_shot(stack, checks, begun)
}

/// A power command whose deadline has passed must not be sent (S7): the first fencer is stopped, the
/// second shoots, the machine is on again when the first one goes on.
pub(super) fn fencer_stalled(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let status = stack.status(&holder)?;
    let lead = status["coordinator"].as_str().context("the status names no coordinator")?;
    let lead = stack.lab().machine(lead)?;
    let victim = stack.others(&lead).into_iter().next().context("another machine")?;
    // The coordinator asks its own fencer first.
    let fencer = part(&lead, "fencer")?;
    fencer.signal(Signal::STOP)?;
    let begun = monotonic_ns();
    victim.cut(&Network::ALL)?;
    let shot = || {
        let shots = stack.observation().verdict_since(begun).map(|v| v.shots).unwrap_or_default();
        shots.into_iter().find(|s| s.machine == victim.name() && s.dead_ns.is_some())
    };
    let dead = wait_until(SECOND_FENCER, || shot().is_some());
    checks.check("another member shoots it", dead, format!("{:?}", shot()));
    std::thread::sleep(Duration::from_secs(2));
    power::on(&victim, "person")?;
    std::thread::sleep(Duration::from_secs(1));
    let woken = monotonic_ns();
    fencer.signal(Signal::CONT)?;
    std::thread::sleep(Duration::from_secs(8));
    let late = stack.observation().verdict_since(woken)?.shots;
    checks.check(
        "the fencer that was late sends nothing (S7)",
        late.is_empty(),
        format!("{late:?}"),
    );
    victim.heal(&Network::ALL)?;
    back_and_quiet(stack, checks, begun)
}
