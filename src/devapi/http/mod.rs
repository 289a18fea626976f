//! The edge: requests in, plans of the pure verbs carried out, answers in the form that the client takes.

mod accept;
mod answer;
mod lines;
mod path;
mod stream;
pub(crate) mod tls;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use crate::builtin::protobuf;
use crate::discovery;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::limits;
use crate::meta::Key;
use crate::openapi;
use crate::resource::Resource;
use crate::schema::decode::{self, Decoded};
use crate::selector::Selector;
use crate::user::User;
use crate::verbs::{self, FieldValidation, Part, delete, list, patch};
use accept::Form;
use path::{Objects, Route};

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) token: String,
    pub(crate) address: String,
    pub(crate) stop: tokio::sync::watch::Receiver<bool>,
}

/// The whole server as one handler: paths of Kubernetes are too regular for a table of routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let call = match Call::of(&parts.method, &parts.uri, parts.headers) {
        Ok(call) => call,
        Err(failure) => return answer::failure(&failure),
    };
    let answer = match dispatch(&shared, &call, body).await {
        Ok(response) => response,
        Err(failure) => answer::failure(&failure),
    };
    tracing::debug!(
        method = %parts.method, path = parts.uri.path(), status = answer.status().as_u16(), "request"
    );
    answer
}

