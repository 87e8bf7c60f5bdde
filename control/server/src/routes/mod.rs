//! The paths: each takes a request apart, asks the [`Relay`], and puts the answer together.
//!
//! Route and description are registered in one step, so the OpenAPI document has every path there is.
#![allow(unused_qualifications, reason = "utoipa's macros write them")]

mod announce;
mod captures;
mod changes;
mod drops;
mod events;
mod explain;
mod listing;
mod load;
mod mappings;
mod network;
mod revisions;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router, middleware};
use control_api::{API, Code, Refusal, Status, Versions, path};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::connections::Connection;
use crate::relay::{Intent, Peer, Relay};
use crate::reply::{Reply, json, with_etag, with_type};
use crate::serve::Limits;

/// Longest comment on a revision, in bytes.
const COMMENT: usize = 1000;
/// Longest idempotency key, in bytes.
const KEY: usize = 200;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Borderline control socket",
        description = "HTTP/1.1 with JSON bodies over the Unix stream socket of a running relay. Within v1, paths and fields \
            are only added: ignore what you do not know. Every answer that says no is a `Refusal`."
    ),
    components(schemas(control_api::Change, control_api::Event, Refusal))
)]
struct Document;

/// What every handler has.
#[derive(Clone)]
pub(crate) struct App {
    relay: Arc<dyn Relay>,
    limits: Arc<Limits>,
    /// One change at a time: the others wait here and take no thread.
    writing: Arc<Mutex<()>>,
    /// One large body of changes at a time is taken in, and waits for its turn.
    receiving: Arc<Semaphore>,
    /// One slice of a long list is looked for at a time.
    walking: Arc<Mutex<()>>,
    openapi: Arc<str>,
}

impl App {
    /// Asks the relay, on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Relay) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let relay = Arc::clone(&self.relay);
        spawn_blocking(move || question(&*relay)).await.unwrap_or_else(|_| Err(mistake()))
    }

    /// The same for what changes something: one after the other, and to its end, whoever hangs up.
    async fn change<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Relay) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = Arc::clone(&self.writing).lock_owned().await;
        self.ask(move |relay| {
            let _turn = turn;
            question(relay)
        })
        .await
    }

    /// The turn to receive a large body. Whoever has it may be slow, and others before this one: so it may be waited for so long only.
    async fn turn_to_receive(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = Arc::clone(&self.receiving).acquire_owned();
        match tokio::time::timeout(self.limits.turn_time, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(mistake()),
            Err(_) => Err(Refusal::new(
                Code::Unavailable,
                format!("other large requests were received for {} s", self.limits.turn_time.as_secs()),
                "send it again later, or in parts of less than 1 MB, which wait for nobody's upload",
            )),
        }
    }

    /// What a request says about the change it asks for.
    async fn intent(
        &self,
        peer: Peer,
        uri: &Uri,
        headers: &HeaderMap,
        comment: Option<String>,
        confirm_within: Option<u64>,
    ) -> Result<Intent, Refusal> {
        let comment = comment.unwrap_or_default();
        if comment.len() > COMMENT {
            return Err(invalid(
                format!("the comment has {} bytes", comment.len()),
                format!("shorten it to {COMMENT}"),
            ));
        }
        let key = headers.get("idempotency-key").map(key).transpose()?;
        let revision = self.if_match(headers).await?;
        let confirm_within = confirm_within.map(seconds).transpose()?;
        let request = uri.to_string().into_bytes();
        Ok(Intent { peer, comment, revision, key, request, confirm_within })
    }

    async fn if_match(&self, headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
        let Some(value) = headers.get(header::IF_MATCH) else {
            let revision = self.ask(|relay| Ok(relay.revision())).await?;
            return Err(Refusal::new(
                Code::PreconditionRequired,
                "a change must say which revision it was decided on",
                format!(
                    "send `If-Match: \"{revision}\"` (the ETag of the answers), or `If-Match: *` for any"
                ),
            ));
        };
        let text = value.to_str().unwrap_or_default().trim();
        match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text) {
            "*" => Ok(None),
            id => id.parse().map(Some).map_err(|_| {
                invalid(format!("If-Match is {text:?}"), "send the ETag of an answer, such as \"12\"")
            }),
        }
    }
}

fn key(value: &axum::http::HeaderValue) -> Result<String, Refusal> {
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= KEY => Ok(text.to_owned()),
        _ => Err(invalid("the idempotency key is no text of 1 to 200 ASCII characters", "send a random one")),
    }
}

