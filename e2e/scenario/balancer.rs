//! What clients of a load balancer see: a change, a dead server, a dead holder.
//!
//! The real HAProxy, with checks of its own that are too slow to help: what is seen here is what Palisade tells it.

use super::holder::{BACK, L1, nobody_shot};
use super::report::Checks;
use super::stack::Stack;
use crate::clock::{monotonic_ns, wait_until};
use crate::machine::Machine;
use crate::observation::vip;
use crate::observer::http::{self, Try};
use crate::observer::verdict::ms;
use crate::power;
use crate::product::TREE;
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::thread::JoinHandle;
use std::time::Duration;

/// Where e2e/manifests/balanced.yaml serves, and a frontend that is added to it.
const PORT: u16 = 8080;
const ADDED: u16 = 8082;
/// From the proof that a machine is off until nothing is sent there any more (docs/haproxy.md: 7 ms), with room for a busy host.
const TOLD: Duration = Duration::from_millis(500);
/// Copies on all machines, and the address beside one.
const SETTLED: Duration = Duration::from_secs(60);

pub(super) fn balanced(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let begun = monotonic_ns();
    stack.api().kubectl(&["apply", "-f", &format!("{TREE}/e2e/manifests/balanced.yaml")])?;
    everybody_answers(stack, checks, "each machine answers through the address", PORT)?;
    stack.wait_whole(SETTLED)?;
    changed(stack, checks)?;
    nobody_shot(stack, checks, begun)?;
    let holder = stack.holder()?;
    let server =
        stack.others(&holder).into_iter().next().context("a machine without the address")?;
    server_dies(stack, checks, &server)?;
    power::on(&server, "person")?;
    stack.wait_whole(BACK)?;
    everybody_answers(stack, checks, "who is back is asked again", PORT)?;
    holder_dies(stack, checks)
}

/// HAProxy takes a changed object over while clients ask.
fn changed(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let asking = ask(stack, PORT, Duration::from_secs(6));
    let added = format!(
        r#"[{{"op": "add", "path": "/spec/frontends/-", "value": {{"name": "added", "virtualIP": "public", "port": {ADDED}, "mode": "Http", "backend": "each"}}}}]"#
    );
    stack.api().kubectl(&[
        "-n",
        "palisade",
        "patch",
        "lb",
        "front",
        "--type=json",
        "-p",
        &added,
    ])?;
    everybody_answers(stack, checks, "a frontend that was added serves", ADDED)?;
    let tries = done(asking)?;
    let lost = failed(&tries, 0);
    let seen = format!("{lost} of {} failed", tries.len());
    checks.check("a change costs no request", lost == 0 && tries.len() > 300, seen);
    Ok(())
}

/// Once a machine is proven dead nothing is sent to its server, and before that it was a server like the others: who is
/// sent there waits for the time in which a connection has to come about, and then goes to another one.
fn server_dies(stack: &Stack, checks: &mut Checks, server: &Machine) -> Result<()> {
    let asking = ask(stack, PORT, Duration::from_secs(8));
    std::thread::sleep(Duration::from_secs(1));
    let begun = monotonic_ns();
    power::off(server, "scenario")?;
    let proven = proven(stack, server, begun)?;
    let tries = done(asking)?;
    let told = proven + u64::try_from(TOLD.as_nanos())?;
    let late: Vec<&Try> = tries.iter().filter(|t| t.start_ns >= told).collect();
    let before = tries.iter().filter(|t| t.start_ns >= begun && t.start_ns < told);
    let (waited, waited_late) =
        (before.filter(|t| waited(t)).count(), late.iter().filter(|t| waited(t)).count());
    let lost = failed(&tries, begun);
    checks.figure("proven_off_ms", ms(proven - begun));
    checks.figure("waited_before_it_was_known", waited as f64);
    // a hundredth: two cores are late for other reasons
    let seen = format!(
        "{waited_late} of {} waited later than {} ms after the proof",
        late.len(),
        TOLD.as_millis()
    );
    checks.check(
        "a dead server gets nothing once it is known",
        waited_late * 100 <= late.len() && late.len() > 300,
        seen,
    );
    checks.check("it was asked until then", waited > 0, format!("{waited} waited before"));
    // those to whom it was just answering
    checks.check("its requests go to others", lost <= 2, format!("{lost} failed"));
    Ok(())
}

/// Long for a server that answers at once, and shorter than the time in which a connection has to come about (500 ms).
fn waited(one: &Try) -> bool {
    one.node.is_none() || one.took_ms >= 450.0
}

/// The address moves to a balancer that is warm.
fn holder_dies(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let asking = ask(stack, PORT, Duration::from_secs(10));
    std::thread::sleep(Duration::from_secs(1));
    let begun = monotonic_ns();
    power::off(&holder, "scenario")?;
    let tries = done(asking)?;
    let good: Vec<u64> = tries.iter().filter(|t| t.node.is_some()).map(|t| t.start_ns).collect();
    let gap = good.windows(2).map(|w| ms(w[1] - w[0])).fold(0.0, f64::max);
    let again = good
        .last()
        .is_some_and(|last| *last > begun + u64::try_from(L1.as_nanos()).unwrap_or(u64::MAX));
    checks.figure("gap_ms", gap);
    let seen = format!("{gap:.0} ms, answered at the end: {again}");
    checks.check("another balancer serves within L1", again && gap <= L1.as_millis() as f64, seen);
    power::on(&holder, "person")?;
    stack.wait_whole(BACK)
}

/// When the others' status says that the machine is verified off.
fn proven(stack: &Stack, lost: &Machine, begun_ns: u64) -> Result<u64> {
    let witness = stack.others(lost).into_iter().next().context("a machine that is left")?;
    let mut at = None;
    wait_until(L1, || {
        let status = stack.status(&witness).unwrap_or_default();
        let incidents = status["incidents"].as_array().cloned().unwrap_or_default();
        let found = incidents.iter().rev().find(|i| i["node"] == lost.name());
        if found.is_some_and(|i| !i["phases_ms"]["verify"].is_null()) {
            at = Some(monotonic_ns());
        }
        at.is_some()
    });
    let after = ms(monotonic_ns() - begun_ns);
    at.with_context(|| format!("{} was not proven off after {after:.0} ms", lost.name()))
}

fn everybody_answers(stack: &Stack, checks: &mut Checks, what: &str, port: u16) -> Result<()> {
    let all = stack.lab().machines().len();
    let mut who = BTreeSet::new();
    let done_in_time = wait_until(SETTLED, || {
        let tries = done(ask(stack, port, Duration::from_millis(500))).unwrap_or_default();
        who = tries.into_iter().filter_map(|t| t.node).collect();
        who.len() == all
    });
    checks.check(what, done_in_time, format!("{who:?}"));
    Ok(())
}

fn ask(stack: &Stack, port: u16, span: Duration) -> JoinHandle<Result<Vec<Try>>> {
    http::tries(stack.lab().namespaces().client(), SocketAddrV4::new(vip(), port), span)
}

fn done(asking: JoinHandle<Result<Vec<Try>>>) -> Result<Vec<Try>> {
    asking.join().map_err(|_| anyhow!("the client's thread panicked"))?
}

fn failed(tries: &[Try], since_ns: u64) -> usize {
    tries.iter().filter(|t| t.start_ns >= since_ns && t.node.is_none()).count()
}
