//! Answers.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accept::Form;
use super::lines;
use crate::engine::Done;
use crate::failure::Failure;
use crate::resource::Resource;
use crate::table::{self, Include};
use crate::verbs::list::Page;

fn build(code: StatusCode, media: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    let media =
        HeaderValue::from_str(media).unwrap_or(HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

pub(super) fn json(code: StatusCode, value: &Value) -> Response {
    build(code, "application/json", value.to_string())
}

pub(super) fn text(text: &'static str) -> Response {
    build(StatusCode::OK, "text/plain; charset=utf-8", text)
}

pub(super) fn stream(body: Body) -> Response {
    build(StatusCode::OK, "application/json", body)
}

pub(super) fn discovery(value: &Value, form: &str) -> Response {
    let media = format!("application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList");
    build(StatusCode::OK, &media, value.to_string())
}

pub(super) fn failure(failure: &Failure) -> Response {
    if failure.is_no_such_path() {
        return build(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n");
    }
    let code = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, &failure.status());
    if code == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A Status or a list that a write answers with.
pub(super) fn plain(done: Done) -> Response {
    let code = StatusCode::from_u16(done.code).unwrap_or(StatusCode::OK);
    warned(json(code, &done.object), &done.warnings)
}

fn warned(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

pub(super) fn object(
    resource: &Resource,
    object: Value,
    form: Form,
    code: StatusCode,
    warnings: &[String],
) -> Result<Response, Failure> {
    let response = match form {
        Form::Json => json(code, &object),
        Form::Partial => json(code, &table::partial(&object)),
        Form::Yaml => yaml(code, &object)?,
        Form::Table => {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            let table =
                table::table(resource, &[object], metadata, Include::Metadata, Timestamp::now());
            json(code, &table)
        }
    };
    Ok(warned(response, warnings))
}

fn yaml(code: StatusCode, value: &Value) -> Result<Response, Failure> {
    let text = serde_yaml::to_string(value).map_err(|e| Failure::internal(e.to_string()))?;
    Ok(build(code, "application/yaml", text))
}

pub(super) fn list(
    resource: Arc<Resource>,
    page: Page,
    form: Form,
    include: &str,
) -> Result<Response, Failure> {
    let shown = |stored: &Arc<Value>| resource.show(stored);
    Ok(match form {
        Form::Json => build(StatusCode::OK, "application/json", lines::body(resource, page, false)),
        Form::Partial => {
            build(StatusCode::OK, "application/json", lines::body(resource, page, true))
        }
        // for people, who ask one by one
        Form::Yaml => {
            let items: Vec<Value> =
                page.items.iter().map(shown).map(|item| lines::item(&resource, item)).collect();
            let list = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(),
                              "metadata": page.metadata, "items": items});
            yaml(StatusCode::OK, &list)?
        }
        Form::Table => {
            let include = included(include)?;
            let items: Vec<Value> = page.items.iter().map(shown).collect();
            let table = table::table(&resource, &items, page.metadata, include, Timestamp::now());
            json(StatusCode::OK, &table)
        }
    })
}

pub(super) fn included(word: &str) -> Result<Include, Failure> {
    match word {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::None),
        "Object" => Ok(Include::Object),
        other => Err(Failure::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}
