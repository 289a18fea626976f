//! Logs of the parts, wherever they are: of a box in its files, of a machine in its journal, of pods and Events by the API.
//!
//! Each is bounded by bytes from its end, and nothing is waited for longer than [`PATIENCE`]; what could not be had is said.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, LogParams},
};
use serde_json::Value;

use super::{Bundle, LOG_BYTES_MAX, PATIENCE, end_of, json_text, lines};
use crate::{dev, local::Socket};

/// Pods of ours whose logs are asked for: all machines that a cluster can have, in two DaemonSets, and the controller.
const PODS_MAX: u32 = 80;
/// Events that are asked for, the API's newest are among them or it holds more than an hour keeps.
const EVENTS_MAX: u32 = 2000;
/// All of ours have it (the chart's labels).
const OURS: &str = "app.kubernetes.io/part-of=palisade";
/// Units of a machine without Kubernetes (`manifests/machine`).
const UNITS: &str = "palisade*";

/// Of this machine: of the box that is meant, or of the journal.
pub(super) async fn of_machine(socket: &Socket, since: Option<u64>, bundle: &mut Bundle) {
    let of_box = socket.folder_of_box().map(|dir| dev::logs(&dir)).unwrap_or_default();
    for (name, path) in &of_box {
        bundle.add(&format!("logs/{name}"), end_of(path));
    }
    if of_box.is_empty() {
        bundle.add("logs/journal.txt", journal(since).await);
    }
}

async fn journal(since: Option<u64>) -> Result<String> {
    if !Path::new("/run/systemd/system").exists() {
        bail!("systemd is not the first process here: name log files by --log");
    }
    let mut command = tokio::process::Command::new("journalctl");
    command.args(["--no-pager", "--quiet", "--output=short-iso-precise", "--lines=20000"]);
    command.args(["--unit", UNITS]).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(minutes) = since {
        command.arg(format!("--since=-{minutes}min"));
    }
    let done = within(command.output()).await?.context("journalctl cannot be started")?;
    if !done.status.success() {
        bail!("journalctl ended with {}: call it as root", done.status);
    }
    let text = String::from_utf8_lossy(&done.stdout);
    Ok(lines(end_of_text(&text)))
}

/// The last so many bytes that a log may have, whole lines only.
fn end_of_text(text: &str) -> &str {
    let max = usize::try_from(LOG_BYTES_MAX).unwrap_or(usize::MAX);
    let Some(from) = text.len().checked_sub(max) else { return text };
    let newline = text.as_bytes()[from..].iter().position(|b| *b == b'\n');
    // A byte behind a newline begins a character.
    newline.map_or("", |at| &text[from + at + 1..])
}

/// Of pods, and Events: of our objects and of those pods.
pub(super) async fn of_cluster(
    client: &Client,
    namespace: &str,
    since: Option<u64>,
    bundle: &mut Bundle,
) {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let asked = ListParams::default().labels(OURS).limit(PODS_MAX);
    let pods = match within(api.list(&asked)).await.and_then(|found| Ok(found?)) {
        Ok(found) => found.items,
        Err(error) => {
            bundle.miss("pods", &format!("{error:#}"));
            Vec::new()
        }
    };
    let mut names = Vec::new();
    for pod in &pods {
        let name = pod.name_any();
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        for container in containers {
            let restarts = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
            let died = restarts.filter(|s| s.name == container.name).any(|s| s.restart_count > 0);
            for previous in [false, true].into_iter().filter(|previous| died || !previous) {
                let wanted = LogParams {
                    container: Some(container.name.clone()),
                    limit_bytes: i64::try_from(LOG_BYTES_MAX).ok(),
                    previous,
                    since_seconds: since.and_then(|m| i64::try_from(m.saturating_mul(60)).ok()),
                    tail_lines: Some(20_000),
                    timestamps: true,
                    ..LogParams::default()
                };
                let text = within(api.logs(&name, &wanted)).await.and_then(|text| Ok(text?));
                let which = if previous { ".previous" } else { "" };
                let entry = format!("pods/{name}/{}{which}.log", container.name);
                bundle.add(&entry, text.map(|text| lines(end_of_text(&text))));
            }
        }
        names.push(name);
    }
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    let found = within(api.list(&ListParams::default().limit(EVENTS_MAX))).await;
    let found = found.and_then(|found| Ok(found?)).and_then(|found| {
        let ours = found.items.iter().filter(|event| is_ours(event, &names));
        let all: Vec<Value> = ours.map(serde_json::to_value).collect::<Result<_, _>>()?;
        json_text(Value::Array(all))
    });
    bundle.add("objects/events.json", found);
}

fn is_ours(event: &Event, pods: &[String]) -> bool {
    event.regarding.as_ref().is_some_and(|about| {
        let kind = about.api_version.as_deref() == Some(api::names::API_VERSION);
        let pod = about.kind.as_deref() == Some("Pod");
        kind || (pod && about.name.as_ref().is_some_and(|name| pods.contains(name)))
    })
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T> {
    let seconds = Duration::as_secs(&PATIENCE);
    tokio::time::timeout(PATIENCE, work).await.with_context(|| format!("no answer in {seconds} s"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;

    #[test]
    fn a_log_that_is_too_long_keeps_its_end_in_whole_lines() {
        assert_eq!(end_of_text("short\nlog\n"), "short\nlog\n");
        let long = "ünïcode line\n".repeat(400_000);
        let kept = end_of_text(&long);
        assert!(kept.len() as u64 <= LOG_BYTES_MAX && kept.len() as u64 > LOG_BYTES_MAX - 20);
        assert!(kept.starts_with("ünïcode") && long.ends_with(kept));
        assert_eq!(end_of_text(&"x".repeat(5_000_000)), "", "a line without end");
    }

    #[test]
    fn events_of_others_stay_where_they_are() {
        let about = |version: &str, kind: &str, name: &str| Event {
            regarding: Some(ObjectReference {
                api_version: Some(version.into()),
                kind: Some(kind.into()),
                name: Some(name.into()),
                ..ObjectReference::default()
            }),
            ..Event::default()
        };
        let pods = ["palisade-agent-x".to_owned()];
        assert!(is_ours(&about("palisade.dev/v1alpha1", "HACluster", "main"), &pods));
        assert!(is_ours(&about("v1", "Pod", "palisade-agent-x"), &pods));
        assert!(!is_ours(&about("v1", "Pod", "nova-api"), &pods));
        assert!(!is_ours(&about("v1", "Secret", "main"), &pods));
        assert!(!is_ours(&Event::default(), &pods));
    }
}
