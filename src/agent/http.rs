//! `/metrics`, `/healthz`, `/readyz`: a GET, an answer, the end of the connection.
//!
//! Own code because it is three fixed answers: no keep-alive, no body is read, at most 4 KiB of request, eight
//! connections, five seconds.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::metrics::{Health, Metrics};

/// Longest request that is read.
pub const REQUEST_BYTES_MAX: usize = 4096;
const CONNECTIONS_MAX: usize = 8;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Serves for ever.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> io::Result<()> {
    listen(address, Serves::All(metrics)).await
}

/// For parts that have no metrics.
pub async fn serve_health(address: SocketAddr, health: Arc<Health>) -> io::Result<()> {
    listen(address, Serves::Health(health)).await
}

#[derive(Clone)]
enum Serves {
    All(Arc<Metrics>),
    Health(Arc<Health>),
}

async fn listen(address: SocketAddr, serves: Serves) -> io::Result<()> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("listening on {address}: {error}"))
    })?;
    run(listener, serves).await
}

async fn run(listener: TcpListener, serves: Serves) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let serves = serves.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(REQUEST_TIME_MAX, connection(stream, &serves)).await;
            drop(place);
        });
    }
}

async fn connection(mut stream: TcpStream, serves: &Serves) -> io::Result<()> {
    let mut request = vec![0_u8; REQUEST_BYTES_MAX];
    let mut filled = 0;
    while filled < request.len() {
        let read = stream.read(&mut request[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if request[..filled].windows(4).any(|end| end == b"\r\n\r\n") {
            let (code, kind, body) = match serves {
                Serves::All(metrics) => answer(&request[..filled], metrics),
                Serves::Health(health) => answer_about(&request[..filled], health, None),
            };
            return reply(&mut stream, code, kind, &body).await;
        }
    }
    reply(&mut stream, "431 Request Header Fields Too Large", "text/plain", "").await
}

/// Code, content type and body for one request, of which everything up to the empty line was read.
pub fn answer(request: &[u8], metrics: &Metrics) -> (&'static str, &'static str, String) {
    answer_about(request, &metrics.health, Some(metrics))
}

fn answer_about(
    request: &[u8],
    of: &Health,
    metrics: Option<&Metrics>,
) -> (&'static str, &'static str, String) {
    const TEXT: &str = "text/plain; charset=utf-8";
    const METRICS: &str = base::exposition::CONTENT_TYPE;
    let path = request
        .strip_prefix(b"GET ")
        .and_then(|rest| rest.split(|byte| *byte == b' ' || *byte == b'?').next());
    let health = |healthy: Result<(), String>| match healthy {
        Ok(()) => ("200 OK", TEXT, "ok\n".to_owned()),
        Err(reason) => ("503 Service Unavailable", TEXT, reason + "\n"),
    };
    match (path, metrics) {
        (Some(b"/metrics"), Some(metrics)) => ("200 OK", METRICS, metrics.encode()),
        (Some(b"/healthz"), _) => health(of.alive(crate::clock::now())),
        (Some(b"/readyz"), _) => health(of.ready(crate::clock::now())),
        (Some(_), _) => ("404 Not Found", TEXT, "try /metrics, /healthz or /readyz\n".into()),
        (None, _) => ("405 Method Not Allowed", TEXT, "GET only\n".into()),
    }
}

async fn reply(stream: &mut TcpStream, code: &str, kind: &str, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {code}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn metrics_and_health_are_served_and_nothing_else() {
        let metrics = Arc::new(Metrics::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(run(listener, Serves::All(Arc::clone(&metrics))));

        let dead = get(address, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(dead.starts_with("HTTP/1.1 503"), "no turn of the loop yet: {dead}");
        metrics.health.turn(crate::clock::now());
        let alive = get(address, "GET /healthz HTTP/1.1\r\n\r\n").await;
        assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
        let ready = get(address, "GET /readyz HTTP/1.1\r\n\r\n").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "no era is open: {ready}");
        let text = get(address, "GET /metrics HTTP/1.1\r\n\r\n").await;
        assert!(text.contains("# HELP palisade_ring_members "), "{text}");
        assert!(text.contains("# TYPE palisade_ring_configurations_total counter"), "{text}");
        assert!(get(address, "GET /etc/passwd HTTP/1.1\r\n\r\n").await.contains(" 404 "));
        assert!(get(address, "POST /metrics HTTP/1.1\r\n\r\n").await.contains(" 405 "));
        let long = format!("GET /metrics HTTP/1.1\r\n{}", "a: b\r\n".repeat(1000));
        assert!(get(address, &long).await.contains(" 431 "));
    }
}
