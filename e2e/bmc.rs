//! The BMCs: an `ipmi_sim` per machine, whose power button is the lab's.

use crate::clock::wait_until;
use crate::command::run_with_input;
use crate::lab::Lab;
use crate::machine::Machine;
use crate::power::{self, PowerEvent};
use crate::records::{read_json, remove, write_json};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// The user of all BMCs of a lab.
pub const USER: &str = "palisade";

/// How a BMC misbehaves. The default is: not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmcFaults {
    /// Each command takes this long; the BMC answers after it.
    #[serde(default)]
    pub delay_ms: u64,
    /// `set power 0` and `set reset` are answered at once and happen this much later; `get power`
    /// tells the truth meanwhile.
    #[serde(default)]
    pub late_ms: u64,
    /// `set power` takes this long and then fails: whoever asked has heard nothing for all that time.
    #[serde(default)]
    pub hang_ms: u64,
    /// `set power` fails.
    #[serde(default)]
    pub refuse: bool,
    /// `set power` says yes and does nothing; status says what was asked for.
    #[serde(default)]
    pub lie: bool,
}

fn faults_file(machine: &Machine) -> std::path::PathBuf {
    machine.dir().join("bmc-faults.json")
}

fn lie_file(machine: &Machine) -> std::path::PathBuf {
    machine.dir().join("bmc-lie.json")
}

/// Sets how a machine's BMC misbehaves from now on.
pub fn set_faults(machine: &Machine, faults: &BmcFaults) -> Result<()> {
    remove(&lie_file(machine))?;
    write_json(&faults_file(machine), faults)
}

/// The BMC's own password: random, one per BMC, at most 16 characters (IPMI 1.5's limit).
pub fn password(machine: &Machine) -> Result<String> {
    let path = machine.dir().join("bmc").join("password");
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(text.trim().to_owned());
    }
    let fresh: String = uuid::Uuid::new_v4().simple().to_string().chars().take(16).collect();
    fs::write(&path, format!("{fresh}\n")).context("writing the BMC's password")?;
    Ok(fresh)
}

fn service_name(machine: &Machine) -> String {
    format!("bmc-{}", machine.name())
}

/// Starts a machine's BMC, and waits until it listens.
pub fn start(lab: &Lab, machine: &Machine) -> Result<()> {
    let dir = machine.dir().join("bmc");
    fs::create_dir_all(dir.join("state"))?;
    // Its password lies here.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    set_faults(machine, &BmcFaults::default())?;
    let lan = format!(
        "name \"{name}\"\nset_working_mc 0x20\n  startlan 1\n    addr {address} 623\n    \
         priv_limit admin\n    allowed_auths_callback none md2 md5 straight\n    \
         allowed_auths_user none md2 md5 straight\n    allowed_auths_operator none md2 md5 straight\n    \
         allowed_auths_admin none md2 md5 straight\n    guid {guid}\n  endlan\n  \
         chassis_control \"{program} chassis {lab_dir} {name}\"\n  \
         user 1 false \"\" \"test\" user 10 none md2 md5 straight\n  \
         user 2 true \"{USER}\" \"{password}\" admin 10 none md2 md5 straight\n",
        name = machine.name(),
        address = machine.bmc_address(),
        guid = machine.system_uuid()?.simple(),
        program = lab.program("e2e").display(),
        lab_dir = lab.dir().display(),
        password = password(machine)?,
    );
    fs::write(dir.join("lan.conf"), lan)?;
    fs::write(
        dir.join("emu.conf"),
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
         sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n",
    )?;
    let file = |name: &str| dir.join(name).display().to_string();
    let name = service_name(machine);
    let service = lab.start_service(
        &name,
        Some(&lab.namespaces().bmc()),
        &["ipmi_sim", "-c", &file("lan.conf"), "-f", &file("emu.conf"), "-s", &file("state"), "-n"],
    )?;
    // UDP 623 is 0x026F, in the socket table of the process's namespace.
    let table = format!("/proc/{}/net/udp", service.process.pid);
    let address = format!("{:08X}:026F", u32::from_le_bytes(machine.bmc_address().octets()));
    let up = wait_until(Duration::from_secs(5), || {
        fs::read_to_string(&table).is_ok_and(|t| t.contains(&address))
    });
    if !up {
        bail!("{name} does not listen: see {}", lab.service_log(&name).display());
    }
    Ok(())
}

