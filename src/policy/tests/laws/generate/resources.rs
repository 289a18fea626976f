//! What is to run.

use policy::{
    Model,
    model::{Resource, ResourceKind},
};

use super::{Mood, bytes::Bytes};

pub(super) fn add(model: &mut Model, bytes: &mut Bytes<'_>, mood: Mood) {
    let fencing = mood == Mood::Wild || bytes.chance(200);
    let size = bytes.byte();
    let count = 1 + usize::from(size % 6);
    // some wild clusters have nothing to fence with
    let fencing = fencing && (mood == Mood::Calm || size < 216);
    for number in 0..count {
        let resource = match bytes.below(8) {
            0..=2 => primitive(bytes, &format!("p{number}"), mood),
            3 => group(bytes, number, mood),
            4 => {
                let child = primitive(bytes, &format!("p{number}"), mood);
                clone(bytes, Resource::cloned(&format!("c{number}"), child))
            }
            5 => {
                let child = group(bytes, number, mood);
                clone(bytes, Resource::cloned(&format!("c{number}"), child))
            }
            _ => promotable(bytes, number, mood),
        };
        model.resources.push(metas(bytes, resource, mood));
    }
    if fencing {
        let agent = Resource::primitive("fence", "stonith", "", "fence_ipmilan");
        model.resources.push(agent.with_operation("monitor", 60_000, &[]));
    }
}

fn primitive(bytes: &mut Bytes<'_>, id: &str, mood: Mood) -> Resource {
    let on_fail = bytes
        .pick(&["restart", "restart", "restart", "block", "ignore", "stop", "fence", "standby"]);
    let pairs = [("on-fail", on_fail)];
    let meta: &[(&str, &str)] = if mood == Mood::Calm { &[] } else { &pairs };
    let resource = Resource::primitive(id, "ocf", "heartbeat", "Dummy");
    let mut resource = resource.with_operation("monitor", 10_000, meta);
    if let ResourceKind::Primitive(primitive) = &mut resource.kind
        && mood == Mood::Wild
        && bytes.chance(60)
    {
        primitive.utilization.set("memory", bytes.pick(&["1", "2", "4"]));
    }
    if mood == Mood::Wild && bytes.chance(40) {
        let on_fail = bytes.pick(&["fence", "block", "ignore"]);
        return resource.with_operation("stop", 0, &[("on-fail", on_fail)]);
    }
    resource
}

fn group(bytes: &mut Bytes<'_>, number: usize, mood: Mood) -> Resource {
    let members = 1 + bytes.below(3);
    let members = (0..members).map(|m| primitive(bytes, &format!("g{number}m{m}"), mood)).collect();
    Resource::group(&format!("g{number}"), members)
}

fn clone(bytes: &mut Bytes<'_>, mut clone: Resource) -> Resource {
    let common = [
        ("interleave", "true", 160),
        ("ordered", "true", 60),
        ("notify", "true", 50),
        ("clone-max", "2", 60),
        ("clone-min", "1", 30),
    ];
    for (name, value, of_256) in common {
        if bytes.chance(of_256) {
            clone = clone.with_meta(name, value);
        }
    }
    if bytes.chance(30) {
        clone = clone.with_meta("globally-unique", "true");
        if bytes.chance(128) {
            clone = clone.with_meta("clone-node-max", "2");
        }
    }
    clone
}

fn promotable(bytes: &mut Bytes<'_>, number: usize, mood: Mood) -> Resource {
    let id = format!("p{number}");
    let child = primitive(bytes, &id, mood)
        .with_operation("monitor", 11_000, &[("role", "Promoted")])
        .with_operation("monitor", 12_000, &[("role", "Unpromoted")]);
    let mut resource = clone(bytes, Resource::promotable(&format!("c{number}"), child));
    if bytes.chance(40) {
        resource = resource.with_meta("promoted-max", "2");
    }
    resource
}

fn metas(bytes: &mut Bytes<'_>, mut resource: Resource, mood: Mood) -> Resource {
    let promotable = matches!(&resource.kind, ResourceKind::Clone(c) if c.promotable);
    if bytes.chance(60) {
        resource = resource.with_meta("priority", bytes.pick(&["10", "5", "-1", "INFINITY"]));
    }
    if bytes.chance(50) {
        resource = resource.with_meta("migration-threshold", bytes.pick(&["1", "3"]));
    }
    if bytes.chance(30) {
        resource = resource.with_meta("failure-timeout", bytes.pick(&["60s", "1h"]));
    }
    if bytes.chance(60) {
        resource = resource.with_meta("allow-migrate", "true");
    }
    if mood == Mood::Calm {
        return resource;
    }
    if bytes.chance(25) {
        let role = if promotable { "Unpromoted" } else { "Stopped" };
        resource = resource.with_meta("target-role", bytes.pick(&[role, "Stopped", "Started"]));
    }
    if bytes.chance(15) {
        resource = resource.with_meta("is-managed", "false");
    }
    if bytes.chance(10) {
        resource = resource.with_meta("maintenance", "true");
    }
    if bytes.chance(20) {
        let policy = bytes.pick(&["stop_only", "block", "stop_unexpected"]);
        resource = resource.with_meta("multiple-active", policy);
    }
    if bytes.chance(20) {
        resource = resource.with_meta("requires", bytes.pick(&["quorum", "nothing", "fencing"]));
    }
    resource
}
