//! What a container may, see and share: the OCI runtime specification of one.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::image::Says;
use crate::process::{Image, Template};

/// Where no image says another.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What the first process may, as root; another user has none of it. Without making devices and raw packets.
const CAPABILITIES: [&str; 9] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// Of the machine, and nobody's business in there.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the template says, and where it is silent the image. `Err` is for root on the machine.
pub(super) fn spec(
    id: &str,
    template: &Template,
    image: &Image,
    says: &Says,
) -> Result<Value, String> {
    let argv: Vec<&String> = if template.argv.is_empty() {
        says.entrypoint.iter().chain(&says.command).flatten().collect()
    } else {
        template.argv.iter().collect()
    };
    if argv.is_empty() {
        return Err("neither the template nor the image says what to start: give argv".into());
    }
    let (uid, gid) = user(image, says)?;
    let cwd = match (&image.working_dir, &says.working_dir) {
        (Some(given), _) => given.display().to_string(),
        (None, Some(said)) if Path::new(said).is_absolute() => said.clone(),
        (None, _) => "/".into(),
    };
    let capabilities: &[&str] = if uid == 0 { &CAPABILITIES } else { &[] };
    let mut process = json!({
        "terminal": false,
        "user": {"uid": uid, "gid": gid},
        "args": argv,
        "env": environment(template, says),
        "cwd": cwd,
        "noNewPrivileges": true,
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
    });
    if template.oom_score_adj != 0 {
        process["oomScoreAdj"] = json!(template.oom_score_adj);
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": "rootfs", "readonly": image.read_only},
        "mounts": mounts(image),
        "linux": {
            // No network namespace: addresses are the machine's. The pid namespace is what makes "stopped" whole.
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "mount"}],
            "cgroupsPath": format!("/palisade/{id}"),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }))
}

/// Names of users are looked up nowhere: the image's files would say who is whom.
fn user(image: &Image, says: &Says) -> Result<(u32, u32), String> {
    if let Some(given) = image.user {
        return Ok(given);
    }
    match says.user.as_deref() {
        None | Some("") => Ok((0, 0)),
        Some(said) => crate::process::uid_gid(said).ok_or_else(|| {
            format!(
                "the image runs as {said:?}: give user = \"UID:GID\" in the template, in numbers"
            )
        }),
    }
}

/// The image's, then the template's over it.
fn environment(template: &Template, says: &Says) -> Vec<String> {
    let mut all: BTreeMap<&str, &str> = [("PATH", PATH)].into();
    all.extend(says.environment.iter().flatten().filter_map(|line| line.split_once('=')));
    all.extend(template.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn mounts(image: &Image) -> Vec<Value> {
    let own = |kind: &str, at: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let mut all = vec![
        own("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        own("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        own(
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        ),
        own("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        own("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        own("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
        own("tmpfs", "/run", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ];
    all.extend(image.mounts.iter().map(|mount| {
        let options = if mount.read_only { ["rbind", "ro"] } else { ["rbind", "rw"] };
        json!({"destination": mount.target, "type": "bind", "source": mount.source, "options": options})
    }));
    all
}
