//! The page of a box: what `palisade status --watch` and `palisade timeline` show, in a browser, live.
//!
//! Promises: it changes nothing, asks the agents only while somebody looks, listens on loopback and answers only who came by
//! that address (a page from elsewhere that has its name point here gets 403). Never: a text of the cluster as markup.
//!
//! ```text
//!   GET /  the page      GET /events  the same again as it changes      GET /view.json  for programs
//! ```

mod html;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures::{Stream, stream};
use tokio::{
    net::TcpListener,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinSet, spawn_blocking},
};

use self::html::{Fragment, Page};
use super::plan::{Folder, Plan};
use crate::{
    local::Socket,
    status::{View, clock_time},
    timeline::Incident,
};

/// Between two looks while somebody watches: a failover is over in a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Browsers that are kept informed at one time.
const WATCHERS_MAX: usize = 16;

/// Nothing from elsewhere, no script but ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What was seen at one look.
#[derive(Debug, Default)]
struct Seen {
    fragment: String,
    at: String,
}

struct Shared {
    address: SocketAddr,
    title: String,
    looker: Looker,
    watchers: Arc<Semaphore>,
}

/// Serves until it is dropped with its tasks.
pub(super) async fn start(plan: &Plan, folder: &Folder, tasks: &mut JoinSet<()>) -> Result<()> {
    let address = plan.page_socket();
    let listener = TcpListener::bind(address).await?;
    let shared = Arc::new(Shared {
        address,
        title: "Palisade in a box".into(),
        looker: Looker::new(Socket::of_box(folder.path())),
        watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
    });
    let (own, looking) = (Arc::clone(&shared), Arc::clone(&shared));
    tasks.spawn(async move { looking.looker.run().await });
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    let router = Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/view.json", get(json))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page.js")))
        .layer(middleware::from_fn_with_state(shared, guard))
        .with_state(own);
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the page is served no longer");
        }
    });
    Ok(())
}

/// Who came by another name, came from a page elsewhere. What leaves says what a browser may do with it.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host != Some(shared.address.to_string().as_str()) {
        let text = format!("this page is at http://{}/ and nowhere else\n", shared.address);
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let mut response = next.run(request).await;
    let headers: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let seen = shared.looker.now().await;
    let page = Page { title: &shared.title, at: &seen.at, fragment: &seen.fragment };
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.to_string()).into_response()
}

async fn json(State(shared): State<Arc<Shared>>) -> Response {
    let socket = shared.looker.socket.clone();
    match spawn_blocking(move || View::look(&socket)).await {
        Ok(Ok(view)) => Json(view).into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn events(State(shared): State<Arc<Shared>>) -> Response {
    match Arc::clone(&shared.watchers).try_acquire_owned() {
        Ok(place) => Sse::new(changes(shared.looker.watch(), place)).into_response(),
        Err(_) => {
            let text = format!("{WATCHERS_MAX} browsers look already: close one\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// `view` when something changed, else `at`: the time of the look.
fn changes(
    seen: watch::Receiver<Arc<Seen>>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((seen, place, String::new(), String::new()), |state| async move {
        let (mut seen, place, mut fragment, mut at) = state;
        loop {
            let now = Arc::clone(&seen.borrow_and_update());
            if now.fragment != fragment {
                fragment.clone_from(&now.fragment);
                let event = Event::default().event("view").data(&fragment);
                return Some((Ok(event), (seen, place, fragment, at)));
            }
            if now.at != at {
                at.clone_from(&now.at);
                let event = Event::default().event("at").data(&at);
                return Some((Ok(event), (seen, place, fragment, at)));
            }
            seen.changed().await.ok()?;
        }
    })
}

/// Looks for all who watch, and only while somebody does.
struct Looker {
    socket: Socket,
    seen: watch::Sender<Arc<Seen>>,
    somebody: Notify,
}

impl Looker {
    fn new(socket: Socket) -> Self {
        Self { socket, seen: watch::Sender::default(), somebody: Notify::new() }
    }

    fn watch(&self) -> watch::Receiver<Arc<Seen>> {
        let receiver = self.seen.subscribe();
        self.somebody.notify_one();
        receiver
    }

    async fn now(&self) -> Arc<Seen> {
        let socket = self.socket.clone();
        let seen = spawn_blocking(move || look(&socket)).await;
        Arc::new(seen.unwrap_or_default())
    }

    async fn run(&self) {
        loop {
            while self.seen.receiver_count() == 0 {
                self.somebody.notified().await;
            }
            self.seen.send_replace(self.now().await);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn look(socket: &Socket) -> Seen {
    let told = View::look(socket).and_then(|view| {
        let incident = match view.incident.clone() {
            Some(incident) => Some(Incident::ask(socket, &view.seen_by, incident)?),
            None => None,
        };
        Ok((view, incident))
    });
    match told {
        Ok((view, incident)) => Seen {
            at: format!("{} as {} sees it at {}", view.cluster, view.seen_by, seconds(view.at_ms)),
            fragment: Fragment { view: &view, incident: incident.as_ref() }.to_string(),
        },
        Err(error) => Seen { fragment: html::silent(&format!("{error:#}")), at: String::new() },
    }
}

/// So that a page where nothing happens is told once a second that it lives, not five times.
fn seconds(at_ms: u64) -> String {
    clock_time(at_ms - at_ms % 1000).replace(".000Z", "Z")
}
