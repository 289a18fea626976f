//! What comes late: a part that stood still while the cluster went on without it.

use super::agent::part;
use super::holder::{BACK, back_and_quiet, nobody_shot};
use super::report::Checks;
use super::stack::Stack;
use crate::bmc::{self, BmcFaults};
use crate::clock::{monotonic_ns, wait_until};
use crate::network::Network;
use crate::observation::vip;
use crate::observer::events::What;
use crate::observer::verdict::ms;
use crate::power;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::time::Duration;

/// Until an order has reached the part that stands still, however loaded the host is.
const ARRIVES: Duration = Duration::from_millis(800);
/// The first fencer's time to answer, and then the second's work.
const SECOND_FENCER: Duration = Duration::from_secs(90);
/// How long the BMC takes for each command: the first fencer goes on while the second waits for it.
const SLOW_BMC_MS: u64 = 1500;

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
            .map(|i| ms(i.start_ns - begun))
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
/// second is asked, and while it works the first one goes on. Nothing but the deadline holds it back
/// in that moment: the era is the same and there is no evidence yet.
pub(super) fn fencer_stalled(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let status = stack.status(&holder)?;
    let lead = status["coordinator"].as_str().context("the status names no coordinator")?;
    let lead = stack.lab().machine(lead)?;
    let victim = stack.others(&lead).into_iter().next().context("another machine")?;
    let slow = BmcFaults { delay_ms: SLOW_BMC_MS, ..BmcFaults::default() };
    bmc::set_faults(&victim, &slow)?;
    // The coordinator asks its own fencer first.
    let fencer = part(&lead, "fencer")?;
    fencer.signal(Signal::STOP)?;
    let begun = monotonic_ns();
    victim.cut(&Network::ALL)?;
    let shot = || {
        let shots = stack.observation().verdict_since(begun).map(|v| v.shots).unwrap_or_default();
        shots.into_iter().find(|s| s.machine == victim.name() && s.dead_ns.is_some())
    };
    let to_bmc = |from_ns: u64| {
        let events = stack.observation().events().unwrap_or_default();
        let packets = events.into_iter().filter(move |e| e.at_ns >= from_ns);
        packets.filter_map(|e| match e.what {
            What::BmcPacket { from, to } if to == victim.bmc_address() => Some((e.at_ns, from)),
            _ => None,
        })
    };
    let second = wait_until(SECOND_FENCER, || to_bmc(begun).next().is_some());
    checks.check("another member tries", second, String::new());
    let woken = monotonic_ns();
    fencer.signal(Signal::CONT)?;
    let dead = wait_until(SECOND_FENCER, || shot().is_some());
    checks.check("another member shoots it", dead, format!("{:?}", shot()));
    // What was repeated meanwhile waits in the BMC: that is over before the machine is on again.
    bmc::set_faults(&victim, &BmcFaults::default())?;
    std::thread::sleep(Duration::from_secs(5));
    let own = lead.address(Network::Bmc);
    // Once it is off, the coordinator has it turned on again: by its own fencer.
    let dead_ns = shot().and_then(|s| s.dead_ns).unwrap_or(u64::MAX);
    let late = to_bmc(woken).filter(|(at, from)| *from == own && *at < dead_ns);
    let late: Vec<f64> = late.map(|(at, _)| ms(at - woken)).collect();
    checks.check(
        "the fencer that was late sends nothing to the BMC (S7)",
        late.is_empty(),
        format!("{} packets after {:.0?} ms", late.len(), late.first()),
    );
    victim.heal(&Network::ALL)?;
    power::on(&victim, "person")?;
    back_and_quiet(stack, checks, begun)
}
