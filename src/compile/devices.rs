//! `FenceDevice` into devices, and what is said when machines cannot be powered off.

use std::time::Duration;

use api::{
    DeletionPolicy, FenceDevice,
    fence_device::{Driver, Ipmi, Redfish},
    names::reason,
};
use base::{FenceDriver, NodeId, RedfishService};
use kube::ResourceExt;
use policy::revision::{self as r, Device, ObjectKind, Revision};

use crate::{Objects, Problem, Verdicts, parse::Faults, version, version_in};

/// Off 10s and reading back 10s (SPEC-ERRORS.md row 31): what a BMC needs on a bad day.
const BMC_TIMEOUT_MIN: Duration = Duration::from_secs(20);

pub(crate) fn compile(
    objects: &Objects,
    previous: Option<&Revision>,
    revision: &mut Revision,
    verdicts: &mut Verdicts,
) {
    for object in &objects.devices {
        let name = object.name_any();
        let mut faults = Faults::default();
        let device = device(object, revision, &mut faults);
        match device.filter(|_| !faults.0.iter().any(|p| p.fatal)) {
            Some(device) => {
                revision.objects.push(version(ObjectKind::FenceDevice, object, &object.spec));
                revision.devices.push(device);
            }
            None => {
                let last = previous
                    .and_then(|p| p.devices.iter().find(|d| d.device.name.as_str() == name));
                if let Some(last) = last {
                    revision.devices.push(last.clone());
                    revision.objects.extend(version_in(previous, ObjectKind::FenceDevice, &name));
                }
            }
        }
        verdicts.say("FenceDevice", &name, faults.0);
    }
    revision.devices.sort_by(|a, b| a.device.name.cmp(&b.device.name));
}

fn device(object: &FenceDevice, revision: &Revision, faults: &mut Faults) -> Option<Device> {
    let spec = &object.spec;
    let name = faults.id("metadata.name", &object.name_any());
    let driver = match spec.driver {
        Driver::Ipmi => ipmi(spec.ipmi.as_ref(), faults),
        Driver::Redfish => redfish(spec.redfish.as_ref(), faults),
    };
    let timeout = faults.span("spec.timeout", &spec.timeout);
    if timeout < BMC_TIMEOUT_MIN {
        let protocol = match spec.driver {
            Driver::Ipmi => "ipmi",
            Driver::Redfish => "redfish",
        };
        let why = format!(
            "spec.timeout {} < minimum 20s for {protocol} (off 10s + verify 10s): a slow BMC will count as failed",
            spec.timeout
        );
        faults.0.push(Problem::warning(reason::INVALID, why));
    }
    let delay = faults.span("spec.delay", &spec.delay);
    let targets = targets(object, revision, faults);
    let identity = spec
        .identity
        .as_ref()
        .and_then(|i| faults.id("spec.identity.systemUuid", i.system_uuid.as_str()));
    let level = faults.number("spec.level", spec.level);
    Some(Device {
        device: base::FenceDevice {
            name: name?,
            driver: driver?,
            credentials: spec.credentials_ref.name.0.clone(),
            targets,
            level: level?,
            delay,
            identity,
        },
        timeout,
        deletion: deletion(spec.deletion_policy),
        retained: false,
    })
}

fn ipmi(spec: Option<&Ipmi>, faults: &mut Faults) -> Option<FenceDriver> {
    let Some(ipmi) = spec else {
        faults.add("spec.ipmi", "address is required for driver Ipmi");
        return None;
    };
    let address = faults.address("spec.ipmi.address", &ipmi.address);
    let port = faults.number("spec.ipmi.port", ipmi.port);
    let suite: Option<u8> = faults.number("spec.ipmi.cipherSuite", ipmi.cipher_suite);
    if !matches!(suite, Some(3 | 17)) {
        faults.add("spec.ipmi.cipherSuite", "use 17, or 3 where the BMC knows no better");
    }
    Some(FenceDriver::Ipmi { address: address?, port: port?, cipher_suite: suite? })
}