/// Makes a machine's BMC vanish from the network: nothing answers, nothing is refused.
pub fn set_reachable(machine: &Machine, reachable: bool) -> Result<()> {
    let namespace = machine.lab().namespaces().bmc();
    let (table, address) = (format!("bmc_{}", machine.name()), machine.bmc_address());
    let mut rules = format!("table inet {table} {{}}\ndelete table inet {table}\n");
    if !reachable {
        rules += &format!(
            "table inet {table} {{\n chain input {{\n  type filter hook input priority 0;\n  \
             ip daddr {address} drop\n }}\n chain output {{\n  type filter hook output priority \
             0;\n  ip saddr {address} drop\n }}\n}}\n"
        );
    }
    let net = format!("--net={}", crate::network::namespace_file(&namespace).display());
    run_with_input("nsenter", &[&net, "nft", "-f", "-"], &rules).map(drop)
}

/// Presses the button after a while, from a process that outlives this one.
fn later(machine: &Machine, late_ms: u64, action: &str) -> Result<()> {
    let program = machine.lab().program("e2e").display().to_string();
    let (dir, late) = (machine.lab().dir().display().to_string(), late_ms.to_string());
    let status = std::process::Command::new("setsid")
        .args(["--fork", &program, "press-later", &dir, machine.name(), action, &late])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .context("cannot run `setsid`")?;
    if !status.success() {
        bail!("starting a late power command: {status}");
    }
    Ok(())
}

/// The other half of a late power command.
pub fn press_later(machine: &Machine, action: &str, late_ms: u64) -> Result<()> {
    std::thread::sleep(Duration::from_millis(late_ms));
    match action {
        "off" => power::off(machine, "bmc").map(drop),
        "reset" => power::reset(machine, "bmc").map(drop),
        other => bail!("no late power command {other}"),
    }
}

/// The hook that `ipmi_sim` calls: `get power`, `set power 0|1`, `set reset 1`, and some that ask
/// for nothing. Synchronous: off is true when the BMC's answer leaves. Gives what to print.
pub fn chassis(machine: &Machine, words: &[String]) -> Result<String> {
    let faults: BmcFaults = read_json(&faults_file(machine))?.unwrap_or_default();
    std::thread::sleep(Duration::from_millis(faults.delay_ms));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["set", "power" | "reset" | "shutdown", ..] = words.as_slice() {
        if faults.hang_ms > 0 {
            std::thread::sleep(Duration::from_millis(faults.hang_ms));
            power::log(machine, PowerEvent::Failed, "bmc")?;
            bail!("this BMC was told to hang");
        }
        if faults.refuse {
            power::log(machine, PowerEvent::Failed, "bmc")?;
            bail!("this BMC was told to refuse");
        }
        if faults.lie {
            write_json(&lie_file(machine), &(words.last() != Some(&"0")))?;
            power::log(machine, PowerEvent::Lied, "bmc")?;
            return Ok(String::new());
        }
    }
    if let ["set", "power", "0"] | ["set", "reset", ..] = words.as_slice()
        && faults.late_ms > 0
    {
        let action = if words[1] == "reset" { "reset" } else { "off" };
        return later(machine, faults.late_ms, action).map(|()| String::new());
    }
    match words.as_slice() {
        ["get", "power"] => {
            let lie: Option<bool> = read_json(&lie_file(machine))?;
            let on = lie.unwrap_or_else(|| machine.is_on());
            return Ok(format!("power:{}", u8::from(on)));
        }
        ["get", "boot"] => return Ok("boot:default".into()),
        ["set", "power", "0"] | ["set", "shutdown", ..] => drop(power::off(machine, "bmc")?),
        ["set", "power", "1"] => drop(power::on(machine, "bmc")?),
        ["set", "reset", ..] => drop(power::reset(machine, "bmc")?),
        ["set", "boot", ..] | ["check", ..] => {}
        other => bail!("the BMC asked for something unknown: {}", other.join(" ")),
    }
    Ok(String::new())
}