/// A request, taken apart.
struct Call {
    method: Method,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Call {
    fn of(method: &Method, uri: &axum::http::Uri, headers: HeaderMap) -> Result<Self, Failure> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|e| Failure::bad_request(format!("the query cannot be read: {e}")))?;
        let segments = uri
            .path()
            .split('/')
            .filter(|s| !s.is_empty())
            .map(|s| percent_encoding::percent_decode_str(s).decode_utf8().map(String::from))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Failure::bad_request("the path is no UTF-8"))?;
        Ok(Self { method: method.clone(), segments, query: query.0, headers })
    }

    fn param(&self, name: &str) -> &str {
        self.query.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    fn flag(&self, name: &str) -> bool {
        ["true", "1"].contains(&self.param(name))
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    fn dry_run(&self) -> Result<bool, Failure> {
        match self.param("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(Failure::new(
                422,
                "Invalid",
                format!("dryRun: Unsupported value: {other:?}: supported values: \"All\""),
            )),
        }
    }

    /// Who writes: the parameter, or the client's name.
    fn manager(&self, required: bool) -> Result<String, Failure> {
        let asked = self.param("fieldManager");
        if asked.len() > 128 {
            return Err(Failure::bad_request(
                "fieldManager: Too long: may not be more than 128 bytes",
            ));
        }
        if !asked.is_empty() || required {
            return Ok(asked.to_owned());
        }
        let agent = self.header(header::USER_AGENT);
        let name = agent.split('/').next().unwrap_or_default();
        Ok(if name.is_empty() { "unknown".to_owned() } else { name.chars().take(128).collect() })
    }

    fn validation(&self) -> Result<FieldValidation, Failure> {
        match self.param("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            other => Err(Failure::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

async fn dispatch(shared: &Arc<Shared>, call: &Call, body: Body) -> Result<Response, Failure> {
    let route = path::route(&call.segments);
    if matches!(route, Route::Health) {
        return Ok(answer::text("ok"));
    }
    if matches!(route, Route::Version) {
        return Ok(answer::json(StatusCode::OK, &crate::version::version()));
    }
    authorized(shared, call)?;
    if let Route::Objects(objects) = route {
        return objects_call(shared, call, objects, body).await;
    }
    if let Route::Review { kind } = &route {
        return review(call, kind, body).await;
    }
    if call.method != Method::GET {
        return Err(Failure::method_not_allowed());
    }
    let catalog = shared.engine.catalog();
    let found = match &route {
        Route::Core | Route::Groups => {
            let core = matches!(route, Route::Core);
            if let Some(form) = accept::aggregated(call.header(header::ACCEPT)) {
                return Ok(answer::discovery(&discovery::aggregated(&catalog, core, form), form));
            }
            Some(if core {
                discovery::core_versions(&shared.address)
            } else {
                discovery::groups(&catalog)
            })
        }
        Route::Group(group) => discovery::group(&catalog, group),
        Route::GroupVersion { group, version } => discovery::resources(&catalog, group, version),
        Route::OpenApiIndex => Some(openapi::index(&catalog, shared.engine.state().revision())),
        Route::OpenApi { group, version } => openapi::document(&catalog, group, version),
        Route::Swagger => {
            let wants = call.header(header::ACCEPT);
            if wants.contains("protobuf") && !wants.contains("application/json") {
                return Err(Failure::new(
                    406,
                    "NotAcceptable",
                    "devapi serves OpenAPI version 2 as JSON only; use /openapi/v3",
                ));
            }
            Some(openapi::swagger(&catalog))
        }
        _ => None,
    };
    match found {
        Some(value) => Ok(answer::json(StatusCode::OK, &value)),
        None => Err(Failure::no_such_path()),
    }
}

/// The one token, compared in constant time.
fn authorized(shared: &Shared, call: &Call) -> Result<(), Failure> {
    let sent = call.header(header::AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
    aws_lc_rs::constant_time::verify_slices_are_equal(sent.as_bytes(), shared.token.as_bytes())
        .map_err(|_| Failure::new(401, "Unauthorized", "Unauthorized"))
}

async fn read_body(body: Body) -> Result<Bytes, Failure> {
    axum::body::to_bytes(body, limits::BODY_BYTES_MAX)
        .await
        .map_err(|_| Failure::too_large(limits::BODY_BYTES_MAX))
}

/// A JSON or YAML body.
fn decoded(call: &Call, body: &[u8]) -> Result<Decoded, Failure> {
    match call.header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim() {
        "" | "application/json" | "*/*" => decode::json(body),
        "application/yaml" => decode::yaml(body),
        "application/vnd.kubernetes.protobuf" => {
            protobuf::decode(body).map(|object| Decoded { object, duplicates: Vec::new() })
        }
        other => Err(Failure::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format ({other}) - accepted media types include: \
                 application/json, application/yaml"
            ),
        )),
    }
}

/// Self reviews: there is one user, who may do everything that is served.
async fn review(call: &Call, kind: &str, body: Body) -> Result<Response, Failure> {
    if call.method != Method::POST {
        return Err(Failure::method_not_allowed());
    }
    let mut object = decoded(call, &read_body(body).await?)?.object;
    if !object.is_object() || object["kind"] != kind {
        return Err(Failure::bad_request(format!("the body is no {kind}")));
    }
    object["status"] = if kind == "SelfSubjectReview" {
        serde_json::json!({"userInfo": User::of(&call.headers)?.info()})
    } else {
        serde_json::json!({"allowed": true, "reason": "devapi has one user, who may do everything"})
    };
    Ok(answer::json(StatusCode::CREATED, &object))
}

async fn objects_call(
    shared: &Arc<Shared>,
    call: &Call,
    at: Objects,
    body: Body,
) -> Result<Response, Failure> {
    let catalog = shared.engine.catalog();
    let resource = catalog
        .find(&at.group, &at.version, &at.plural)
        .cloned()
        .ok_or_else(|| path::unserved(&at))?;
    // a cluster-wide kind has no objects in namespaces; a namespaced one is named within its own
    let fits = if resource.namespaced {
        at.name.is_empty() || !at.namespace.is_empty()
    } else {
        at.namespace.is_empty()
    };
    if !fits {
        return Err(Failure::no_such_path());
    }
    let part = match at.subresource.as_str() {
        "" => Part::Main,
        "status" if resource.status => Part::Status,
        "scale" if resource.scale => return Err(Failure::not_implemented("the scale subresource")),
        other => return Err(path::subresource(&resource, other)),
    };
    if at.name.is_empty() {
        return collection(shared, call, resource, &at, body).await;
    }
    match call.method {
        Method::GET if call.flag("watch") => {
            let mut query = list_query(call, &resource, &at)?;
            let own = format!("metadata.name={}", at.name);
            query.selector = Selector::parse(&resource, call.param("labelSelector"), &own)?;
            stream::watch(shared, call, resource, query)
        }
        Method::GET => get(shared, call, &resource, &at),
        Method::PUT | Method::PATCH | Method::DELETE => {
            write(shared, call, resource, &at, part, body).await
        }
        Method::POST => Err(Failure::method_not_allowed()),
        _ => Err(Failure::method_not_allowed()),
    }
}

async fn collection(
    shared: &Arc<Shared>,
    call: &Call,
    resource: Arc<Resource>,
    at: &Objects,
    body: Body,
) -> Result<Response, Failure> {
    match call.method {
        Method::GET => {
            let query = list_query(call, &resource, at)?;
            if call.flag("watch") {
                return stream::watch(shared, call, resource, query);
            }
            let form = Form::of(call.header(header::ACCEPT))?;
            let engine = Arc::clone(&shared.engine);
            let page = blocking(move || {
                let page = engine.read(|world| list::list(world, &resource, &query))?;
                Ok((page, resource))
            });
            let (page, resource) = page.await?;
            answer::list(resource, page, form, call.param("includeObject"))
        }
        Method::POST => write(shared, call, resource, at, Part::Main, body).await,
        Method::DELETE => {
            let query = list_query(call, &resource, at)?;
            let mut options = delete_options(call, body).await?;
            options.dry_run |= call.dry_run()?;
            let request = request_of(call, resource, at, Part::Main)?;
            let engine = Arc::clone(&shared.engine);
            let done = blocking(move || {
                engine.write(|world| {
                    delete::delete_collection(world, &request, &options, &query.selector)
                })
            });
            Ok(answer::plain(done.await?))
        }
        _ => Err(Failure::method_not_allowed()),
    }
}

fn list_query(call: &Call, resource: &Resource, at: &Objects) -> Result<list::Query, Failure> {
    let limit = match call.param("limit") {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| Failure::bad_request(format!("limit {text:?} is no number")))?,
    };
    let labels = call.param("labelSelector");
    let fields = call.param("fieldSelector");
    Ok(list::Query {
        namespace: at.namespace.clone(),
        selector: Selector::parse(resource, labels, fields)?,
        limit,
        token: call.param("continue").to_owned(),
        resource_version: call.param("resourceVersion").to_owned(),
        version_match: call.param("resourceVersionMatch").to_owned(),
    })
}

