//! One connection at a time: TCP, TLS, HTTP/1.1. Nothing is followed, resumed, decompressed or kept beyond its session.

use core::time::Duration;
use std::{
    string::{String, ToString as _},
    sync::PoisonError,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1::{Builder, SendRequest},
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    },
};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{
    super::{
        proto::{Ask, BODY_MAX, Failure, Method, Pass, Reply, printable},
        tls::{Hex, Seen, Trust, config},
    },
    RedfishTarget,
};

/// Longest head of an answer, and its lines.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 100;
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// The way to one BMC.
pub(super) struct Wire<'a> {
    target: &'a RedfishTarget,
    open: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    /// With the task goes the socket, which does not linger: what is in its buffer is gone.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<'a> Wire<'a> {
    pub(super) const fn new(target: &'a RedfishTarget) -> Self {
        Self { target, open: None }
    }

    /// Whether a connection is there, for all that is known.
    pub(super) fn is_open(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.sender.is_closed())
    }

    /// Whatever was under way is cut.
    pub(super) fn reset(&mut self) {
        self.open = None;
    }

    /// Makes sure that a request could leave now.
    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        if let Some(open) = &mut self.open
            && open.sender.ready().await.is_ok()
        {
            return Ok(());
        }
        self.open = None;
        let (config, name, seen) =
            config(&self.target.trust, self.target.address.ip()).map_err(Failure::Unusable)?;
        let socket = TcpStream::connect(self.target.address)
            .await
            .map_err(|error| Failure::Unreachable(error.kind().to_string()))?;
        let _ = socket.set_nodelay(true);
        SockRef::from(&socket)
            .set_linger(Some(Duration::ZERO))
            .map_err(|error| Failure::Unreachable(error.kind().to_string()))?;
        let connector = TlsConnector::from(std::sync::Arc::new(config));
        let stream = connector
            .connect(name, socket)
            .await
            .map_err(|error| self.tls_failure(&error, &seen))?;
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| http_failure(&error))?;
        let task = tokio::spawn(async move {
            // How it ended is said by the request that it ended.
            let _ = connection.await;
        });
        self.open = Some(Connection { sender, task });
        Ok(())
    }

    /// Sends once, and reads the whole answer.
    pub(super) async fn send(&mut self, ask: &Ask) -> Result<Reply, Failure> {
        let request = self.request(ask)?;
        let Some(open) = &mut self.open else {
            return Err(Failure::Unreachable("no connection".into()));
        };
        let response = open.sender.send_request(request).await.map_err(|e| http_failure(&e))?;
        reply(response).await
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, Failure> {
        let method = match ask.method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
            Method::Delete => hyper::Method::DELETE,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&ask.path)
            .header(HOST, self.target.address.to_string())
            .header(ACCEPT, "application/json")
            .header("odata-version", "4.0");
        match &ask.pass {
            Pass::None => {}
            Pass::Token(token) => request = request.header(TOKEN, secret(token)?),
            Pass::Basic => {
                let mut login = Zeroizing::new(format!("{}:", self.target.user).into_bytes());
                login.extend_from_slice(self.target.password.expose());
                let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*login)));
                request = request.header(AUTHORIZATION, secret(&basic)?);
            }
        }
        let mut body = Bytes::new();
        if let Some(given) = &ask.body {
            request = request.header(CONTENT_TYPE, "application/json");
            body = Bytes::copy_from_slice(given);
        }
        request
            .body(Full::new(body))
            .map_err(|_| Failure::Violation("it names a path that HTTP cannot carry"))
    }

    fn tls_failure(&self, error: &std::io::Error, seen: &Seen) -> Failure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let seen = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        match (inner, seen, &self.target.trust) {
            (Some(rustls::Error::InvalidCertificate(_)), Some(seen), Trust::Fingerprint(_)) => {
                Failure::Untrusted(format!(
                    "the BMC shows another certificate than the pinned one, with sha256 {}: if it was renewed, set spec.redfish.certificateSha256 to that; if not, somebody stands in between",
                    Hex(&seen)
                ))
            }
            (Some(rustls::Error::InvalidCertificate(why)), Some(seen), _) => {
                let why = printable(&format!("{why:?}"), 120);
                Failure::Untrusted(format!(
                    "the BMC's certificate (sha256 {}) is not vouched for by ca.crt of the Secret: {why}; correct ca.crt or serverName, or pin it by spec.redfish.certificateSha256",
                    Hex(&seen)
                ))
            }
            (Some(_), ..) => Failure::Violation("no TLS that is safe: it wants at least TLS 1.2"),
            (None, ..) => Failure::Unreachable(error.kind().to_string()),
        }
    }
}

fn secret(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Failure::Violation("its token cannot be sent back"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn reply(response: Response<Incoming>) -> Result<Reply, Failure> {
    let status = response.status().as_u16();
    let token = text(response.headers(), &TOKEN).map(Zeroizing::new);
    let location = text(response.headers(), &LOCATION);
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<hyper::Error>() {
        Some(error) => http_failure(error),
        None => Failure::Violation("an answer is longer than 256 KiB"),
    })?;
    Ok(Reply { status, token, location, body: body.to_bytes().to_vec() })
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(Into::into)
}

fn http_failure(error: &hyper::Error) -> Failure {
    if error.is_parse() {
        Failure::Violation("an answer is not HTTP, or its head is too long")
    } else {
        Failure::Unreachable("the connection broke".into())
    }
}
