//! Failures that coordinators have mirrored into statuses, told as Events: a status has the last one only.
//!
//! Compared with what stood there when this replica last looked. What it finds at its first look is no news, and what
//! happens while no replica runs is told by nobody: an Event is a courtesy, the status is the record.

use std::collections::BTreeMap;

use api::{client::Picture, names::event};
use compile::Key;
use kube::ResourceExt;

use crate::desired::Action;

/// Failures of each instance: by uid of its placement, resource and member.
type Counts = BTreeMap<(String, String, String), i64>;

/// What was seen of failures.
#[derive(Debug, Default)]
pub struct Failures(Option<Counts>);

impl Failures {
    /// What has failed since the last look.
    pub fn news(&mut self, picture: &Picture) -> Vec<Action> {
        let before = self.0.take();
        let (mut counts, mut news) = (Counts::new(), Vec::new());
        for placement in picture.placements.values() {
            for instance in placement.status.iter().flat_map(|status| &status.instances) {
                let failures = instance.failures.unwrap_or_default();
                let uid = placement.uid().unwrap_or_default();
                let key = (uid, instance.resource.clone(), instance.node.to_string());
                let known = before.as_ref().map(|b| b.get(&key).copied().unwrap_or_default());
                if known.is_some_and(|known| failures > known) {
                    let why = instance.last_failure.as_deref().unwrap_or("see the log there");
                    let note = format!(
                        "{} failed {failures} times on {}: {why}",
                        instance.resource, instance.node
                    );
                    let key = Key { kind: "ResourcePlacement", name: placement.name_any() };
                    news.push(Action::Event { key, reason: event::FAILED, warning: true, note });
                }
                counts.insert(key, failures);
            }
        }
        self.0 = Some(counts);
        news
    }
}

#[cfg(test)]
mod tests {
    use api::ResourcePlacement;
    use serde_json::{Value, json};

    use super::*;

    fn picture(instances: &Value) -> Picture {
        let placement: ResourcePlacement = serde_json::from_value(json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "ResourcePlacement",
            "metadata": {"name": "web", "uid": "u-1"},
            "spec": {"clusterRef": {"name": "main"}, "resource": {"type": "Process", "process": {"template": "web"}}},
            "status": {"instances": instances},
        }))
        .expect("a placement");
        let mut picture = Picture::default();
        picture.placements.insert("web".into(), placement);
        picture
    }

    fn failed(failures: i64) -> Picture {
        picture(&json!([{"resource": "web", "node": "ctl-2", "role": "Stopped",
            "failures": failures, "lastFailure": "start failed: port 80 is in use"}]))
    }

    #[test]
    fn each_new_failure_is_told_once_with_its_reason() {
        let mut failures = Failures::default();
        assert_eq!(failures.news(&failed(3)), [], "what it finds is no news");
        assert_eq!(failures.news(&failed(3)), []);
        let news = failures.news(&failed(4));
        let note = "web failed 4 times on ctl-2: start failed: port 80 is in use";
        let told = Action::Event {
            key: Key { kind: "ResourcePlacement", name: "web".into() },
            reason: event::FAILED,
            warning: true,
            note: note.into(),
        };
        assert_eq!(news, [told]);
        assert_eq!(failures.news(&failed(4)), [], "once");
        // forgotten, and then it fails again; the instance is not even listed meanwhile
        assert_eq!(failures.news(&picture(&json!([]))), []);
        assert_eq!(failures.news(&failed(1)).len(), 1);
    }
}
