//! Revisions: which there are, what is different between them, forwards and back.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use control_api::{Check, Committed, Diff, History, Pending, Refusal, Reloaded, Revision, path};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Query};
use crate::relay::Peer;
use crate::reply::{Reply, json, with_etag};

/// Revisions that are listed unless told otherwise, and at most.
const LISTED: u32 = 50;
const MOST: u32 = 10_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pending, confirm))
        .routes(routes!(rollback))
        .routes(routes!(check))
        .routes(routes!(diff))
        .routes(routes!(history))
        .routes(routes!(reload))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Comment {
    /// Why: kept in the history.
    comment: Option<String>,
}

/// What awaits confirmation, or null.
#[utoipa::path(get, path = path::CONFIRM, responses((status = 200, body = Option<Pending>)))]
async fn pending(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.pending()).await?))
}

/// Keeps what awaits confirmation.
#[utoipa::path(post, path = path::CONFIRM,
    params(Comment, ("If-Match" = Option<String>, Header, description = "The pending revision, or `*`")),
    responses((status = 200, body = Revision), (status = 404, body = Refusal), (status = 409, body = Refusal),
        (status = 428, body = Refusal)))]
async fn confirm(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Query(options): Query<Comment>,
    uri: Uri,
    headers: HeaderMap,
) -> Reply {
    let intent = app.intent(peer, &uri, &headers, options.comment, None).await?;
    let revision = app.change(move |relay| relay.confirm(&intent)).await?;
    let id = revision.id;
    Ok(with_etag(json(&revision), id))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// The revision whose table comes back.
    revision: u64,
    /// Why: kept in the history.
    comment: Option<String>,
    /// Seconds after which the change is undone unless it is confirmed, 1 to 86400.
    confirm_within: Option<u64>,
}

/// Makes the table of an earlier revision the one in force, as a revision of its own.
#[utoipa::path(post, path = path::ROLLBACK,
    params(
        Rollback,
        ("If-Match" = Option<String>, Header, description = "The revision in force, or `*`"),
        ("Idempotency-Key" = Option<String>, Header, description = "A request repeated with the same key is carried out once"),
    ),
    responses((status = 200, body = Committed), (status = 404, body = Refusal), (status = 409, body = Refusal),
        (status = 422, body = Refusal), (status = 428, body = Refusal)))]
async fn rollback(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Query(options): Query<Rollback>,
    uri: Uri,
    headers: HeaderMap,
) -> Reply {
    let intent = app.intent(peer, &uri, &headers, options.comment, options.confirm_within).await?;
    let committed = app.change(move |relay| relay.rollback(&intent, options.revision)).await?;
    let id = committed.revision.id;
    Ok(with_etag(json(&committed), id))
}

/// What there is to say about the candidate, or about the mappings in force when nothing is staged.
#[utoipa::path(get, path = path::CHECK, responses((status = 200, body = Check)))]
async fn check(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.check()).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Range {
    /// The older revision.
    from: u64,
    /// The newer one; what is in force when left out.
    to: Option<u64>,
}

/// What is different between two revisions.
#[utoipa::path(get, path = path::DIFF, params(Range), responses((status = 200, body = Diff), (status = 404, body = Refusal)))]
async fn diff(State(app): State<App>, Query(Range { from, to }): Query<Range>) -> Reply {
    Ok(json(&app.ask(move |relay| relay.diff(from, to)).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Only revisions before this one.
    before: Option<u64>,
    /// So many at most; 50 when left out, 10000 at most.
    limit: Option<u32>,
}

/// The revisions, newest first.
#[utoipa::path(get, path = path::HISTORY, params(Page), responses((status = 200, body = History)))]
async fn history(State(app): State<App>, Query(Page { before, limit }): Query<Page>) -> Reply {
    let limit = limit.unwrap_or(LISTED).min(MOST);
    Ok(json(&app.ask(move |relay| relay.history(before, limit)).await?))
}

/// Reads the configuration again, as SIGHUP does. Answered when it is in force.
#[utoipa::path(post, path = path::RELOAD, responses((status = 200, body = Reloaded), (status = 422, body = Refusal)))]
async fn reload(State(app): State<App>, Extension(peer): Extension<Peer>) -> Reply {
    Ok(json(&app.change(move |relay| relay.reload(peer)).await?))
}