/// How long a change may stay unconfirmed: 5 seconds to a day.
fn seconds(seconds: u64) -> Result<std::time::Duration, Refusal> {
    if (1..=86_400).contains(&seconds) {
        Ok(std::time::Duration::from_secs(seconds))
    } else {
        Err(invalid(format!("confirm_within is {seconds} s"), "give 1 to 86400 seconds"))
    }
}

pub(crate) fn invalid(message: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidRequest, message, remedy)
}

fn mistake() -> Refusal {
    Refusal::new(Code::Internal, "the relay made a mistake answering this", "report it, with the relay's log")
}

/// The parameters of a path, or what is wrong with them.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: serde::de::DeserializeOwned> axum::extract::FromRequestParts<S> for Query<T> {
    type Rejection = crate::reply::No;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            let text =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            invalid(format!("the parameters are wrong: {text}"), "see /v1/openapi.json").into()
        })
    }
}

/// Every route, and their description.
fn parts() -> (Router<App>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(versions))
        .routes(routes!(status))
        .merge(mappings::routes())
        .merge(changes::routes())
        .merge(revisions::routes())
        .merge(network::routes())
        .merge(announce::routes())
        .merge(events::routes())
        .merge(drops::routes())
        .merge(captures::routes())
        .merge(load::routes())
        .merge(explain::routes())
        .split_for_parts()
}

/// The OpenAPI document, as it is served and checked in. It names the version of the API, not that of the program.
#[must_use]
pub fn openapi() -> String {
    let (_, mut document) = parts();
    document.info.version = API.max.to_string();
    document.info.license = None;
    document.info.contact = None;
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Everything the socket answers.
pub(crate) fn router(relay: Arc<dyn Relay>, limits: Arc<Limits>) -> Router {
    let app = App {
        relay,
        limits,
        writing: Arc::default(),
        receiving: Arc::new(Semaphore::new(1)),
        walking: Arc::default(),
        openapi: openapi().into(),
    };
    let (router, _) = parts();
    router
        .route(path::OPENAPI, get(document))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), no_stray_body))
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// Bodies are for changes; elsewhere they are refused rather than ignored.
async fn no_stray_body(State(app): State<App>, request: Request, next: middleware::Next) -> Reply {
    if [path::CHANGES, path::EXPLAIN].contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    crate::body::nothing(body, &app.limits).await?;
    Ok(next.run(Request::from_parts(parts, axum::body::Body::empty())).await)
}

async fn document(State(app): State<App>) -> Response {
    with_type(axum::body::Body::from(app.openapi.to_string()), "application/json")
}

async fn unknown(request: Request) -> Reply {
    let path = request.uri().path();
    let version = path.split('/').nth(1).and_then(|first| first.strip_prefix('v')?.parse::<u32>().ok());
    match version {
        Some(version) if version < API.min || version > API.max => {
            let mut refusal = Refusal::new(
                Code::UnsupportedApi,
                format!("the request speaks v{version} of the API, this relay {API}"),
                "use the borderctl of the relay's version, or upgrade the relay: `borderctl version` shows both",
            );
            refusal.api = Some(API);
            Err(refusal.into())
        }
        _ => Err(Refusal::new(
            Code::NotFound,
            format!("there is no path {}", path.chars().take(100).collect::<String>()),
            "see /v1/openapi.json",
        )
        .into()),
    }
}

async fn wrong_method(request: Request) -> Reply {
    Err(Refusal::new(
        Code::MethodNotAllowed,
        format!("{} is not for {}", request.uri().path(), request.method()),
        "see /v1/openapi.json",
    )
    .into())
}

/// What answers here, and which versions of the API it speaks.
#[utoipa::path(get, path = path::ROOT, responses((status = 200, body = Versions)))]
async fn versions(State(app): State<App>) -> Response {
    json(&app.relay.versions())
}

/// The relay in short.
#[utoipa::path(get, path = path::STATUS, responses((status = 200, body = Status), (status = 503, body = Refusal)))]
async fn status(State(app): State<App>) -> Reply {
    let status = app.ask(|relay| relay.status()).await?;
    let revision = status.revision.id;
    Ok(with_etag(json(&status), revision))
}

/// What the accept loop knows of a connection.
pub(crate) type Client = Extension<Arc<Connection>>;
