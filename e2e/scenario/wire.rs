//! What a stranger can do on the ring's network.

use super::holder::nobody_shot;
use super::report::Checks;
use super::stack::Stack;
use crate::clock::monotonic_ns;
use crate::network::{Network, ethernet, machine_host, port};
use crate::observer::packets;
use anyhow::{Context, Result};
use std::time::Duration;

/// As many copies of each frame.
const TIMES: usize = 3;
const FRAMES_MAX: usize = 400;

/// Datagrams that were heard are sent once more, word for word, under the name of their sender: they
/// are dropped, and nothing changes (S28).
pub(super) fn replayed(stack: &Stack, checks: &mut Checks) -> Result<()> {
    let holder = stack.holder()?;
    let target = stack.others(&holder).into_iter().next().context("another machine")?;
    let switches = stack.lab().namespaces().switches();
    let port = port(target.name(), Network::Mgmt);
    let to = ethernet(Network::Mgmt, machine_host(target.index()));
    let heard = packets::capture(&switches, &port, Duration::from_secs(2), FRAMES_MAX, &to)?;
    checks.check("the ring is heard", heard.len() > 20, format!("{} datagrams", heard.len()));
    let begun = monotonic_ns();
    let before = stack.status(&target)?;
    let sent = packets::inject(&switches, &port, &heard, TIMES)?;
    std::thread::sleep(Duration::from_secs(2));
    let after = stack.status(&target)?;
    let dropped = |status: &serde_json::Value| status["ring"]["dropped"].as_u64().unwrap_or(0);
    let count = dropped(&after).saturating_sub(dropped(&before));
    // A few may be lost on the way; none may be taken.
    let all = count as usize >= sent * 9 / 10 && count as usize <= sent;
    checks.check("all copies are dropped (S28)", all, format!("{count} of {sent}"));
    for what in ["id", "configurations"] {
        let (was, is) = (&before["ring"][what], &after["ring"][what]);
        checks.check(&format!("ring {what} is unchanged (S28)"), was == is, format!("{was}, {is}"));
    }
    nobody_shot(stack, checks, begun)
}