fn redfish(spec: Option<&Redfish>, faults: &mut Faults) -> Option<FenceDriver> {
    let Some(redfish) = spec else {
        faults.add("spec.redfish", "address is required for driver Redfish");
        return None;
    };
    let address = faults.address("spec.redfish.address", &redfish.address);
    let port = faults.number("spec.redfish.port", redfish.port);
    let certificate = redfish.certificate_sha256.as_ref().map(|fingerprint| {
        fingerprint.bytes().ok_or_else(|| {
            let why = "no SHA-256 of a certificate: write 64 hexadecimal digits";
            faults.add("spec.redfish.certificateSha256", why);
        })
    });
    Some(FenceDriver::Redfish(Box::new(RedfishService {
        address: address?,
        port: port?,
        system: redfish.system_id.as_ref().map(|id| id.0.clone()),
        certificate: certificate.transpose().ok()?,
        server_name: redfish.server_name.as_ref().map(|name| name.0.clone()),
    })))
}

fn targets(object: &FenceDevice, revision: &Revision, faults: &mut Faults) -> Vec<NodeId> {
    let mut out = Vec::new();
    for target in &object.spec.targets {
        match revision.voters.iter().find(|v| v.name.as_str() == target.as_str()) {
            Some(voter) => out.push(voter.id),
            None => faults.0.push(Problem::fatal(
                reason::UNKNOWN_REFERENCE,
                format!(
                    "spec.targets: {:?} is not a member of {:?}: correct the name or add the member",
                    target.0, revision.cluster.name
                ),
            )),
        }
    }
    out.sort();
    out
}

pub(crate) fn deletion(policy: DeletionPolicy) -> r::DeletionPolicy {
    match policy {
        DeletionPolicy::Retain => r::DeletionPolicy::Retain,
        DeletionPolicy::Stop => r::DeletionPolicy::Stop,
    }
}

/// What keeps the cluster from powering off every member; empty when nothing does (SPEC-ERRORS.md rows 21, 23, 29).
pub fn gaps(revision: &Revision) -> Vec<String> {
    if !revision.fencing.enabled || revision.fencing.self_fencing {
        return Vec::new();
    }
    let levels = |node: NodeId| {
        let mut levels: Vec<u8> = revision
            .devices
            .iter()
            .filter(|d| d.device.targets.contains(&node))
            .map(|d| d.device.level)
            .collect();
        levels.sort_unstable();
        levels.dedup();
        levels
    };
    let mut none = Vec::new();
    let mut out = Vec::new();
    for voter in &revision.voters {
        let levels = levels(voter.id);
        if levels.is_empty() {
            none.push(voter.name.as_str());
        }
        // levels start at 1 and have no gap
        if let Some(missing) = (1..).zip(&levels).find(|(want, have)| want != *have) {
            out.push(format!("fencing of {}: level {} missing", voter.name, missing.0));
        }
    }
    if none.len() == revision.voters.len() && none.len() > 1 {
        out.push(format!(
            "no device or selfFencing can fence {}; add devices or set fencing.mode: Disabled",
            none.join(", ")
        ));
    } else if !none.is_empty() && revision.voters.len() > 1 {
        out.push(format!("node {} has no fencing method; add a FenceDevice", none.join(", ")));
    }
    out
}

/// Members whose only switch is their own BMC, which dies with their power (SPEC-ERRORS.md row 30). Nothing is wrong
/// with them until then. All drivers that exist talk to BMCs, so more devices do not help yet; self-fencing does.
pub fn single_points(revision: &Revision) -> Option<String> {
    if !revision.fencing.enabled || revision.fencing.self_fencing || revision.voters.len() == 1 {
        return None;
    }
    let switched = |node: NodeId| revision.devices.iter().any(|d| d.device.targets.contains(&node));
    let names: Vec<&str> = revision
        .voters
        .iter()
        .filter(|voter| switched(voter.id))
        .map(|voter| voter.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "single point of failure: the BMC of {} shares power with its node; add a watchdog and \
             fencing.selfFencing: Enabled",
            listed(&names)
        )
    })
}

/// The first names of a list that may be long: a message has at most 200 characters.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