fn request_of(
    call: &Call,
    resource: Arc<Resource>,
    at: &Objects,
    part: Part,
) -> Result<verbs::Request, Failure> {
    let applies = patch_form(call) == Some(patch::Form::Apply) && call.method == Method::PATCH;
    Ok(verbs::Request {
        resource,
        key: Key::new(&at.namespace, &at.name),
        part,
        dry_run: call.dry_run()?,
        manager: call.manager(applies)?,
        validation: call.validation()?,
        force: call.flag("force"),
        user: User::of(&call.headers)?,
    })
}

fn get(
    shared: &Shared,
    call: &Call,
    resource: &Resource,
    at: &Objects,
) -> Result<Response, Failure> {
    let form = Form::of(call.header(header::ACCEPT))?;
    let asked = list::revision(call.param("resourceVersion"))?;
    let state = shared.engine.state();
    if let Some(asked) = asked.filter(|r| *r > state.revision()) {
        return Err(list::too_new(asked, state.revision()));
    }
    let key = Key::new(&at.namespace, &at.name);
    let stored = state
        .get(&resource.table(), &key)
        .cloned()
        .ok_or_else(|| Failure::not_found(resource, &at.name))?;
    drop(state);
    answer::object(resource, resource.show(&stored), form, StatusCode::OK, &[])
}

fn patch_form(call: &Call) -> Option<patch::Form> {
    match call.header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim() {
        "application/apply-patch+yaml" => Some(patch::Form::Apply),
        "application/json-patch+json" => Some(patch::Form::Json),
        "application/merge-patch+json" => Some(patch::Form::Merge),
        "application/strategic-merge-patch+json" => Some(patch::Form::Strategic),
        _ => None,
    }
}

async fn write(
    shared: &Shared,
    call: &Call,
    resource: Arc<Resource>,
    at: &Objects,
    part: Part,
    body: Body,
) -> Result<Response, Failure> {
    let form = Form::of(call.header(header::ACCEPT))?;
    let request = request_of(call, Arc::clone(&resource), at, part)?;
    let engine = Arc::clone(&shared.engine);
    let done = match call.method {
        Method::DELETE => {
            if part != Part::Main {
                return Err(Failure::method_not_allowed());
            }
            let options = delete_options(call, body).await?;
            blocking(move || engine.write(|world| delete::delete(world, &request, &options)))
                .await?
        }
        Method::PATCH => {
            let Some(form) = patch_form(call) else {
                return Err(Failure::new(
                    415,
                    "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, \
                     application/strategic-merge-patch+json, application/apply-patch+yaml",
                ));
            };
            let body = read_body(body).await?;
            blocking(move || engine.write(|world| patch::patch(world, &request, form, &body)))
                .await?
        }
        _ => {
            let body = decoded(call, &read_body(body).await?)?;
            let creates = call.method == Method::POST;
            blocking(move || {
                engine.write(|world| {
                    if creates {
                        verbs::create::create(world, &request, body)
                    } else {
                        verbs::update::update(world, &request, body)
                    }
                })
            })
            .await?
        }
    };
    if !done.is_object {
        return Ok(answer::plain(done));
    }
    let code = StatusCode::from_u16(done.code).unwrap_or(StatusCode::OK);
    answer::object(&resource, resource.show(&done.object), form, code, &done.warnings)
}

async fn delete_options(call: &Call, body: Body) -> Result<delete::Options, Failure> {
    let body = read_body(body).await?;
    let mut options = if body.iter().all(u8::is_ascii_whitespace) {
        delete::Options::default()
    } else {
        delete::Options::read(&decoded(call, &body)?.object)?
    };
    let asked = call.param("propagationPolicy");
    if !asked.is_empty() {
        options.propagation = Some(delete::Propagation::read(asked)?);
    }
    if call.flag("orphanDependents") {
        options.propagation = Some(delete::Propagation::Orphan);
    }
    Ok(options)
}

/// Off the threads that serve sockets: a write waits for the disk.
async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|_| {
        Err(Failure::internal("the request ended in a panic; see devapi's log"))
    })
}
