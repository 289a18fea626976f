//! The socket half: TLS and HTTP/1.1.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE},
    server::conn::http1::Builder,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::sleep};
use tokio_rustls::TlsAcceptor;

use super::{Redfish, service};
use crate::server::Shared;

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 16;
/// A connection's whole life.
const CONNECTION: Duration = Duration::from_secs(60);
/// Longest request.
const BODY_MAX: usize = 64 * 1024;
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

pub(crate) async fn listen(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    service: &Redfish,
) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        while open.try_join_next().is_some() {}
        let (shared, acceptor, service) = (Arc::clone(shared), acceptor.clone(), service.clone());
        open.spawn(async move {
            let _permit = permit;
            let talk = async {
                is_plugged_in(&shared).await;
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = service_fn(|request| answer(&shared, &service, request));
                // Whoever goes away in the middle knows why.
                let _ = Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            };
            let _ = tokio::time::timeout(CONNECTION, talk).await;
        });
    }
}

/// With the cable out nothing comes and nothing goes.
async fn is_plugged_in(shared: &Shared) {
    if !shared.is_reachable() {
        pending::<()>().await;
    }
}

async fn answer(
    shared: &Shared,
    service: &Redfish,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    is_plugged_in(shared).await;
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return Ok(plain(413));
    };
    is_plugged_in(shared).await;
    let text = |name: &HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let asked = service::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        token: text(&TOKEN),
        basic: text(&AUTHORIZATION).and_then(|value| value.strip_prefix("Basic ")),
        body: &body.to_bytes(),
    };
    let said = service.answer(&asked, shared.reading());
    if let Some(command) = said.command {
        tracing::info!(?command, "accepted");
        shared.press(command);
    }
    let mut response = plain(said.status);
    let headers = response.headers_mut();
    let mut put = |name, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    };
    put(TOKEN, said.token);
    put(LOCATION, said.location);
    put(CONTENT_TYPE, (!said.body.is_empty()).then(|| "application/json".into()));
    put(WWW_AUTHENTICATE, (said.status == 401).then(|| "Basic realm=\"bmcsim\"".into()));
    put(HeaderName::from_static("odata-version"), Some("4.0".into()));
    *response.body_mut() = Full::from(said.body);
    Ok(response)
}

fn plain(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if let Ok(status) = status.try_into() {
        *response.status_mut() = status;
    }
    response
}
