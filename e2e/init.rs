//! Pid 1 of a machine: makes the machine out of its fresh namespaces, boots it, reaps its orphans.

use crate::clock::wait_until;
use crate::command::run_with_input;
use crate::lab::Lab;
use crate::machine::{BootEntry, DISK_FOLDERS, Machine};
use crate::network::Network;
use crate::records::{ProcessRecord, write_json};
use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::wait::{WaitStatus, waitpid};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Runs as pid 1 until the power goes. Does not return but by an error while the machine is made.
pub fn run(lab_dir: &Path, name: &str) -> Result<()> {
    if std::process::id() != 1 {
        bail!("machine-init is a machine's pid 1: `cargo lab power NAME on` starts it");
    }
    let lab = Lab::open(lab_dir)?;
    let machine = lab.machine(name)?;
    close_inherited()?;
    // Before /proc is our own, it tells who we are for the host.
    let host_pid = host_pid()?;
    let record = ProcessRecord::of(host_pid)?;
    machine.groups()?.join()?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).context("a cgroup namespace")?;
    mount_disk(&machine)?;
    mount_volatile(&machine)?;
    rustix::system::sethostname(name.as_bytes()).context("the host name")?;
    write_json(&machine.dir().join("born.json"), &record)?;
    let go = machine.dir().join("go");
    if !wait_until(Duration::from_secs(10), || go.exists()) {
        bail!("nobody plugged the cables in within 10 s");
    }
    std::thread::sleep(Duration::from_millis(lab.spec().boot_delay_ms));
    configure_network(&machine)?;
    if crate::systemd::is_enabled(&machine) {
        match crate::systemd::become_init(&lab, &machine)? {}
    }
    let children = Arc::new(Mutex::new(BTreeMap::new()));
    for entry in machine.boot_list()? {
        start(&machine, &entry, &children);
    }
    reap(&machine, &children)
}

/// reboot(2), on a machine of the lab only: on the host it would be the host's.
pub fn reboot() -> Result<()> {
    let init = crate::machine::arguments(1);
    if init.get(1).map(String::as_str) != Some("machine-init") {
        bail!("pid 1 is not a lab machine's: not rebooting the host");
    }
    match nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT) {
        Err(error) => Err(error).context("reboot"),
    }
}

/// The console stays; anything else was the power command's or the BMC's.
fn close_inherited() -> Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        let _ = nix::unistd::close(fd); // the listing's own is closed already
    }
    Ok(())
}

fn host_pid() -> Result<i32> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    stat.split(' ').next().and_then(|p| p.parse().ok()).context("/proc/self/stat")
}

const NONE: Option<&str> = None;

fn mounted(source: &str, target: &str, kind: &str, flags: MsFlags, options: &str) -> Result<()> {
    let options = (!options.is_empty()).then_some(options);
    mount(Some(source), target, Some(kind), flags, options)
        .with_context(|| format!("mounting {kind} on {target}"))
}

/// One overlay per folder. ONE over `/` is refused by the kernel: its upper half would lie inside
/// its lower.
fn mount_disk(machine: &Machine) -> Result<()> {
    for top in DISK_FOLDERS {
        let half = machine.dir().join("disk").join(top);
        let options =
            format!("lowerdir=/{top},upperdir={0}/upper,workdir={0}/work", half.display());
        mounted("disk", &format!("/{top}"), "overlay", MsFlags::empty(), &options)?;
    }
    Ok(())
}

