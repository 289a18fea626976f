//! One gRPC call over a Unix socket: one connection, one question, some answers, one status.

use core::{fmt, time::Duration};
use std::path::PathBuf;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http2, header::HeaderMap};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

/// One call. Making a container takes a tenth of a second, on a busy machine some; the caller bounds the whole.
const CALL_MAX: Duration = Duration::from_secs(20);
/// All of one answer. The largest is the configuration of an image: some KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A flag and a length before each message.
const PREFIX_BYTES: usize = 5;

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Containerd answered that it is not there.
    Absent(String),
    /// Containerd answered with another refusal.
    Refused(String),
    /// Anything else: nothing is known.
    Unknown(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) | Self::Unknown(why) => f.write_str(why),
            Self::Refused(why) => write!(f, "containerd refuses: {why}"),
        }
    }
}

/// Where containerd listens, and in which of its namespaces we are.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) socket: PathBuf,
    pub(super) namespace: String,
}

/// Ends the connection's task with the call.
struct Served(JoinHandle<()>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// `method` is `containerd.services.X.v1.X/Verb`.
    pub(super) async fn call<Q, A>(&self, method: &str, question: &Q) -> Result<Vec<A>, CallError>
    where
        Q: Message,
        A: Message + Default,
    {
        let away = |why: &dyn fmt::Display| {
            CallError::Unknown(format!(
                "containerd at {} ({}): {why}",
                self.socket.display(),
                method.rsplit('.').next().unwrap_or(method)
            ))
        };
        match timeout(CALL_MAX, self.exchange(method, question)).await {
            Ok(Ok((bytes, ends))) => match ended(&ends) {
                Ok(()) => messages(&bytes).map_err(|why| away(&why)),
                Err(Status::None) => Err(away(&"an answer without a status")),
                Err(Status::Absent(why)) => Err(CallError::Absent(why)),
                Err(Status::Other(why)) => Err(CallError::Refused(why)),
            },
            Ok(Err(why)) => Err(away(&why)),
            Err(_) => Err(away(&"no answer")),
        }
    }

    async fn exchange<Q: Message>(
        &self,
        method: &str,
        question: &Q,
    ) -> Result<(Bytes, HeaderMap), String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| text(&e))?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|e| text(&e))?;
        let _served = Served(tokio::spawn(async move {
            // Its end is seen by the call.
            let _ = connection.await;
        }));
        let request = Request::post(format!("http://localhost/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("containerd-namespace", &self.namespace)
            .body(Full::new(Bytes::from(framed(question))))
            .map_err(|e| text(&e))?;
        let response = sender.send_request(request).await.map_err(|e| text(&e))?;
        if response.status() != StatusCode::OK {
            return Err(format!("HTTP {}", response.status()));
        }
        // A refusal may come without a body: then the status is among the headers.
        let headers = response.headers().clone();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|e| text(&e))?;
        let ends = body.trailers().cloned().unwrap_or(headers);
        Ok((body.to_bytes(), ends))
    }
}

pub(super) fn framed<Q: Message>(question: &Q) -> Vec<u8> {
    let inner = question.encode_to_vec();
    let mut all = Vec::with_capacity(PREFIX_BYTES + inner.len());
    all.push(0);
    // What we say is some KiB.
    all.extend(u32::try_from(inner.len()).unwrap_or(u32::MAX).to_be_bytes());
    all.extend(inner);
    all
}

pub(super) fn messages<A: Message + Default>(mut bytes: &[u8]) -> Result<Vec<A>, String> {
    let mut all = Vec::new();
    while let Some((&[flag, a, b, c, d], rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() {
        if flag != 0 {
            return Err("a compressed answer, which nobody asked for".into());
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (message, rest) = rest.split_at_checked(length).ok_or("an answer that is cut off")?;
        all.push(A::decode(message).map_err(|error| format!("an unreadable answer: {error}"))?);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(all) } else { Err("an answer that is cut off".into()) }
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    None,
    Absent(String),
    Other(String),
}

fn ended(ends: &HeaderMap) -> Result<(), Status> {
    const OK: &str = "0";
    const NOT_FOUND: &str = "5";
    let field = |name| ends.get(name).and_then(|value| value.to_str().ok());
    let why = || field("grpc-message").unwrap_or("no reason given").to_owned();
    match field("grpc-status") {
        Some(OK) => Ok(()),
        Some(NOT_FOUND) => Err(Status::Absent(why())),
        Some(code) => Err(Status::Other(format!("{} (code {code})", why()))),
        None => Err(Status::None),
    }
}
