//! What people ask on the local socket, in the words of the engine. Names become numbers here; whether it may be done
//! is the engine's to say.

use std::time::Duration;

use base::{NodeId, NodeName};
use cluster::RequestKind;
use policy::revision::Revision;

use crate::local::{NodeVerb, Request, ResourceVerb};

/// Longest name of whoever asks.
const WHO_CHARS_MAX: usize = 80;

/// `Err` is the answer for the person.
pub fn kind(request: &Request, revision: &Revision) -> Result<RequestKind, String> {
    let node = |name: &NodeName| node_id(name, revision);
    Ok(match request {
        Request::Detach { seconds } if (1..=60).contains(seconds) => {
            RequestKind::Detach(Duration::from_secs((*seconds).into()))
        }
        Request::Detach { .. } => return Err("an absence lasts from 1 to 60 seconds".into()),
        Request::Leave {} => RequestKind::Leave,
        Request::Suspend {} => RequestKind::Suspend,
        Request::Resume {} => RequestKind::Resume,
        Request::Node { action, name, incident, who } => {
            let (node, who) = (node(name)?, short(who));
            match action {
                NodeVerb::ConfirmOff => RequestKind::ConfirmOff { node, incident: *incident, who },
                NodeVerb::Fence => RequestKind::Fence { node, who },
                NodeVerb::Maintenance => RequestKind::Maintenance(node),
                NodeVerb::Online => RequestKind::Online(node),
                NodeVerb::Standby => RequestKind::Standby(node),
            }
        }
        Request::Resource { action, name, node: at, who: _ } => {
            let resource = name.clone();
            let at = at.as_ref().map(node).transpose()?;
            let there = at.ok_or("name the node: --node NAME");
            match action {
                ResourceVerb::Ban => RequestKind::Ban { resource, node: there? },
                ResourceVerb::Cleanup => RequestKind::Cleanup { resource, node: at },
                ResourceVerb::Clear => RequestKind::Clear(resource),
                ResourceVerb::Move => RequestKind::Move { resource, to: there? },
                ResourceVerb::Remove => RequestKind::Remove(resource),
                ResourceVerb::Restart => RequestKind::Restart(resource),
            }
        }
        Request::Status {} | Request::Timeline { .. } => {
            return Err("this is answered without the engine".into());
        }
    })
}

fn node_id(name: &NodeName, revision: &Revision) -> Result<NodeId, String> {
    let known = revision.voters.iter().find(|voter| voter.name == *name);
    known.map(|voter| voter.id).ok_or_else(|| {
        let names: Vec<&str> = revision.voters.iter().map(|v| v.name.as_str()).collect();
        format!("no member is called {name}; there are {}", names.join(", "))
    })
}

fn short(who: &str) -> String {
    who.chars().filter(|c| !c.is_control()).take(WHO_CHARS_MAX).collect()
}