/// What a power cut loses.
fn mount_volatile(machine: &Machine) -> Result<()> {
    let nodev = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mounted("run", "/run", "tmpfs", nodev, "mode=755")?;
    fs::create_dir("/run/lock")?;
    fs::set_permissions("/run/lock", fs::Permissions::from_mode(0o1777))?;
    mounted("tmp", "/tmp", "tmpfs", nodev, "mode=1777")?;
    if Path::new("/dev/shm").is_dir() {
        mounted("shm", "/dev/shm", "tmpfs", nodev, "mode=1777")?;
    }
    let hierarchies = crate::cgroup::of_host()?;
    mounted("proc", "/proc", "proc", nodev | MsFlags::MS_NOEXEC, "")?;
    mounted("sysfs", "/sys", "sysfs", nodev | MsFlags::MS_NOEXEC, "")?;
    mount_cgroups(&hierarchies)?;
    let boot_id = machine.dir().join("boot_id");
    mount(Some(&boot_id), "/proc/sys/kernel/random/boot_id", NONE, MsFlags::MS_BIND, NONE)
        .context("binding the boot id")
}

/// The machine's view of the hierarchies: its own group is the root of each.
fn mount_cgroups(hierarchies: &[crate::cgroup::Hierarchy]) -> Result<()> {
    let v2_alone = hierarchies.iter().all(|h| h.v1.is_none());
    if !v2_alone {
        mounted("cgroup", "/sys/fs/cgroup", "tmpfs", MsFlags::empty(), "mode=755")?;
    }
    for hierarchy in hierarchies {
        let (kind, options) = match &hierarchy.v1 {
            None => ("cgroup2", String::new()),
            Some(name) if name.starts_with("name=") => ("cgroup", format!("none,{name}")),
            Some(controllers) => ("cgroup", controllers.clone()),
        };
        let Some(target) = hierarchy.mount.to_str() else { continue };
        if !v2_alone && fs::create_dir_all(target).is_err() {
            continue; // mounted outside of /sys/fs/cgroup: not visible here, and not needed
        }
        mounted("cgroup", target, kind, MsFlags::empty(), &options)?;
    }
    Ok(())
}

fn configure_network(machine: &Machine) -> Result<()> {
    let mut lines = String::from("link set lo up\n");
    for network in Network::ALL {
        let address = machine.address(network);
        lines +=
            &format!("address add {address}/24 broadcast + dev {network}\nlink set {network} up\n");
    }
    for (key, value) in [("ip_nonlocal_bind", "1"), ("conf/all/arp_notify", "1")] {
        fs::write(format!("/proc/sys/net/ipv4/{key}"), value).with_context(|| key.to_owned())?;
    }
    run_with_input("ip", &["-batch", "-"], &lines).map(drop)
}

type Children = Arc<Mutex<BTreeMap<i32, BootEntry>>>;

fn start(machine: &Machine, entry: &BootEntry, children: &Children) {
    // Held over the start: its end may not be reaped before it is in the table.
    let mut table = children.lock().unwrap_or_else(PoisonError::into_inner);
    match spawn(machine, entry) {
        Ok(pid) => {
            table.insert(pid, entry.clone());
        }
        Err(error) => eprintln!("{}: {error:#}", entry.name),
    }
}

fn spawn(machine: &Machine, entry: &BootEntry) -> Result<i32> {
    let Some((program, arguments)) = entry.argv.split_first() else {
        bail!("nothing to run");
    };
    let log = OpenOptions::new().create(true).append(true).open(machine.log(&entry.name))?;
    let child = Command::new(program)
        .args(arguments)
        .envs(&entry.env)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    Ok(child.id() as i32)
}

/// Reaps whatever ends, the orphans of others too, and starts again what asked for it.
fn reap(machine: &Machine, children: &Children) -> Result<()> {
    loop {
        let pid = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => pid.as_raw(),
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(nix::errno::Errno::ECHILD) => {
                std::thread::sleep(Duration::from_millis(100)); // a machine with nothing to do
                continue;
            }
            Err(error) => return Err(error).context("waiting for children"),
        };
        let ended = children.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        if let Some(entry) = ended
            && let Some(delay_ms) = entry.restart_ms
        {
            let (machine, children) = (machine.clone(), Arc::clone(children));
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(delay_ms));
                start(&machine, &entry, &children);
            });
        }
    }
}
