//! `/metrics`, `/healthz`, `/readyz`.

use std::net::SocketAddr;

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{Error, Metrics};

/// Serves until the answer is dropped.
pub(crate) async fn start(address: SocketAddr, metrics: Metrics) -> Result<JoinSet<()>, Error> {
    let wrong = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let ready = metrics.clone();
    let router = Router::new()
        .route(
            "/metrics",
            get(move || async move {
                ([(header::CONTENT_TYPE, base::exposition::CONTENT_TYPE)], metrics.text())
            }),
        )
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                if ready.ready() {
                    (StatusCode::OK, "ok\n")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "the objects were not listed yet\n")
                }
            }),
        );
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok(tasks)
}
