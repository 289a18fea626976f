//! Between a controller and its API server: passes requests on, and lies as its mood says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base::SplitMix64 as Rng;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

/// Bytes of a body.
const BODY_MAX: usize = 4 << 20;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Lies at random.
    Lying,
    /// Passes everything on. Watches that were lied to end, and begin with 410.
    Honest,
    /// As `Honest`, and each event twice; watches begin anew.
    Again,
    /// Nothing is answered any more after so many writes.
    DeadAfter(usize),
}

struct Inner {
    dice: Rng,
    mood: Mood,
    /// Writes that were passed on, without the Lease and Events.
    writes: usize,
    lies: usize,
    bad: Vec<String>,
    /// Lists of the past by path.
    lists: BTreeMap<String, Vec<Vec<u8>>>,
    /// Watches that have begun since the last change of mood, by path: the first gets 410.
    told: BTreeMap<String, u64>,
}

/// One replica's proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    inner: Arc<Mutex<Inner>>,
    upstream: Client,
    identity: &'static str,
    address: std::net::SocketAddr,
    /// Counts changes of mood: watches end with each.
    era: watch::Sender<u64>,
    dead: watch::Sender<bool>,
}

impl Proxy {
    /// Its Lease is its own: whoever asks through it is the leader.
    pub(crate) async fn start(upstream: &Client, dice: Rng, identity: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let inner = Inner {
            dice,
            mood: Mood::Lying,
            writes: 0,
            lies: 0,
            bad: Vec::new(),
            lists: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        let this = Self {
            inner: Arc::new(Mutex::new(inner)),
            upstream: upstream.clone(),
            identity,
            address: listener.local_addr().expect("bound"),
            era: watch::channel(0).0,
            dead: watch::channel(false).0,
        };
        let router = Router::new().fallback(pass).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    pub(crate) fn client(&self) -> Client {
        let url = format!("http://{}", self.address).parse().expect("a URL");
        let mut config = Config::new(url);
        config.default_retry = false;
        Client::try_from(config).expect("a client")
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mood(&self, mood: Mood) {
        let mut inner = self.inner();
        inner.mood = mood;
        inner.told.clear();
        drop(inner);
        self.era.send_modify(|n| *n += 1);
    }

    /// Whether every watch has begun anew and listed since the mood changed: what was missed is known now.
    pub(crate) fn caught_up(&self) -> bool {
        let inner = self.inner();
        let kinds =
            inner.told.iter().filter(|(path, told)| path.contains("palisade.dev") && **told >= 2);
        kinds.count() == 7
    }

    pub(crate) fn writes(&self) -> usize {
        self.inner().writes
    }

    pub(crate) fn lies(&self) -> usize {
        self.inner().lies
    }

    pub(crate) fn bad_writes(&self) -> Vec<String> {
        self.inner().bad.clone()
    }

    pub(crate) async fn died(&self) {
        let mut dead = self.dead.subscribe();
        let _ = dead.wait_for(|dead| *dead).await;
    }

    /// One in `n`, while it lies.
    fn lie(&self, n: u64) -> bool {
        let mut inner = self.inner();
        let lies = inner.mood == Mood::Lying && inner.dice.below(n) == 0;
        inner.lies += usize::from(lies);
        lies
    }

    fn one_of<T: Copy>(&self, all: &[T]) -> T {
        let n = u64::try_from(all.len()).expect("few");
        all[usize::try_from(self.inner().dice.below(n)).expect("few")]
    }
}

fn failure(code: u16, reason: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "said by the proxy"});
    let code = StatusCode::from_u16(code).expect("a code");
    (code, [(header::CONTENT_TYPE, "application/json")], status.to_string()).into_response()
}

async fn pass(State(proxy): State<Proxy>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await.unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    if *proxy.dead.borrow() {
        return std::future::pending().await;
    }
    let own = format!("palisade-controller-{}", proxy.identity);
    let lease = target.contains("/leases");
    let event = target.contains("/events");
    let rename = |text: &str, from: &str, to: &str| text.replace(from, to);
    let (target, body) = if lease {
        let text = String::from_utf8_lossy(&body);
        (
            rename(&target, "leases/palisade-controller", &format!("leases/{own}")),
            rename(&text, "\"name\":\"palisade-controller\"", &format!("\"name\":\"{own}\""))
                .into(),
        )
    } else {
        (target, body)
    };
    let reads = parts.method == axum::http::Method::GET;
    if !reads && !lease && !event {
        judge(&proxy, parts.method.as_str(), &target, &parts.headers, &body);
        let dead = {
            let mut inner = proxy.inner();
            let dead = matches!(inner.mood, Mood::DeadAfter(n) if inner.writes >= n);
            inner.writes += usize::from(!dead);
            dead
        };
        if dead {
            proxy.dead.send_replace(true);
            return std::future::pending().await;
        }
    }
    if !lease && proxy.lie(if reads { 12 } else { 5 }) {
        let (code, reason) = proxy.one_of(&[
            (429, "TooManyRequests"),
            (500, "InternalError"),
            (409, "Conflict"),
            (503, "ServiceUnavailable"),
        ]);
        return failure(code, reason);
    }
    let watches = target.contains("watch=true") || target.contains("watch=1");
    if watches {
        return self::watches(&proxy, &parts, &target).await;
    }
    let lists = reads && !lease && !target.contains("/nodes");
    if lists && proxy.lie(4) {
        // a server that lags
        let old = proxy.inner().lists.get(&target).and_then(|all| all.first().cloned());
        if let Some(old) = old {
            return ([(header::CONTENT_TYPE, "application/json")], old).into_response();
        }
    }
    let mut upstream = axum::http::Request::builder().method(parts.method.clone()).uri(&target);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = parts.headers.get(&name) {
            upstream = upstream.header(name, value);
        }
    }
    let upstream = upstream.body(kube::client::Body::from(body.to_vec())).expect("a request");
    let Ok(answer) = proxy.upstream.send(upstream).await else {
        return failure(503, "ServiceUnavailable");
    };
    let code = answer.status();
    let bytes = answer.into_body().collect_bytes().await.unwrap_or_default();
    if !reads && !lease && proxy.lie(8) {
        // done, and the answer is lost
        return failure(500, "InternalError");
    }
    if lists && code.is_success() {
        proxy.inner().lists.entry(target).or_default().push(bytes.to_vec());
    }
    let bytes = if lease {
        let text = String::from_utf8_lossy(&bytes);
        rename(&text, &own, "palisade-controller").into_bytes()
    } else {
        bytes.to_vec()
    };
    (code, [(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// What no replica may ever ask for, whatever it was told (SAFETY.md#S19, S26).
fn judge(proxy: &Proxy, method: &str, target: &str, headers: &axum::http::HeaderMap, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let bad = |why: &str| proxy.inner().bad.push(format!("{method} {target}: {why}: {body}"));
    match method {
        "DELETE" => {
            if !target.contains("/placementconstraints/") && !target.contains("/hanodes/") {
                bad("only what we made is deleted");
            }
            let exact = &body["preconditions"];
            if !exact["uid"].is_string() || !exact["resourceVersion"].is_string() {
                bad("a deletion says exactly what it means");
            }
        }
        "PATCH" => {
            let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
            if media != Some("application/apply-patch+yaml")
                || !target.contains("fieldManager=palisade-controller")
            {
                bad("a write is an apply under our name");
            }
            if target.contains("/status?") {
                let fields = body["status"].as_object().cloned().unwrap_or_default();
                if fields.keys().any(|f| f != "observedGeneration" && f != "conditions") {
                    bad("a field of another writer");
                }
            } else if !["/hanodes/", "/placementconstraints/", "/resourceplacements/"]
                .iter()
                .any(|k| target.contains(k))
            {
                bad("not ours to write");
            }
        }
        _ => bad("no such write"),
    }
}

/// A watch: events are dropped, doubled, cut off.
async fn watches(proxy: &Proxy, parts: &axum::http::request::Parts, target: &str) -> Response {
    let path = target.split('?').next().unwrap_or_default().to_owned();
    // before it is counted: a mood that changes from now on ends it
    let mut era = proxy.era.subscribe();
    era.mark_unchanged();
    let first = {
        let mut inner = proxy.inner();
        let told = inner.told.entry(path).or_default();
        *told += 1;
        // what was dropped is only found by listing again
        *told == 1 && matches!(inner.mood, Mood::Honest | Mood::Again)
    };
    if first || proxy.lie(12) {
        return failure(410, "Expired");
    }
    let accept = parts.headers.get(header::ACCEPT).cloned();
    let mut upstream = axum::http::Request::builder().uri(target);
    if let Some(accept) = accept {
        upstream = upstream.header(header::ACCEPT, accept);
    }
    let upstream = upstream.body(kube::client::Body::empty()).expect("a request");
    let Ok(answer) = proxy.upstream.send(upstream).await else {
        return failure(503, "ServiceUnavailable");
    };
    let code = answer.status();
    let source = answer.into_body().into_data_stream().boxed();
    let proxy = proxy.clone();
    let lines = futures::stream::unfold(
        (source, Vec::<u8>::new(), era, proxy, false),
        |(mut source, mut rest, mut era, proxy, cut)| async move {
            if cut {
                return None;
            }
            loop {
                if let Some(end) = rest.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let bookmark = line.starts_with(b"{\"type\":\"BOOKMARK\"");
                    let out = if proxy.lie(5) && !bookmark {
                        Vec::new()
                    } else if proxy.lie(5) || proxy.inner().mood == Mood::Again {
                        [line.clone(), line].concat()
                    } else {
                        line
                    };
                    let cut = proxy.lie(6);
                    return Some((Ok::<_, std::io::Error>(out), (source, rest, era, proxy, cut)));
                }
                tokio::select! {
                    chunk = source.next() => match chunk {
                        Some(Ok(chunk)) => rest.extend_from_slice(&chunk),
                        _ => return None,
                    },
                    _ = era.changed() => return None,
                }
            }
        },
    );
    (code, [(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}
