//! Target `local`: requests of people and programs: the local socket, and the three pages over HTTP.

use std::sync::OnceLock;

use agent::{
    http::{REQUEST_BYTES_MAX, answer},
    local::{LINE_BYTES_MAX, Reply, Request},
    metrics::Metrics,
    ring::requests::kind,
};
use cluster::RequestKind;
use policy::revision::Revision;

use super::script::within;

pub(crate) fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 3 {
        0 => request(bytes),
        1 => reply(bytes),
        _ => page(bytes),
    }
}

fn revision() -> &'static Revision {
    static REVISION: OnceLock<Revision> = OnceLock::new();
    REVISION.get_or_init(|| super::cluster::specimen::revision(3))
}

/// One line. What was read means the same when it is written again, and the engine hears of bounded names only.
fn request(bytes: &[u8]) {
    if bytes.len() > LINE_BYTES_MAX {
        return;
    }
    let read = within(64 * bytes.len() + 4096, || serde_json::from_slice::<Request>(bytes));
    let Ok(request) = read else { return };
    let line = serde_json::to_vec(&request).expect("our own type");
    assert_eq!(serde_json::from_slice::<Request>(&line).ok(), Some(request.clone()));
    match kind(&request, revision()) {
        Ok(RequestKind::Fence { who, .. } | RequestKind::ConfirmOff { who, .. }) => {
            assert!(who.chars().count() <= 80 && !who.chars().any(char::is_control));
        }
        Ok(RequestKind::Detach(span)) => assert!(span.as_secs() >= 1 && span.as_secs() <= 60),
        Ok(_) => {}
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// What the command reads of an agent.
fn reply(bytes: &[u8]) {
    let read = within(256 * bytes.len() + (1 << 20), || serde_json::from_slice::<Reply>(bytes));
    if let Ok(reply) = read {
        let line = serde_json::to_vec(&reply).expect("our own type");
        assert_eq!(serde_json::from_slice::<Reply>(&line).ok(), Some(reply));
    }
}

/// Pages are given to whole GET requests of known paths, and nothing of the request stands in the answer.
fn page(bytes: &[u8]) {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    let bytes = &bytes[..bytes.len().min(REQUEST_BYTES_MAX)];
    let (code, _, body) = answer(bytes, METRICS.get_or_init(Metrics::new));
    let known = ["/metrics", "/healthz", "/readyz"].iter().any(|path| {
        let head = [b"GET ", path.as_bytes()].concat();
        let after = bytes.get(head.len());
        bytes.starts_with(&head) && matches!(after, None | Some(b' ' | b'?'))
    });
    assert_eq!(known, code.starts_with("200") || code.starts_with("503"), "{code}");
    assert!(known || body.len() < 64);
}
